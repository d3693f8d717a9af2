"""``skclif embed``: from a file of texts to a file of vectors."""

import json

import numpy as np
import pytest

from skclif import SentenceEmbedder

from ..folders import done, refused, run

TEXTS = ["good soup", "bad soup", "the waiter was rude", "good soup"]
LONG = "the soup was cold and the waiter was rude " * 10


@pytest.fixture
def place(tmp_path):
    (tmp_path / "texts.csv").write_text("\n".join(["n,review", *enumerated(TEXTS)]))
    return tmp_path


def enumerated(texts):
    return [f"{i},{text}" for i, text in enumerate(texts)]


def options(place, tiny_encoder, *more):
    return ["--out", place / "v.npy", "--model", tiny_encoder, *more]


def test_texts_become_vectors(place, tiny_encoder):
    more = options(place, tiny_encoder, "--text", "review")
    result = done("embed", place / "texts.csv", *more)
    about, rate = result.stdout.splitlines()
    assert about == f"4 vectors of 16 values are in {place / 'v.npy'}, 0.0 MB."
    assert rate.endswith(" texts a second.")
    assert result.stderr == "Embedding the texts of texts.csv …\n"
    found = np.load(place / "v.npy", mmap_mode="r")
    expected = SentenceEmbedder(tiny_encoder).transform(TEXTS)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
    again = done("embed", place / "texts.csv", *more, "--quiet")
    whole = f"{place / 'v.npy'} was whole before: 4 vectors of 16 values, 0.0 MB.\n"
    assert (again.stdout, again.stderr) == (whole, "")
    (place / "one.txt").write_text("text\ngood\n")
    out = ["--out", place / "one.npy", "--model", tiny_encoder, "--quiet"]
    assert (
        "1 vector of 16 values is in " in done("embed", place / "one.txt", *out).stdout
    )


def test_lines_with_gaps_and_a_cache_for_programs(place, tiny_encoder):
    (place / "lines.txt").write_text(f"{LONG}\n\ngood soup\n")
    more = options(place, tiny_encoder, "--lines", "--keep-incomplete", "--json")
    more += ["--cache", place / "cache", "--dtype", "float32", "--batch-size", 2]
    result = done("embed", place / "lines.txt", *more)
    found = json.loads(result.stdout)
    record = json.loads((place / "v.npy.json").read_text())
    assert found["sha256"] == record["sha256"]
    assert (found["n_texts"], found["n_features"], found["n_before"]) == (3, 16, 0)
    assert (found["n_truncated"], found["vectors"]) == (1, str(place / "v.npy"))
    assert found["texts_a_second"] > 0 and found["seconds"] >= 0
    (warning,) = found["warnings"]
    assert warning.startswith("1 of 3 texts is longer than the 32 tokens")
    assert warning.endswith("Use --long-text mean to embed such texts in chunks.")
    assert (place / "cache").is_dir()
    again = json.loads(done("embed", place / "lines.txt", *more).stdout)
    assert (again["n_before"], again["texts_a_second"]) == (3, None)


def test_errors_name_options(place, tiny_encoder):
    file, more = place / "texts.csv", options(place, tiny_encoder, "--quiet")
    assert "Name another with --text." in refused("embed", file, *more)
    file.write_text("text\na\n \nb\n")
    said = refused("embed", file, *more)
    assert "row 2: the text is empty" in said
    assert said.endswith("embed them as the empty text with --keep-incomplete.")
    out = ["--out", place / "v.csv", "--quiet", "--model", tiny_encoder]
    assert refused("embed", file, *out).endswith("Give another --out.")
    file.write_text("text\na\nb\n")
    done("embed", file, *more)
    said = refused("embed", file, *more, "--long-text", "mean")
    assert "--long-text was truncate and is mean. Run it as before, give" in said
    said = refused("embed", file, *more, "--text", "a", "--text", "a")
    assert said == "Error: --text names a column twice. Give it once."
    said = refused("embed", file, *more, "--dtype", "float16")
    assert "--dtype float16 needs a GPU, and --device is cpu. Use --dtype fl" in said
    said = refused("embed", file, *more, "--device", "tpu")
    assert "--device 'tpu' is not known" in said


def test_options_of_tables_are_not_for_lines(place):
    for option in (["--text", "a"], ["--quoted"], ["--column", "1=a"]):
        arguments = ["embed", place / "texts.csv", "--out", place / "v.npy", "--lines"]
        result = run(*arguments, *option)
        assert result.exit_code == 2
        assert f"{option[0]} is about tables, and --lines" in result.stderr
    result = run("embed", place / "texts.csv")
    assert result.exit_code == 2 and "Missing option '--out'" in result.stderr
