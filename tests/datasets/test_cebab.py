"""fetch_cebab: where the file comes from, and what is made of it.

Most tests use a tiny archive of the same form whose checksum and address are put in
place of the official ones; those marked `data` read the official archive.
"""

import hashlib
import io
import json
import os
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skclif._inputs.concept_tables import concept_table
from skclif.datasets import _cebab, fetch_cebab
from skclif.exceptions import DataFileError

CONCEPTS = ["food", "ambiance", "service", "noise"]
SUBSETS = ["train_exclusive", "train_observational", "dev", "test"]

official = pytest.mark.skipif(
    not Path(os.environ.get("SKCLIF_DATA", "-"), "CEBaB-v1.1.zip").is_file(),
    reason="SKCLIF_DATA does not name a folder with CEBaB-v1.1.zip",
)


def record(original, edit, stars, *, aspects=(), edit_type=None, goal=None):
    """One review in CEBaB's own form; `aspects` maps a concept to its votes."""
    row = {
        "id": f"{original}_{edit}",
        "original_id": original,
        "edit_id": edit,
        "is_original": edit == "000000",
        "edit_goal": goal,
        "edit_type": edit_type,
        "edit_worker": goal and "w1",
        "description": f"Revïew {original} {edit}",
        "review_majority": max(stars, key=stars.get),
        "review_label_distribution": stars,
        "opentable_metadata": {"cuisine": "italian", "rating_overall": 2},
    }
    if max(stars.values()) < 3:
        row["review_majority"] = "no majority"
    for name in CONCEPTS:
        votes = dict(aspects).get(name, "")
        majority = max(votes, key=votes.get) if votes else ""
        if votes and max(votes.values()) < 3:
            majority = "no majority"
        row[f"{name}_aspect_majority"] = majority
        row[f"{name}_aspect_label_distribution"] = votes
    return row


RECORDS = [
    record("000007", "000000", {"4": 5}, aspects={"food": {"Positive": 5}}),
    record(
        "000007",
        "000001",
        {"2": 4, "1": 1},
        aspects={"food": {"Negative": 4, "unknown": 1}, "noise": {"unknown": 5}},
        edit_type="food",
        goal="Negative",
    ),
    record("000008", "000000", {"1": 2, "2": 2, "3": 1}),
    record("000008", "000001", {"3": 5}, edit_type="noise", goal="unknown"),
    record(
        "000007",
        "000002",
        {"5": 3, "4": 2},
        aspects={"service": {"Negative": 2, "Positive": 2, "unknown": 1}},
        edit_type="service",
        goal="Positive",
    ),
]


