"""Model files: bit for bit what was saved, and nothing that runs."""

import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from skclif import ConceptBottleneckClassifier, SentenceEmbedder, load_model, save_model
from skclif._models.files import FORMAT_VERSION, model_bytes, read_model
from skclif._storage.containers import _digest, pack, unpack
from skclif.exceptions import ModelFileError

from ..damage import DAMAGE, damaged

FUZZ = settings(max_examples=300, deadline=None, derandomize=True)
X = np.random.default_rng(0).normal(size=(60, 4))
CODES = np.random.default_rng(1).integers(3, size=60)
LABELS = {
    "strings": np.array(["no", "maybe", "yes ü"])[CODES],
    "objects": np.array(["no", "maybe", "yes"], dtype=object)[CODES],
    "two strings": np.array(["b", "a", "a"])[CODES],
    "integers": np.array([-1, 5, 2**40])[CODES],
    "large integers": np.array([3, 2**63, 2**63 + 5], dtype=np.uint64)[CODES],
    "bools": CODES > 0,
    "floats": np.array([1.0, 2.0, -3.0])[CODES],
}


def _concepts(n_samples=60):
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        {
            "food": np.array(["good", "bad", "so-so"])[rng.integers(3, size=n_samples)],
            "quiet": np.array(["yes", "no"])[rng.integers(2, size=n_samples)],
            "stars": rng.integers(1, 4, size=n_samples),
            "open": rng.random(n_samples) > 0.5,
            "price": rng.normal(size=n_samples),
            "half": rng.integers(3, size=n_samples) / 2,
        }
    ).astype(object)
    return table.mask(rng.random(table.shape) < 0.3, None)


def _fit(y="strings", concepts=None, X=X, **params):
    params = {"concept_kinds": {"half": "categorical"}, **params}
    if concepts is None:
        params.pop("concept_kinds")
    clf = ConceptBottleneckClassifier(**params)
    return clf.fit(X, LABELS[y] if isinstance(y, str) else y, concepts=concepts)


def _assert_same(value, other):
    assert type(value) is type(other)
    if isinstance(value, np.ndarray):
        assert (value.dtype, value.shape) == (other.dtype, other.shape)
        _assert_same(value.tolist(), other.tolist())
    elif isinstance(value, list):
        assert len(value) == len(other)
        for a, b in zip(value, other, strict=True):
            _assert_same(a, b)
    else:
        assert value == other


def _assert_loads(clf, path, X=X):
    """Save, load, and compare everything."""
    save_model(clf, path)
    loaded = load_model(path)
    assert vars(loaded).keys() == vars(clf).keys()
    for name in vars(clf).keys() - clf.get_params():
        _assert_same(getattr(loaded, name), getattr(clf, name))
    kept = [params.get_params() for params in (loaded, clf)]
    assert kept[0] == {**kept[1], "class_weight": loaded.class_weight}
    for method in ("predict", "predict_proba", "transform", "decision_function"):
        _assert_same(getattr(loaded, method)(X), getattr(clf, method)(X))
    return loaded


@pytest.fixture(scope="module")
def clf():
    return _fit(concepts=_concepts())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(clf, path):
    save_model(clf, path)
    return path


def _repack(path, change, kind="model", version=FORMAT_VERSION):
    """Change what is in a file, whose digest is then right."""
    arrays, about, *_ = unpack(path, "model", FORMAT_VERSION)
    change(arrays, about)
    path.write_bytes(pack(kind, version, arrays, about))