@pytest.fixture
def archive(monkeypatch):
    """Content of a tiny archive that passes for the official one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as files:
        for subset in SUBSETS:
            files.writestr(f"CEBaB-v1.1/{subset}.json", json.dumps(RECORDS))
        # Large in the official archive, and not parsed unless asked for.
        files.writestr("CEBaB-v1.1/train_inclusive.json", "not JSON")
    content = buffer.getvalue()
    tiny = replace(
        _cebab._FILE,
        url="http://127.0.0.1:1/unreachable.zip",
        sha256=hashlib.sha256(content).hexdigest(),
    )
    monkeypatch.setattr(_cebab, "_FILE", tiny)
    monkeypatch.delenv("SKCLIF_DATA", raising=False)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    return content


@pytest.fixture
def serve(monkeypatch):
    """Start a server on this machine that gives these answers, one after another."""
    servers = []

    def start(*answers):
        left = list(answers)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, content = left.pop(0)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Polling often lets the server stop without a wait.
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}/CEBaB-v1.1.zip"
        monkeypatch.setattr(_cebab, "_FILE", replace(_cebab._FILE, url=url))
        return left

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def folder(archive, monkeypatch, tmp_path):
    """The folder that SKCLIF_DATA names, with the archive in it."""
    path = tmp_path / "named"
    path.mkdir()
    (path / "CEBaB-v1.1.zip").write_bytes(archive)
    monkeypatch.setenv("SKCLIF_DATA", str(path))
    return path


# --------------------------------------------------------------------------------------
# Where the file comes from


def test_official_address_and_checksum():
    assert _cebab._FILE.url == (
        "https://github.com/CEBaBing/CEBaB/raw/"
        "2a5d2896bd18a5cc30b95e89a45095241954577d/CEBaB-v1.1.zip"
    )
    assert _cebab._FILE.sha256 == (
        "afe8ebcb5d18f33297512cd5c7e05f1590b82fb0683367042454c3eda7d5c6ae"
    )


def test_only_the_subset_asked_for_is_parsed(folder):
    assert all(len(fetch_cebab(subset).data) == 4 for subset in ["train", *SUBSETS])
    with pytest.raises(ValueError, match="Expecting value"):
        fetch_cebab("train_inclusive")


def test_named_folder_comes_first(folder, tmp_path):
    home = tmp_path / "home"
    assert len(fetch_cebab(data_home=home, download_if_missing=False).data) == 4
    assert not home.exists()


def test_download_then_cache(archive, serve, tmp_path):
    left = serve((200, archive))
    reviews = fetch_cebab(data_home=tmp_path)
    assert left == []  # asked once
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [tmp_path / "skclif" / "CEBaB-v1.1.zip"]
    assert files[0].read_bytes() == archive
    again = fetch_cebab(data_home=tmp_path, download_if_missing=False)
    assert again.frame.equals(reviews.frame)


def test_default_home_is_scikit_learns(archive, serve, tmp_path, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "sklearn"))
    monkeypatch.setenv("SKCLIF_DATA", str(tmp_path / "without_the_file"))
    serve((200, archive))
    fetch_cebab()
    assert (tmp_path / "sklearn" / "skclif" / "CEBaB-v1.1.zip").is_file()


def test_download_retries(archive, serve, tmp_path):
    left = serve((503, b""), (200, b"half of it"), (200, archive))
    with pytest.warns(UserWarning, match="Trying again: .*") as warned:
        fetch_cebab(data_home=tmp_path, n_retries=2, delay=0)
    assert left == []
    assert "503" in str(warned[0].message)
    assert "SHA-256" in str(warned[1].message)
    assert all(warning.filename == __file__ for warning in warned)


def test_download_of_something_else_is_not_kept(archive, serve, tmp_path):
    serve((200, b"<html>please log in</html>"))
    message = r"not the official .*expected SHA-256 \w{64}, got \w{64}\. Try again"
    with pytest.raises(DataFileError, match=message):
        fetch_cebab(data_home=tmp_path, n_retries=0)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("status", [404, None])
def test_no_network(archive, serve, tmp_path, status):
    if status:
        serve((status, b""))
    with pytest.raises(OSError, match="could not be downloaded from .*SKCLIF_DATA"):
        fetch_cebab(data_home=tmp_path, n_retries=0)


def test_not_at_hand_and_not_to_be_downloaded(archive, tmp_path):
    message = "SKCLIF_DATA names .None. nor at .*CEBaB-v1.1.zip.*download_if_missing"
    with pytest.raises(OSError, match=message):
        fetch_cebab(data_home=tmp_path, download_if_missing=False)


def test_checksum_of_the_named_file(folder):
    path = folder / "CEBaB-v1.1.zip"
    path.write_bytes(b"something else")
    found = hashlib.sha256(b"something else").hexdigest()
    message = rf"named.CEBaB-v1.1.zip is not the official .*got {found}. Replace it"
    with pytest.raises(DataFileError, match=message):
        fetch_cebab()


def test_checksum_of_the_cached_file(archive, tmp_path):
    path = tmp_path / "skclif" / "CEBaB-v1.1.zip"
    path.parent.mkdir()
    path.write_bytes(archive[:-1])
    with pytest.raises(DataFileError, match="skclif.CEBaB-v1.1.zip is .*Delete it"):
        fetch_cebab(data_home=tmp_path)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"subset": "validation"}, "'subset' parameter .* must be a str among"),
        ({"data_home": 3}, "'data_home' parameter"),
        ({"as_frame": "yes"}, "'as_frame' parameter"),
        ({"n_retries": -1}, "'n_retries' parameter"),
        ({"delay": -0.5}, "'delay' parameter"),
    ],
)
def test_refused_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        fetch_cebab(**arguments)


# --------------------------------------------------------------------------------------
# What is made of it


def test_fields(folder):
    reviews = fetch_cebab("dev")
    assert reviews.ids.tolist() == [
        "000007_000000",
        "000007_000001",
        "000008_000001",
        "000007_000002",
    ]
    assert reviews.data.iloc[0] == "Revïew 000007 000000"
    assert reviews.target.tolist() == [4, 2, 3, 5]
    assert np.issubdtype(reviews.target.dtype, np.integer)
    assert reviews.concepts.astype(object).fillna("-").to_numpy().tolist() == [
        ["Positive", "-", "-", "-"],
        ["Negative", "-", "-", "unknown"],
        ["-", "-", "-", "-"],
        ["-", "-", "-", "-"],  # three opinions on the service, no majority
    ]
    assert list(reviews.concepts.columns) == reviews.concept_names == CONCEPTS
    assert list(reviews.frame.columns) == ["text", "label", *CONCEPTS]
    for field in ("data", "target", "concepts", "frame", "metadata"):
        assert reviews[field].index.equals(reviews.ids)
    assert "CC BY 4.0" in reviews.DESCR and "arXiv:2205.14140" in reviews.DESCR


def test_shares(folder):
    shares = fetch_cebab("dev").annotator_shares
    assert list(shares) == ["label", *CONCEPTS]
    assert list(shares["label"].columns) == [1, 2, 3, 4, 5]
    assert shares["label"].iloc[1].tolist() == [0.2, 0.8, 0, 0, 0]
    assert list(shares["food"].columns) == ["Negative", "Positive", "unknown"]
    assert shares["food"].iloc[1].tolist() == [0.8, 0, 0.2]
    assert shares["food"].iloc[2].isna().all()  # nobody was asked
    assert shares["service"].iloc[3].tolist() == [0.4, 0.4, 0.2]  # no majority


def test_shares_are_soft_annotations(folder):
    reviews = fetch_cebab("dev")
    soft = reviews.soft_concepts
    assert soft.index.equals(reviews.ids) and soft.shape == (4, 12)
    assert list(soft)[:3] == ["food=Negative", "food=Positive", "food=unknown"]
    table = concept_table(soft)
    assert list(table) == CONCEPTS
    assert table["food"].map(str).tolist() == [
        "Positive", "Negative .8, unknown .2", "None", "None",
    ]  # fmt: skip
    assert str(table["service"].iloc[3]) == "Negative .4, Positive .4, unknown .2"
    arrays = fetch_cebab("dev", as_frame=False)
    assert arrays.soft_concepts.equals(soft)  # its names say what is shared


def test_edit_pairs(folder):
    columns = ["original", "edited", "concept", "goal"]
    kept = fetch_cebab("dev").edit_pairs
    assert list(kept.columns) == columns
    # The original of 000008_000001 has no majority label and is not there.
    assert kept.to_numpy().tolist() == [
        [0, 1, "food", "Negative"],
        [0, 3, "service", "Positive"],
    ]
    everything = fetch_cebab("dev", drop_no_majority=False).edit_pairs
    assert [2, 3, "noise", "unknown"] in everything.to_numpy().tolist()


def test_rows_without_a_majority_can_be_kept(folder):
    reviews = fetch_cebab("dev", drop_no_majority=False)
    assert reviews.target.isna().tolist() == [False, False, True, False, False]


def test_metadata(folder):
    metadata = fetch_cebab("dev").metadata
    assert metadata["original_id"].iloc[1] == "000007"
    assert metadata["is_original"].tolist() == [True, False, False, False]
    assert metadata["edit_goal"].isna().tolist() == [True, False, False, False]
    assert metadata["cuisine"].iloc[0] == "italian"


def test_arrays(folder):
    reviews = fetch_cebab("dev", as_frame=False)
    for field, shape in [("data", (4,)), ("target", (4,)), ("concepts", (4, 4))]:
        assert isinstance(reviews[field], np.ndarray) and reviews[field].shape == shape
    assert reviews.frame is None
    frames = fetch_cebab("dev")
    X, y = fetch_cebab("dev", return_X_y=True)
    assert X.equals(frames.data) and y.equals(frames.target)
    X, y = fetch_cebab("dev", return_X_y=True, as_frame=False)
    assert X.tolist() == frames.data.tolist() and y.tolist() == frames.target.tolist()


# --------------------------------------------------------------------------------------
# The official archive


@official
@pytest.mark.data
@pytest.mark.parametrize(
    "subset, n_samples, n_all, n_pairs",
    [
        ("train", 1463, 1755, 0),
        ("train_exclusive", 1463, 1755, 0),
        ("train_observational", 1495, 1755, 0),
        ("dev", 1673, 1673, 1401),
        ("test", 1689, 1689, 1417),
    ],
)
def test_official_subsets(subset, n_samples, n_all, n_pairs):
    reviews = fetch_cebab(subset, download_if_missing=False)
    assert len(reviews.data) == len(reviews.target) == n_samples
    assert str(n_samples)[-3:] in reviews.DESCR
    assert len(fetch_cebab(subset, drop_no_majority=False).data) == n_all
    assert reviews.ids.is_unique and reviews.data.str.strip().ne("").all()
    assert set(reviews.target) == {1, 2, 3, 4, 5}
    values = set(np.unique(reviews.concepts.stack().dropna()))
    assert values == {"Negative", "Positive", "unknown"}
    assert reviews.concepts.isna().any().all()
    assert len(reviews.edit_pairs) == n_pairs


@official
@pytest.mark.data
def test_official_inclusive():
    reviews = fetch_cebab("train_inclusive", download_if_missing=False)
    assert len(reviews.data) == 9848
    train = fetch_cebab("train", download_if_missing=False)
    assert train.ids.isin(reviews.ids).all()


@official
@pytest.mark.data
def test_official_shares_agree_with_the_majorities():
    reviews = fetch_cebab("dev", download_if_missing=False)
    columns = {"label": reviews.target, **reviews.concepts}
    for name, values in columns.items():
        shares = reviews.annotator_shares[name]
        asked = shares.notna().all(axis=1)
        assert np.allclose(shares[asked].sum(axis=1), 1)
        assert shares[~asked].isna().all(axis=None)
        assert values[~asked].isna().all()
        annotated = values.notna()
        assert (shares[annotated].idxmax(axis=1) == values[annotated]).all()


@official
@pytest.mark.data
def test_official_edit_pairs_join_an_original_and_its_edit():
    reviews = fetch_cebab("test", download_if_missing=False)
    pairs, metadata = reviews.edit_pairs, reviews.metadata
    original = metadata.iloc[pairs["original"]].reset_index()
    edited = metadata.iloc[pairs["edited"]].reset_index()
    assert original["is_original"].all() and not edited["is_original"].any()
    assert original["original_id"].equals(edited["original_id"])
    assert pairs["concept"].equals(edited["edit_type"].rename("concept"))
    assert set(pairs["goal"]) == {"Negative", "Positive", "unknown"}
    pd.testing.assert_frame_equal(
        reviews.frame, fetch_cebab("test", download_if_missing=False).frame
    )