def _forge(path, change):
    """Change the header of a file, whose digest is then right."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])["__metadata__"]["skclif"]
    header, arrays = json.loads(header), dict(sorted(load(content).items()))
    change(header)
    del header["sha256"]
    header["sha256"] = _digest(arrays, header)
    path.write_bytes(save(arrays, metadata={"skclif": json.dumps(header)}))


# --- There and back -------------------------------------------------------------------


@pytest.mark.parametrize("y", LABELS)
@pytest.mark.parametrize("with_concepts", [False, True])
def test_labels_of_every_kind_come_back(path, y, with_concepts):
    concepts = _concepts() if with_concepts else None
    _assert_loads(_fit(y, concepts), path)


@pytest.mark.parametrize(
    "params",
    [
        {"bottleneck": "soft", "training": "independent"},
        {"training": "sequential"},
        {"intervention_prob": 0.6},
        {"bottleneck": "hard"},
        {"bottleneck": "hard", "training": "independent"},
        {"bottleneck": "logit", "C": np.float64(0.1), "concept_C": 7},
        {"concept_kinds": {"half": "continuous", "stars": "continuous"}},
        {"tol": 1e-6, "max_iter": np.int64(50)},
    ],
)
def test_every_bottleneck_and_training_comes_back(path, params):
    clf = _fit(concepts=_concepts(), **params)
    loaded = _assert_loads(clf, path)
    pd.testing.assert_frame_equal(loaded.predict_concepts(X), clf.predict_concepts(X))
    loaded.fit(X, LABELS["strings"], concepts=_concepts())
    assert model_bytes(loaded) == model_bytes(clf)


@pytest.mark.parametrize("as_frame", [False, True])
def test_the_container_of_concepts_comes_back(path, as_frame):
    concepts = _concepts()[["food", "price"]]
    clf = _fit(
        concepts=concepts if as_frame else concepts.to_numpy(), concept_kinds=None
    )
    found = _assert_loads(clf, path).predict_concepts(X)
    assert type(found) is (pd.DataFrame if as_frame else np.ndarray)
    assert np.array_equal(np.asarray(found), np.asarray(clf.predict_concepts(X)))


@pytest.mark.parametrize(
    "weights, found",
    [
        (None, None),
        ("balanced", "balanced"),
        ({"no": 2, "maybe": 1, "yes ü": 0.1}, {"maybe": 1.0, "no": 2.0, "yes ü": 0.1}),
        ({"no": 3.0}, {"maybe": 1.0, "no": 3.0, "yes ü": 1.0}),
    ],
)
def test_class_weights_come_back(path, weights, found):
    clf = _fit(concepts=_concepts(), class_weight=weights)
    loaded = _assert_loads(clf, path)
    assert loaded.class_weight == found
    assert loaded.fit(X, LABELS["strings"]).class_weight_.tolist() == (
        clf.class_weight_.tolist()
    )


def test_names_of_features_come_back(path):
    frame = pd.DataFrame(X, columns=["a", "ä b", "c\n", "=1"])
    loaded = _assert_loads(_fit(X=frame, concepts=_concepts()), path, frame)
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.predict(frame.rename(columns={"a": "z"}))


def test_the_device_is_not_kept(path):
    clf = _fit(device="auto")
    save_model(clf, path)
    assert load_model(path).device == "cpu"


def test_what_is_loaded_can_be_changed_and_saved_again(saved, tmp_path):
    loaded = load_model(str(saved))
    save_model(loaded, str(tmp_path / "again"))
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()
    loaded.coef_ *= 2
    loaded.concept_coef_[0][0, 0] = 1


def test_the_same_model_gives_the_same_bytes(clf, saved):
    assert model_bytes(clf) == model_bytes(clf) == saved.read_bytes()
    assert model_bytes(_fit(concepts=_concepts())) == saved.read_bytes()
    code = f"""if True:
        from skclif._models.files import model_bytes, read_model

        stored = read_model({str(saved)!r})
        sys = __import__("sys")
        sys.stdout.buffer.write(model_bytes(stored.classifier))
    """
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=environment
    )
    assert done.stdout == saved.read_bytes(), done.stderr.decode()


def test_an_earlier_file_is_replaced(saved):
    other = _fit("two strings")
    save_model(other, saved)
    assert read_model(saved).classifier.n_concepts_ == 0
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


# --- With an embedder -----------------------------------------------------------------

TEXTS = ["good soup", "bad soup", "rude waiter", "lovely food", "cold", "warm"]


@pytest.fixture
def encoder(tiny_encoder, tmp_path):
    return shutil.copytree(tiny_encoder, tmp_path / "encoder")


@pytest.fixture
def pipeline(encoder):
    embedder = SentenceEmbedder(encoder, normalize=np.True_, long_text="mean")
    return make_pipeline(embedder, ConceptBottleneckClassifier()).fit(TEXTS, [0, 1] * 3)


def test_a_pipeline_comes_back(pipeline, encoder, path):
    save_model(pipeline, path)
    loaded = load_model(path)
    assert np.array_equal(loaded.predict_proba(TEXTS), pipeline.predict_proba(TEXTS))
    params, given = loaded[0].get_params(), pipeline[0].get_params()
    assert params == {**given, "model": str(encoder)}
    before = path.read_bytes()
    save_model(loaded, path)
    assert path.read_bytes() == before


def test_an_embedding_model_that_was_moved_is_named(pipeline, encoder, path):
    expected = pipeline.predict_proba(TEXTS)
    save_model(pipeline, path)
    moved = encoder.rename(encoder.parent / "moved")
    message = (
        r"The embedding model '.*encoder' is a folder that does not exist here\. Give "
        r"its new place by model= \(on the command line --model\)\."
    )
    with pytest.raises(OSError, match=message):
        load_model(path)
    for place in (moved, str(moved)):
        loaded = load_model(path, model=place)
        assert np.array_equal(loaded.predict_proba(TEXTS), expected)


def test_an_embedding_model_that_was_changed_is_refused(pipeline, encoder, path):
    save_model(pipeline, path)
    with open(encoder / "config.json", "a") as stream:
        stream.write("\n")
    message = (
        "The embedding model '.*encoder' is not the model that was used before: its "
        r"files differ, so every vector would differ\. Give the model that was used\."
    )
    for model in (None, encoder):
        with pytest.raises(ModelFileError, match=message):
            load_model(path, model=model)


def test_a_model_of_features_has_no_embedder(saved, tiny_encoder):
    assert read_model(saved).embedder is None
    message = "model of features, without an embedder; leave out model="
    with pytest.raises(ModelFileError, match=message):
        load_model(saved, model=tiny_encoder)


# --- What cannot be saved -------------------------------------------------------------


class _Own(ConceptBottleneckClassifier):
    pass


_SKOPS = r"Use skops for other estimators\."
_LAST = r"Save its last step, pipeline\[-1\]; .* for example with skops\."


@pytest.mark.parametrize(
    "estimator, got",
    [
        (LogisticRegression(), rf"LogisticRegression\. {_SKOPS}"),
        (_Own(), rf"_Own\. {_SKOPS}"),
        (SentenceEmbedder(), rf"SentenceEmbedder\. {_SKOPS}"),
        (
            make_pipeline(SentenceEmbedder(), LogisticRegression()),
            rf"a pipeline of SentenceEmbedder and LogisticRegression\. {_SKOPS}",
        ),
        (
            make_pipeline("passthrough", ConceptBottleneckClassifier()),
            rf"a pipeline of passthrough and ConceptBottleneckClassifier\. {_LAST}",
        ),
        (
            Pipeline([("clf", ConceptBottleneckClassifier())]),
            rf"a pipeline of ConceptBottleneckClassifier\. {_LAST}",
        ),
        (ConceptBottleneckClassifier, rf"(ABCMeta|type)\. {_SKOPS}"),
        (None, rf"NoneType\. {_SKOPS}"),
    ],
)
def test_other_estimators_are_refused(path, estimator, got):
    message = (
        "save_model takes a ConceptBottleneckClassifier, or a pipeline of a "
        r"SentenceEmbedder or a ConceptEncoder and a ConceptBottleneckClassifier, got "
        rf"{got}"
    )
    with pytest.raises(TypeError, match=message):
        save_model(estimator, path)
    assert not path.exists()


def test_what_is_not_fitted_is_refused(saved, tiny_encoder):
    before, clf = saved.read_bytes(), ConceptBottleneckClassifier()
    for estimator in (clf, make_pipeline(SentenceEmbedder(tiny_encoder), clf)):
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            save_model(estimator, saved)
    assert saved.read_bytes() == before


DAYS = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"])


@pytest.mark.parametrize(
    "y, concepts",
    [
        (DAYS.to_numpy().astype("datetime64[ns]")[CODES], None),
        (DAYS.to_numpy().astype("datetime64[D]")[CODES], None),
        ("strings", pd.DataFrame({"day": DAYS[CODES]})),
        ("strings", pd.DataFrame({"pair": [(int(k), 1) for k in CODES]})),
    ],
)
def test_values_that_are_no_words_or_numbers_are_refused(path, y, concepts):
    fitted = _fit(y, concepts, concept_kinds=None)
    message = (
        r"A model with the values \[.*\] cannot be saved: they must be strings, "
        "numbers or bools"
    )
    with pytest.raises(TypeError, match=message):
        save_model(fitted, path)
    assert not path.exists()


def test_a_folder_in_the_place_of_the_file(clf, path):
    path.mkdir()
    with pytest.raises(IsADirectoryError, match="model.safetensors is a folder, where"):
        save_model(clf, path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


# --- What is no model file ------------------------------------------------------------


def test_a_file_that_is_not_there(path):
    message = r"There is no file '.*model\.safetensors'\."
    with pytest.raises(FileNotFoundError, match=message):
        load_model(path)
    path.mkdir()
    with pytest.raises(ModelFileError, match="is a folder; name a file"):
        load_model(path)


def _safetensors(header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def _metadata(**header):
    known = {"format": "skclif-model", "format_version": "1", "about": "{}"}
    header = {**known, "skclif_version": "0", "sha256": "", **header}
    return {"__metadata__": {"skclif": json.dumps(header)}}


def _array(dtype, shape, size=0):
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}


NOT_WHOLE = "model.safetensors is not a safetensors file, or not a whole one"
NOT_OURS = "is not a file of skclif: it has no header that can be read"
ODD = "is not a file of skclif: its header is odd"
DAMAGED = r"is damaged \(.*\)\. Restore a copy of it, or make it again\."


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", NOT_WHOLE),
        (b"1234567", NOT_WHOLE),
        (pickle.dumps({"a": [1, 2, 3]}), NOT_WHOLE),
        (b"PK\x03\x04" + bytes(100), NOT_WHOLE),
        (struct.pack("<Q", 2**63) + b"{}", NOT_WHOLE),
        (bytes(8), NOT_OURS),
        (_safetensors(b"{"), NOT_OURS),
        (_safetensors(b"\xff\xfe\xff"), NOT_OURS),
        (_safetensors(b"[" * 100_000), NOT_OURS),
        (_safetensors([]), NOT_OURS),
        (_safetensors({}), NOT_OURS),
        (_safetensors({"__metadata__": {"skclif": "no JSON"}}), NOT_OURS),
        (_safetensors({"__metadata__": {"skclif": 7}}), NOT_OURS),
        (_safetensors({"__metadata__": {"skclif": "[" * 100_000}}), NOT_OURS),
        (_safetensors({"__metadata__": {"skclif": "[]"}}), ODD),
        (_safetensors(_metadata(about=7)), ODD),
        (_safetensors(_metadata(format="other")), "does not hold a model: .*'other'"),
        (_safetensors(_metadata()), DAMAGED),
        (_safetensors(_metadata(), b"more"), DAMAGED),
        (_safetensors(_metadata(about="[" * 100_000)), DAMAGED),
        (_safetensors({**_metadata(), **_array("F64", [0, 2**63])}), DAMAGED),
        (_safetensors({**_metadata(), **_array("F64", [2**62, 4])}), DAMAGED),
        (_safetensors({**_metadata(), **_array("F64", [10**9], 8 * 10**9)}), DAMAGED),
        (_safetensors({**_metadata(), **_array("F64", [0] * 100)}), DAMAGED),
        (_safetensors({**_metadata(), **_array("BF16", [1], 2)}, b"12"), DAMAGED),
        (_safetensors({**_metadata(), **_array("F7", [1], 2)}, b"12"), DAMAGED),
    ],
)
def test_what_is_no_model_file(path, content, message):
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


def test_a_file_cut_anywhere(saved):
    whole = saved.read_bytes()
    for length in range(0, len(whole), 37):
        saved.write_bytes(whole[:length])
        with pytest.raises(ModelFileError, match=f"{NOT_WHOLE}|{NOT_OURS}|{DAMAGED}"):
            load_model(saved)


def test_one_number_that_was_changed(saved):
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ModelFileError, match="what is read is not what was stored"):
        load_model(saved)


def test_other_kinds_and_versions(saved):
    _repack(saved, lambda arrays, about: None, kind="rows")
    message = "does not hold a model: it says it is 'skclif-rows', not 'skclif-model'"
    with pytest.raises(ModelFileError, match=message):
        load_model(saved)


def test_another_format_version_says_what_reads_it(saved):
    _repack(saved, lambda arrays, about: None, version=7)
    message = (
        r"has format version '7'; skclif .+ reads 1, 2 and 3\. Read it with skclif "
        r"'0\..+', which wrote it"
    )
    with pytest.raises(ModelFileError, match=message):
        load_model(saved)


def test_a_header_that_does_not_say_who_wrote_it(saved):
    _forge(saved, lambda header: header.pop("skclif_version"))
    with pytest.raises(ModelFileError, match=r"is damaged \('skclif_version'\)"):
        load_model(saved)


# --- Forged: the digest is right ------------------------------------------------------


def _set(*keys, to):
    def change(arrays, about):
        part = about
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = to

    return change


def _replace(name, make):
    def change(arrays, about):
        arrays[name] = make(arrays[name])

    return change


def _drop(name):
    return lambda arrays, about: about.pop(name)


def _classes(kind, values):
    return _set("classes", to={"kind": kind, "values": values})


DEEP = "x"
for _ in range(700):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "change, reason",
    [
        (_drop("classes"), "KeyError: 'classes'"),
        (_drop("embedder"), "KeyError: 'embedder'"),
        (lambda arrays, about: arrays.pop("coef"), "KeyError: 'coef'"),
        (_replace("coef", lambda a: a[:, :-1]), r"shape \(3, \d+\) in place of \(3, "),
        (_replace("coef", lambda a: a.ravel()), "an array of shape .* in place of"),
        (_replace("concept_coef.0", lambda a: a[:1]), r"shape \(1, 4\) in place of"),
        (_replace("intercept", lambda a: a * np.nan), "numbers that are not finite"),
        (_replace("coef", lambda a: a + np.inf), "numbers that are not finite"),
        (_replace("coef", lambda a: a.astype("f4")), "or not in double precision"),
        (_replace("class_weight", lambda a: a.astype(int)), "not in double precision"),
        (_replace("C", lambda a: -a), "penalties that are not positive"),
        (_replace("concept_C", lambda a: 0 * a), "penalties that are not positive"),
        (_replace("concept_C", lambda a: a[1:]), r"shape \(\d,\) in place of"),
        (_replace("intervention_prob", lambda a: a + 1), "probability of 1.4"),
        (_set("n_features", to=5), r"in place of \(3, 5\)"),
        (_set("n_features", to=0), "0 in place of a whole number"),
        (_set("n_features", to=True), "True in place of a whole number"),
        (_set("n_iter", to=-1), "-1 in place of a whole number"),
        (_set("n_iter", to=1.5), "1.5 in place of a whole number"),
        (_set("parameters", "C", to="large"), "The 'C' parameter"),
        (_set("parameters", "C", to=-1), "The 'C' parameter"),
        (_set("parameters", "concept_kinds", to=[1]), "The 'concept_kinds' parameter"),
        (_set("parameters", "training", to=DEEP), "does not hold a model"),
        (_set("parameters", "secret", to=1), "unexpected keyword argument 'secret'"),
        (_set("parameters", "device", to="cuda:99"), r"the parameters \['C', "),
        (_set("parameters", to={}), r"the parameters \[\]"),
        (_set("parameters", to=None), "TypeError"),
        (_set("concepts", 0, "name", to=7), "names that are not strings"),
        (_set("concepts", 0, "name", to="quiet"), "names that are not different"),
        (_set("concepts", 0, "values", to=None), r"in place of \(1, 4\)"),
        (
            _set("concepts", 0, "values", to={"kind": "str", "values": ["a", "a"]}),
            "1 or more different ones in order",
        ),
        (_set("concepts", to=[]), "in place of"),
        (_set("concepts", to=[7]), "TypeError"),
        (_set("feature_names", to=["a"]), "1 names of 4 features"),
        (_set("feature_names", to="abcd"), "names that are not strings"),
        (_set("feature_names", to=["a", "b", "c", 1]), "names that are not strings"),
        (_set("feature_names", to=["a"] * 4), "names that are not different"),
        (_classes("str", ["b", "a", "c"]), "2 or more different ones in order"),
        (_classes("str", ["a", "a", "b"]), "2 or more different ones in order"),
        (_classes("str", ["a"]), "2 or more different ones in order"),
        (_classes("str", ["a", "b"]), r"in place of \(1, "),
        (_classes("str", ["a", "b", 1]), "values that are not of kind 'str'"),
        (_classes("str", "abc"), "values that are not of kind 'str'"),
        (_classes("int", ["a", "b", "c"]), "values that are not of kind 'int'"),
        (_classes("int", [1, 2, 2**63]), "OverflowError"),
        (_classes("uint", [-1, 2, 3]), "OverflowError"),
        (_classes("bool", [0, 1, 2]), "values that are not of kind 'bool'"),
        (_classes("object", ["a", None, "b"]), "values that are not of kind 'object'"),
        (_classes("object", ["a", 1, 2]), "TypeError"),
        (_classes("code", ["a", "b", "c"]), "KeyError: 'code'"),
        (_classes([], ["a", "b", "c"]), "TypeError"),
        (_set("held_concepts", to={"food": -1.0}), "factor -1.0 of concept 'food'"),
        (_set("held_concepts", to={"zebra": 0.5}), "factor 0.5 of concept 'zebra'"),
        (_set("held_concepts", to={"food": None}), "TypeError"),
        (_set("held_concepts", to=["food"]), "AttributeError"),
        (_set("embedder", to={}), "KeyError: 'model'"),
        (_set("embedder", to="model"), "TypeError"),
        (
            lambda arrays, about: arrays.update(zzz=np.zeros(2)),
            "'zzz' belongs to no part",
        ),
        (
            lambda arrays, about: arrays.update({"concept_coef.6": np.zeros((1, 4))}),
            "'concept_coef.6' belongs to no part",
        ),
    ],
)
def test_parts_that_do_not_fit(saved, change, reason):
    _repack(saved, change)
    message = r"does not hold a model that can be used: its parts do not fit \(.+\)\."
    with pytest.raises(ModelFileError, match=message) as caught:
        load_model(saved)
    assert re.search(reason, str(caught.value))


@pytest.mark.parametrize("numbers", ["NaN, 1.0, 2.0", "1.0, 2.0, 1e999"])
def test_classes_that_are_not_finite(saved, numbers):
    _repack(saved, _classes("float", [7.0, 8.0, 9.0]))
    _forge(
        saved,
        lambda header: header.update(
            about=header["about"].replace("7.0, 8.0, 9.0", numbers)
        ),
    )
    with pytest.raises(ModelFileError, match="values that are not finite"):
        load_model(saved)


@pytest.mark.parametrize(
    "params, reason",
    [
        ({"dtype": "int8"}, "The 'dtype' parameter"),
        ({"model": 7}, "The 'model' parameter"),
        ({"normalize": "yes"}, "The 'normalize' parameter"),
        ({"long_text": None}, "The 'long_text' parameter"),
    ],
)
def test_an_embedder_that_cannot_be(saved, params, reason):
    known = {"model": "m", "dtype": "float32", "normalize": False}
    known |= {"long_text": "mean", "is_folder": False, "fingerprint": "0"}
    _repack(saved, _set("embedder", to={**known, **params}))
    with pytest.raises(ModelFileError, match=reason):
        load_model(saved)


def test_strings_that_would_be_padded_to_more_than_memory(saved):
    """One long string and many short ones, several times."""
    values = [f"{k:04d}" for k in range(2000)]
    values.append("x" * 2000)

    def change(arrays, about):
        concept = {"name": "", "values": {"kind": "str", "values": values}}
        about["concepts"] = [{**concept, "name": f"c{k}"} for k in range(3)]
        for k in range(3):
            arrays[f"concept_coef.{k}"] = np.zeros((2001, 4))
            arrays[f"concept_intercept.{k}"] = np.zeros(2001)

    _repack(saved, change)
    with pytest.raises(ModelFileError, match="values of such number and length"):
        load_model(saved)


# --- Nothing runs, nothing is fetched, nothing is filled ------------------------------

WATCHED = """if True:
    import json, sys
    from skclif import load_model

    load_model(sys.argv[1])  # what is imported has been by now
    forbidden = ("pickle", "socket", "subprocess", "os.system", "os.exec", "exec")
    seen = []
    watch = lambda event, _: event.startswith(forbidden) and seen.append(event)
    sys.addaudithook(watch)
    loaded = load_model(sys.argv[2])
    print(json.dumps([seen, list(loaded[-1].classes_)]))
    import pickle
    pickle.loads(pickle.dumps(json.dumps))
    assert seen[-1] == "pickle.find_class", seen
"""


def test_loading_runs_no_code_and_needs_no_network(pipeline, path, tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    payload = pickle.dumps(Payload(), protocol=0).decode()
    code = f"__import__('os').mkdir({str(tmp_path / 'ran')!r})"
    words = sorted([payload, code])
    pipeline.fit(TEXTS, words * 3)
    save_model(pipeline, path)
    save_model(pipeline[-1], tmp_path / "features")
    command = [sys.executable, "-c", WATCHED, str(tmp_path / "features"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], words]
    assert not (tmp_path / "ran").exists()
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ModelFileError, match=NOT_WHOLE):
        load_model(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on memory")
def test_small_files_take_little_memory(saved, tmp_path):
    files = {
        "length": struct.pack("<Q", 2**40) + b"{}",
        "shape": _safetensors({**_metadata(), **_array("U8", [2**40], 2**40)}),
        "zeros": _safetensors({**_metadata(), **_array("F64", [0, 2**50])}),
    }
    values = [f"{k:04d}" for k in range(3000)] + ["x" * 3000]

    def change(arrays, about):
        for k in range(30):  # 36 MB each, if NumPy had them
            about["concepts"].append(
                {"name": f"c{k}", "values": {"kind": "str", "values": values}}
            )
            arrays[f"concept_coef.{k + 6}"] = np.zeros((3001, 4))
            arrays[f"concept_intercept.{k + 6}"] = np.zeros(3001)

    _repack(saved, change)
    files["strings"] = saved.read_bytes()
    _repack(saved, lambda arrays, about: about.update(concepts=[[]] * 300_000))
    files["lists"] = saved.read_bytes()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    code = """if True:
        import resource, sys
        from pathlib import Path
        from skclif._models.files import read_model
        from skclif.exceptions import ModelFileError

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        size = pages * resource.getpagesize() + 300 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        for path in sys.argv[1:]:
            try:
                read_model(path)
            except ModelFileError as error:
                print("refused")
    """
    command = [sys.executable, "-c", code, *(str(tmp_path / name) for name in files)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.split() == ["refused"] * len(files), done.stderr


# --- Any bytes, any JSON --------------------------------------------------------------


@pytest.fixture(scope="module")
def sound(clf, tmp_path_factory):
    """A model file and its bytes."""
    path = tmp_path_factory.mktemp("fuzz") / "model.safetensors"
    save_model(clf, path)
    return path, path.read_bytes()


@FUZZ
@given(damage=DAMAGE)
def test_any_damage_is_refused_or_does_not_matter(sound, damage):
    path, content = sound
    content = damaged(content, damage)
    path.write_bytes(content)
    try:
        stored = read_model(path)
    except ModelFileError as error:
        assert str(path) in str(error)
        return
    assert model_bytes(stored.classifier, stored.embedder) == sound[1]


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 6),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
        st.sampled_from(["str", "int", "uint", "float", "bool", "object", "values"]),
        st.sampled_from(["kind", "name", "logit", "hard", "independent", "cuda"]),
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "kind", "values", "C"]), inner)
    ),
    max_leaves=8,
)


def _places(part, keys=()):
    """Yield where every part of JSON is, and the part."""
    yield keys, part
    if isinstance(part, list):
        part = dict(enumerate(part))
    for key, each in part.items() if isinstance(part, dict) else ():
        yield from _places(each, (*keys, key))


@FUZZ
@given(data=st.data())
def test_any_json_about_a_model_is_refused_or_makes_a_model(sound, data):
    path, content = sound
    path.write_bytes(content)
    arrays, about, *_ = unpack(path, "model", FORMAT_VERSION)
    for _ in range(data.draw(st.integers(1, 3))):
        parts = list(_places(about))[1:]
        keys, _ = data.draw(st.sampled_from(parts))
        others = st.sampled_from([json.dumps(part) for _, part in parts])
        _set(*keys, to=data.draw(JSON | others.map(json.loads)))(arrays, about)
    path.write_bytes(pack("model", 1, arrays, about))
    try:
        clf = read_model(path).classifier
    except ModelFileError as error:
        assert "its parts do not fit" in str(error)
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        proba = clf.predict_proba(X[:, : clf.n_features_in_])
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert proba.shape == (60, len(clf.classes_))
    assert len(model_bytes(clf))


@FUZZ
@given(data=st.data())
def test_any_description_of_the_arrays_is_refused_or_does_not_matter(sound, data):
    path, content = sound
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    described = {k: v for k, v in header.items() if k != "__metadata__"}
    parts = list(_places(described))[1:]
    keys, _ = data.draw(st.sampled_from(parts))
    others = st.sampled_from([json.dumps(part) for _, part in parts]).map(json.loads)
    types = st.sampled_from(["BOOL", "U8", "F16", "BF16", "F32", "U64", "C64", "F4"])
    _set(*keys, to=data.draw(JSON | others | types))(None, described)
    header = {"__metadata__": header["__metadata__"], **described}
    path.write_bytes(_safetensors(header, content[8 + length :]))
    try:
        stored = read_model(path)
    except ModelFileError as error:
        assert str(path) in str(error)
        return
    assert model_bytes(stored.classifier, stored.embedder) == content
