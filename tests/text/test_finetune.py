"""The encoder that learns concepts: what it learns, gives, keeps and refuses."""

import json
import pickle
import shutil
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline, make_union

from skclif import (
    ConceptBottleneckClassifier,
    ConceptEncoder,
    ConceptInfluenceExplainer,
    SentenceEmbedder,
    load_model,
    save_model,
)
from skclif._inputs.devices import available_memory
from skclif._models.files import read_model
from skclif._storage.containers import pack, unpack
from skclif._text import finetune
from skclif._text.finetune import _turn
from skclif._text.layers import LastLayers
from skclif._text.memory import SHARED
from skclif._text.training import Settings, Targets, train
from skclif._text.weights import load_model as load_weights
from skclif.exceptions import (
    ConstantConceptWarning,
    ModelFileError,
    TruncatedTextWarning,
)

from .test_embedder import NOT_TEXTS

N = 40
NEW = ["cold soup", "the waiter was rude", "tasty food 5"]
# Two computations of one text differ by the rounding of float32 only.
CLOSE = {"rtol": 0, "atol": 1e-5}


def make_reviews(n=N, seed=0):
    """Return texts, labels and concepts that a word of each text tells."""
    rng = np.random.default_rng(seed)
    food, service = rng.integers(2, size=(2, n))
    soups, waiters = ["cold soup", "tasty soup"], ["rude waiter", "warm service"]
    texts = [
        f"{soups[f]} {waiters[s]} {i}"
        for i, (f, s) in enumerate(zip(food, service, strict=True))
    ]
    names = np.array(["bad", "good"], dtype=object)
    concepts = pd.DataFrame({"food": names[food], "service": names[service]})
    return texts, np.array(["no", "yes"])[food & service], concepts


def make_encoder(folder, **params):
    """Return an encoder that is trained in a moment."""
    usual = {"n_trainable_layers": 1, "epochs": 2, "learning_rate": 3e-3}
    usual |= {"n_splits": 2, "validation_fraction": None, "random_state": 0}
    return ConceptEncoder(folder, **usual | params)


def same_weights(one, other):
    a, b = one.weights_, other.weights_
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)


@pytest.fixture(scope="module")
def reviews():
    return make_reviews()


@pytest.fixture(scope="module")
def fitted(tiny_encoder, reviews):
    texts, y, concepts = reviews
    return make_encoder(tiny_encoder).fit(texts, y, concepts=concepts)


@pytest.fixture(scope="module")
def whole(tiny_encoder):
    """Return the model that is trained, as it is at first."""
    return load_weights(Path(tiny_encoder), "cpu", "float32", 0)


# --- What it learns -------------------------------------------------------------------


def test_new_texts_tell_more_of_what_was_learned(tiny_encoder, reviews):
    texts, y, concepts = reviews
    new_texts, new_y, new_concepts = make_reviews(seed=1)
    encoder = make_encoder(tiny_encoder, epochs=4)
    vectors = encoder.fit_transform(texts, y, concepts=concepts)
    frozen = SentenceEmbedder(tiny_encoder, layers=None)
    losses = []
    for own, new in [
        (vectors, encoder.transform(new_texts)),
        (frozen.transform(texts), frozen.transform(new_texts)),
    ]:
        for given, true in [(y, new_y), (concepts["food"], new_concepts["food"])]:
            proba = LogisticRegression(max_iter=500).fit(own, given).predict_proba(new)
            losses.append(log_loss(true, proba))
    assert losses[0] < losses[2] and losses[1] < losses[3]


def test_vectors_of_training_rows_do_not_know_their_labels(tiny_encoder):
    """Labels of chance can be learned by heart, but not out of fold."""
    words = ["bad", "cold", "food", "good", "great", "lovely", "rude", "service"]
    words += ["slow", "soup", "tasty", "waiter", "warm"]
    texts = [" ".join(pair) for pair in permutations(words, 2)][::4]
    y = np.random.default_rng(0).integers(2, size=len(texts))
    half = np.arange(len(y)) < len(y) // 2
    scores = {}
    for n_splits in (None, 4):
        encoder = make_encoder(
            tiny_encoder, n_trainable_layers=None, epochs=15, n_splits=n_splits
        )
        V = encoder.fit_transform(texts, y)
        clf = LogisticRegression(C=100, max_iter=500).fit(V[half], y[half])
        scores[n_splits] = clf.score(V[~half], y[~half])
    assert scores[None] >= 0.8
    assert scores[4] <= 0.7


def test_without_splits_training_rows_are_as_new_ones(tiny_encoder, reviews, fitted):
    texts, y, concepts = reviews
    encoder = make_encoder(tiny_encoder, n_splits=None)
    vectors = encoder.fit_transform(texts, y, concepts=concepts)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, encoder.transform(texts))
    assert same_weights(encoder, fitted)


def test_fit_transform_fits_what_fit_fits(tiny_encoder, reviews, fitted):
    texts, y, concepts = reviews
    encoder = make_encoder(tiny_encoder)
    vectors = encoder.fit_transform(texts, y, concepts=concepts)
    assert same_weights(encoder, fitted)
    assert vectors.shape == (N, 16) and vectors.dtype == np.float32
    assert np.abs(vectors - encoder.transform(texts)).max() > 1e-3


def test_equal_texts_are_in_one_part(tiny_encoder):
    texts = [f"soup {i // 2}" for i in range(12)]
    y = np.arange(12) % 2
    vectors = make_encoder(tiny_encoder, n_splits=3).fit_transform(texts, y)
    np.testing.assert_allclose(vectors[::2], vectors[1::2], **CLOSE)


def test_only_the_last_layers_change(fitted, whole):
    names = dict(whole.named_parameters())
    assert set(fitted.weights_) == {n for n in names if ".layer.1." in n}
    for name, array in fitted.weights_.items():
        assert array.dtype == np.float32
        if "key.bias" not in name:  # no attention depends on it
            assert not np.array_equal(array, names[name].detach().numpy()), name


def test_concepts_change_the_weights(tiny_encoder, reviews, fitted):
    texts, y, concepts = reviews
    label_only = make_encoder(tiny_encoder).fit(texts, y)
    assert not same_weights(label_only, fitted)
    ignored = make_encoder(tiny_encoder, concept_weight=0)
    ignored.fit(texts, y, concepts=concepts)
    for name, array in label_only.weights_.items():
        # Heads of another size are multiplied in another order.
        np.testing.assert_allclose(ignored.weights_[name], array, rtol=0, atol=1e-3)


def test_rows_and_annotations_of_weight_0_have_no_part(tiny_encoder, reviews):
    texts, y, concepts = reviews
    kept = np.arange(N) % 4 > 0
    encoder = make_encoder(tiny_encoder)
    expected = clone(encoder).fit(
        [t for t, k in zip(texts, kept, strict=True) if k],
        y[kept],
        concepts=concepts[kept],
    )
    vectors = encoder.fit_transform(
        texts, np.where(kept, y, "never"), kept.astype(float), concepts=concepts
    )
    assert same_weights(encoder, expected)
    unseen = [t for t, k in zip(texts, kept, strict=True) if not k]
    np.testing.assert_allclose(vectors[~kept], encoder.transform(unseen), **CLOSE)
    masked = concepts.where(np.repeat(kept[:, None], 2, axis=1))
    by_weight = clone(encoder).fit(
        texts,
        y,
        concepts=concepts,
        concept_sample_weight=np.repeat(kept[:, None], 2, axis=1).astype(float),
    )
    assert same_weights(by_weight, clone(encoder).fit(texts, y, concepts=masked))


def test_rows_count_by_their_weight(tiny_encoder, reviews):
    """A row of weight 2 counts twice; a constant for all rows says nothing."""
    texts, y, concepts = reviews
    encoder = make_encoder(tiny_encoder, batch_size=2 * N, epochs=3)
    weights = np.arange(1, N + 1) % 2 + 1.0
    rows = np.repeat(np.arange(N), weights.astype(int))
    weighted = clone(encoder).fit(texts, y, weights * 7, concepts=concepts)
    repeated = clone(encoder).fit(
        [texts[row] for row in rows],
        y[rows],
        concepts=concepts.iloc[rows].reset_index(drop=True),
    )
    for name, array in weighted.weights_.items():
        if "key.bias" not in name:  # no attention depends on it: rounding alone
            np.testing.assert_allclose(repeated.weights_[name], array, atol=1e-3)
    assert not same_weights(weighted, clone(encoder).fit(texts, y, concepts=concepts))


def test_the_same_random_state_gives_the_same_weights(tiny_encoder, reviews, fitted):
    texts, y, concepts = reviews
    torch.manual_seed(3)
    before = torch.get_rng_state()
    again = make_encoder(tiny_encoder).fit(texts, y, concepts=concepts)
    assert torch.equal(torch.get_rng_state(), before)
    assert same_weights(again, fitted)
    other = make_encoder(tiny_encoder, random_state=1).fit(texts, y, concepts=concepts)
    assert not same_weights(other, fitted)


def test_amounts_and_constants_are_learned_and_left_out(tiny_encoder, reviews, fitted):
    texts, y, concepts = reviews
    amounts = concepts.assign(price=np.linspace(0.5, 9.3, N))
    encoder = make_encoder(tiny_encoder).fit(texts, y, concepts=amounts)
    assert not same_weights(encoder, fitted)
    scaled = amounts.assign(price=amounts["price"] * 1000)
    other = make_encoder(tiny_encoder).fit(texts, y, concepts=scaled)
    for name, array in encoder.weights_.items():
        np.testing.assert_allclose(array, other.weights_[name], rtol=0, atol=1e-3)
    with pytest.warns(ConstantConceptWarning):
        make_encoder(tiny_encoder).fit(texts, y, concepts=concepts.assign(one="a"))


# --- Its parts ------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("n_layers", [1, 2, None])
def test_kept_outputs_are_those_of_the_whole_model(tiny_encoder, n_layers, side):
    model = load_weights(Path(tiny_encoder), "cpu", "float32", 0)
    model.tokenizer.padding_side = side
    texts = ["soup", "the soup was cold and the waiter was rude", "tasty food"]
    expected = model.encode(texts)
    counts = []
    with LastLayers(model, texts, n_layers) as layers:
        layers.prepare(counts.append)
        layers.reset()
        np.testing.assert_allclose(layers.embed([0, 1, 2]), expected, **CLOSE)
        vectors = layers.vectors([2, 1])
        np.testing.assert_allclose(vectors.detach().numpy(), expected[[2, 1]], **CLOSE)
        vectors.sum().backward()
        assert all(p.grad is not None for p in layers.parameters if p.numel() > 999)
    assert sum(counts) == 3
    np.testing.assert_allclose(model.encode(texts), expected, **CLOSE)  # whole again


@pytest.mark.parametrize("error", [None, IndexError("tuple index out of range")])
def test_layers_that_need_more_are_refused(tiny_encoder, monkeypatch, error):
    def recall(self, *inputs, **options):
        if error is not None:
            raise error
        return torch.zeros_like(self._batch)

    monkeypatch.setattr(LastLayers, "_recall", recall)
    with pytest.raises(ValueError, match="cannot be trained apart .*n_trainable_laye"):
        make_encoder(tiny_encoder).fit(["good", "bad"], [1, 0])


def test_the_loss_is_the_sum_of_weighted_losses():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(5, 6)).astype(np.float32)
    codes = np.array([[0, 1, 0.5], [1, 0, 0], [0, 2, -1], [1, 1, 2], [1, 0, 1]])
    weights = np.array([[1, 0, 2], [1, 1, 0], [0.5, 3, 1], [2, 1, 1], [1, 0, 0.0]])
    rows, expected = [4, 0, 2], 0.0
    for place, row in enumerate(rows):
        own = scores[place].astype(float)
        for j, part in enumerate((own[:2], own[2:5])):
            chosen = part[int(codes[row, j])]
            expected += weights[row, j] * (np.log(np.exp(part).sum()) - chosen)
        expected += weights[row, 2] * (own[5] - codes[row, 2]) ** 2 / 2
    found = Targets((2, 3, 1), codes, weights).loss(torch.tensor(scores[:3]), rows)
    assert float(found) == pytest.approx(expected / 3, rel=1e-6)


def test_the_loss_of_a_soft_annotation_is_that_of_its_values():
    shares = np.array([[0.2, 0.0, 0.8], [0.1, 0.6, 0.3]])
    codes = np.array([[0, 4.0], [1, 2], [1, 3]])
    weights = np.array([[1, 2.0], [1, 1], [1, 0.5]])
    scores = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    rows = [0, 2, 1]
    found = Targets((2, 3), codes, weights, {3: shares}).loss(scores[rows], rows)
    by_value = 0.0
    for k in range(3):
        share = np.array([shares[1, k], float(k == 2), shares[0, k]])
        part = np.column_stack([codes[:, 0], np.full(3, k)])
        own = np.column_stack([weights[:, 0] * (k == 0), weights[:, 1] * share])
        by_value += Targets((2, 3), part, own).loss(scores, range(3))
    torch.testing.assert_close(found, by_value)


def test_soft_annotations_are_learned(tiny_encoder, reviews, fitted):
    texts, y, concepts = reviews
    is_good = (concepts["food"] == "good").to_numpy(dtype=float)
    both = concepts[["service"]].copy()
    both.insert(0, "food=bad", 1 - is_good)
    both.insert(1, "food=good", is_good)
    whole = make_encoder(tiny_encoder).fit(texts, y, concepts=both)
    assert same_weights(whole, fitted)
    both["food=good"] = 0.25 + 0.5 * is_good
    both["food=bad"] = 1 - both["food=good"]
    soft = make_encoder(tiny_encoder).fit(texts, y, concepts=both)
    assert not same_weights(soft, fitted)
    pipe = make_pipeline(make_encoder(tiny_encoder), ConceptBottleneckClassifier())
    pipe.fit(
        texts, y, conceptencoder__concepts=both,
        conceptbottleneckclassifier__concepts=both,
    )  # fmt: skip
    assert pipe.predict_proba(NEW).shape == (3, 2)


def test_training_stops_when_rows_held_out_get_worse(tiny_encoder):
    model = load_weights(Path(tiny_encoder), "cpu", "float32", 0)
    texts = [f"{'cold' if i % 2 else 'warm'} soup {i}" for i in range(20)]
    codes = (np.arange(20) % 2)[:, None]
    codes[10:] = 1 - codes[10:]  # what is held out is the other way round
    targets = Targets((2,), codes.astype(float), np.ones((20, 1)))
    seen = []
    with LastLayers(model, texts, 1) as layers:
        layers.prepare(lambda n: None)
        for patience in (1, 2):
            settings = Settings(6, 3e-3, 4, patience)
            rows, held_out = range(10), range(10, 20)
            n_epochs = train(
                layers, targets, rows, settings, 0, seen.append, held_out=held_out
            )
            assert n_epochs == 1
            assert sum(seen) == 10 * (1 + patience)
            seen.clear()
        rows = range(20)
        assert train(layers, targets, rows, settings, 0, seen.append, n_epochs=3) == 3


def test_epochs_are_chosen_on_rows_held_out(tiny_encoder):
    texts = [f"soup {i}" for i in range(N)]
    y = np.random.default_rng(0).integers(2, size=N)
    encoder = make_encoder(tiny_encoder, epochs=6, validation_fraction=0.3)
    assert encoder.fit(texts, y).n_epochs_ < 6
    assert encoder.set_params(validation_fraction=None).fit(texts, y).n_epochs_ == 6


def test_coordinates_are_turned_back():
    rng = np.random.default_rng(0)
    to = rng.normal(size=(50, 4))
    turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    np.testing.assert_allclose(_turn(to @ turn.T, to), turn, atol=1e-3)
    few = _turn(to[:2], to[:2])  # of four directions, two have no vectors
    np.testing.assert_allclose(few, np.eye(4), atol=1e-8)


# --- What it gives and keeps ----------------------------------------------------------


def test_a_saved_encoder_is_a_model_of_sentence_transformers(fitted, tmp_path, capfd):
    folder = tmp_path / "new" / "model"
    fitted.save_encoder(folder)
    assert capfd.readouterr() == ("", "")  # no bars that nobody asked for
    found = SentenceEmbedder(folder, layers=None).transform(NEW)
    np.testing.assert_allclose(found, fitted.transform(NEW), **CLOSE)
    assert not [*folder.rglob("*.bin")]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    with pytest.raises(FileExistsError, match=r"folder='.*model' exists\. Give the na"):
        fitted.save_encoder(folder)


def test_a_folder_that_cannot_be_written(fitted, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(
        OSError, match=r"folder='.*file.model' cannot be written \(.*new"
    ):
        fitted.save_encoder(tmp_path / "file" / "model")

    def fill_disk(model, path, **options):
        Path(path).mkdir()
        raise OSError(28, "No space left on device")

    place = "sentence_transformers.SentenceTransformer.save_pretrained"
    monkeypatch.setattr(place, fill_disk)
    with pytest.raises(OSError, match=r"folder='.*model' cannot be written \(.*No spa"):
        fitted.save_encoder(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_clones_and_pickles(fitted):
    vectors = fitted.transform(NEW)
    pickled = pickle.dumps(fitted)
    values = sum(array.nbytes for array in fitted.weights_.values())
    assert len(pickled) < values + 10_000  # not the layers below
    np.testing.assert_array_equal(pickle.loads(pickled).transform(NEW), vectors)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        clone(fitted).transform(NEW)


def test_skops(fitted):
    from skops.io import dumps, get_untrusted_types, loads

    dumped = dumps(fitted)
    trusted = get_untrusted_types(data=dumped)
    assert trusted == ["skclif.ConceptEncoder"]
    found = loads(dumped, trusted=trusted).transform(NEW)
    np.testing.assert_array_equal(found, fitted.transform(NEW))


def test_output_has_names_and_keeps_the_index(tiny_encoder, reviews, fitted):
    names = [f"conceptencoder{i}" for i in range(16)]
    assert fitted.get_feature_names_out().tolist() == names
    texts, y, concepts = reviews
    encoder = make_encoder(tiny_encoder).set_output(transform="pandas")
    column = pd.Series(texts, index=range(100, 100 + N))
    concepts = concepts.set_index(column.index)
    table = encoder.fit_transform(column, pd.Series(y, column.index), concepts=concepts)
    assert table.columns.tolist() == names
    assert table.index.equals(column.index)


def test_vectors_are_stored_by_the_weights(tiny_encoder, reviews, fitted, tmp_path):
    texts, y, _ = reviews
    other = make_encoder(tiny_encoder).fit(texts, y)
    expected = [e.transform(NEW) for e in (fitted, other)]
    assert not np.allclose(*expected)
    encoders = [pickle.loads(pickle.dumps(e)) for e in (fitted, other)]
    for again in range(2):
        for encoder, vectors in zip(encoders, expected, strict=True):
            SHARED.clear()
            encoder.set_params(cache_dir=tmp_path)
            if again:  # nothing is computed
                encoder._embedder()._compute = lambda texts, rows: iter(())
            np.testing.assert_allclose(encoder.transform(NEW), vectors, **CLOSE)


def test_progress(tiny_encoder, reviews, bars):
    texts, y, _ = reviews
    encoder = make_encoder(tiny_encoder, validation_fraction=0.5, verbose=1)
    encoder.fit_transform(texts, y)
    n = encoder.n_epochs_
    found = {doing: (done, total) for doing, done, total in bars()}
    assert found["Reading texts"] == (N, N)
    assert found["Choosing epochs"][1] == N
    assert found["Training"] == (N * n, N * n)
    assert found["Training out of fold"] == (N * n, N * n)


@pytest.mark.gpu
def test_gpu(tiny_encoder, reviews):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    texts, y, concepts = reviews
    for dtype in ("float32", "bfloat16"):
        encoder = make_encoder(tiny_encoder, device="cuda", dtype=dtype)
        vectors = encoder.fit_transform(texts, y, concepts=concepts)
        assert np.isfinite(vectors).all()
        on_cpu = clone(encoder).set_params(device="cpu", dtype="float32")
        on_cpu.fit(texts, y, concepts=concepts)
        # The significands of bfloat16 have 8 bits.
        tolerance = {"float32": 1e-2, "bfloat16": 0.5}[dtype]
        np.testing.assert_allclose(
            encoder.transform(NEW), on_cpu.transform(NEW), rtol=0, atol=tolerance
        )


def test_bfloat16_is_near(tiny_encoder, reviews, fitted, monkeypatch):
    texts, y, concepts = reviews
    monkeypatch.setattr("skclif._text.precision.computes_bfloat16", lambda device: True)
    encoder = make_encoder(tiny_encoder, dtype="bfloat16")
    encoder.fit(texts, y, concepts=concepts)
    assert not same_weights(encoder, fitted)
    assert {array.dtype for array in encoder.weights_.values()} == {np.dtype("f4")}
    np.testing.assert_allclose(
        encoder.transform(NEW), fitted.transform(NEW), rtol=0, atol=0.5
    )


# --- In pipelines ---------------------------------------------------------------------


@pytest.fixture
def pipe(tiny_encoder):
    return Pipeline(
        [
            ("encoder", make_encoder(tiny_encoder)),
            ("clf", ConceptBottleneckClassifier()),
        ]
    )


@pytest.fixture(scope="module")
def expected(tiny_encoder, reviews):
    """Return the probabilities of heads on vectors out of fold."""
    texts, y, concepts = reviews
    encoder = make_encoder(tiny_encoder)
    vectors = encoder.fit_transform(texts, y, concepts=concepts)
    clf = ConceptBottleneckClassifier().fit(vectors, y, concepts=concepts)
    return clf.predict_proba(encoder.transform(NEW))


def test_heads_are_fitted_to_vectors_out_of_fold(pipe, reviews, expected):
    texts, y, concepts = reviews
    pipe.fit(texts, y, encoder__concepts=concepts, clf__concepts=concepts)
    np.testing.assert_allclose(pipe.predict_proba(NEW), expected, **CLOSE)


def test_with_routing_concepts_reach_both_steps(pipe, reviews, expected):
    texts, y, concepts = reviews
    with sklearn.config_context(enable_metadata_routing=True):
        pipe.fit(texts, y, concepts=concepts)
        np.testing.assert_allclose(pipe.predict_proba(NEW), expected, **CLOSE)


@pytest.mark.parametrize("nested", [False, True])
def test_an_explainer_gives_the_encoder_the_concepts(pipe, reviews, expected, nested):
    texts, y, concepts = reviews
    if nested:
        pipe = make_pipeline(make_pipeline(*pipe.named_steps.values()))
        pipe = make_pipeline(make_pipeline(pipe[0][0]), pipe[0][1])
    explainer = ConceptInfluenceExplainer(pipe).fit(texts, y, concepts=concepts)
    np.testing.assert_allclose(explainer.predict_proba(NEW), expected, **CLOSE)
    result = explainer.influence(NEW[:2], ["no", "yes"])
    assert np.isfinite(result.values).all()


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("of_columns", [False, True])
def test_concepts_reach_an_encoder_beside_others(
    pipe, reviews, expected, of_columns, routing
):
    texts, y, concepts = reviews
    X, new = pd.DataFrame({"text": texts}), pd.DataFrame({"text": NEW})
    steps = make_column_transformer((make_pipeline(pipe[0]), "text"))
    if not of_columns:
        X, new, steps = texts, NEW, make_union(make_pipeline(pipe[0]))
    with sklearn.config_context(enable_metadata_routing=routing):
        explainer = ConceptInfluenceExplainer(make_pipeline(steps, pipe[1]))
        explainer.fit(X, y, concepts=concepts)
        np.testing.assert_allclose(explainer.predict_proba(new), expected, **CLOSE)


def test_a_fitted_pipeline_is_explained_if_rows_have_one_vector(pipe, reviews):
    texts, y, concepts = reviews
    params = {"encoder__concepts": concepts, "clf__concepts": concepts}
    explainer = ConceptInfluenceExplainer(FrozenEstimator(pipe.fit(texts, y, **params)))
    with pytest.raises(ValueError, match=r"not at the optimum .* vectors out of fold,"):
        explainer.fit(texts, y, concepts=concepts)
    pipe.set_params(encoder__n_splits=None).fit(texts, y, **params)
    explainer = ConceptInfluenceExplainer(FrozenEstimator(pipe))
    explainer.fit(texts, y, concepts=concepts)


def test_a_pipeline_comes_back(pipe, reviews, tmp_path, tiny_encoder):
    texts, y, concepts = reviews
    folder = shutil.copytree(tiny_encoder, tmp_path / "model")
    pipe.set_params(encoder__model=folder, encoder__random_state=np.int64(0))
    pipe.fit(texts, y, encoder__concepts=concepts, clf__concepts=concepts)
    path = tmp_path / "file.safetensors"
    save_model(pipe, path)
    loaded = load_model(path)
    expected_proba = pipe.predict_proba(NEW)
    assert np.array_equal(loaded.predict_proba(NEW), expected_proba)
    assert loaded[0].get_params() == {**pipe[0].get_params(), "model": str(folder)}
    assert loaded[0].n_epochs_ == pipe[0].n_epochs_
    assert loaded[0].get_feature_names_out()[-1] == "conceptencoder15"
    before = path.read_bytes()
    save_model(loaded, path)
    assert path.read_bytes() == before

    moved = folder.rename(tmp_path / "moved")
    with pytest.raises(OSError, match="is a folder that does not exist here"):
        load_model(path)
    found = load_model(path, model=moved).predict_proba(NEW)
    assert np.array_equal(found, expected_proba)
    with open(moved / "config.json", "a") as stream:
        stream.write("\n")
    with pytest.raises(ModelFileError, match="is not the model that was used before"):
        load_model(path, model=moved)
    loaded[0].set_params(model=moved)
    with pytest.raises(OSError, match="is not the model that was fine-tuned: its fil"):
        loaded.predict(NEW)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays, about: about.pop("fingerprint"),
        lambda arrays, about: about.update(fingerprint=3),
        lambda arrays, about: about.update(n_epochs=0),
        lambda arrays, about: about.update(n_features="16"),
        lambda arrays, about: about["parameters"].update(epochs=0),
        lambda arrays, about: about["parameters"].pop("epochs"),
        lambda arrays, about: about["parameters"].update(other=1),
        lambda arrays, about: [arrays.pop(n) for n in [*arrays] if n[:8] == "encoder."],
        lambda arrays, about: arrays.update({"encoder.a": np.array([np.inf], "f4")}),
        lambda arrays, about: arrays.update({"encoder.a": np.array([1.0])}),
    ],
)
def test_files_that_hold_no_encoder_are_refused(fitted, expected, tmp_path, change):
    path = tmp_path / "file"
    clf = ConceptBottleneckClassifier().fit(fitted.transform(NEW), [0, 1, 1])
    save_model(make_pipeline(fitted, clf), path)
    content = unpack(path, "model", 3)
    assert read_model(path).encoder is not None
    change(content.arrays, content.about["encoder"])
    path.write_bytes(pack("model", 3, content.arrays, content.about))
    with pytest.raises(ModelFileError, match="does not hold a model that can be used"):
        read_model(path)


def test_weights_of_another_shape_are_refused(fitted):
    encoder = pickle.loads(pickle.dumps(fitted))
    encoder.weights_ = {"other": np.zeros(3, np.float32)}
    with pytest.raises(ValueError, match=r"learned weights 'other' of shape \(3,\) do"):
        encoder.transform(NEW)


def test_the_command_predicts_with_an_encoder(pipe, reviews, tmp_path):
    from click.testing import CliRunner

    from skclif.cli import main

    texts, y, concepts = reviews
    pipe.fit(texts, y, encoder__concepts=concepts, clf__concepts=concepts)
    save_model(pipe, tmp_path / "file")
    pd.DataFrame({"text": NEW}).to_csv(tmp_path / "new.csv", index=False)
    options = ["predict", str(tmp_path / "file"), str(tmp_path / "new.csv"), "--json"]
    done = CliRunner().invoke(main, options)
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["predicted"] for line in lines] == pipe.predict(NEW).tolist()


# --- What it refuses ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fit", "fit_transform", "transform"])
@pytest.mark.parametrize("case", NOT_TEXTS)
def test_what_is_not_a_text_is_refused(fitted, case, method):
    X, error, message = NOT_TEXTS[case]
    arguments = [X] if method == "transform" else [X, ["a"]]
    with pytest.raises(error, match=message):
        getattr(fitted, method)(*arguments)


@pytest.mark.parametrize(
    "params, given, message",
    [
        (
            {"n_trainable_layers": 3},
            {},
            "n_trainable_layers=3 is more than the layers ",
        ),
        (
            {"n_splits": 50},
            {},
            "X has 40 different texts .* for n_splits, .*Give more rows, or lower n_s",
        ),
        (
            {},
            {"y": ["a"] * N},
            r"y needs at least 2 classes, but the 40 rows have only one class: 'a'",
        ),
        (
            {},
            {"sample_weight": np.zeros(N)},
            "must contain at least one non-zero",
        ),
        ({}, {"y": None}, "requires y to be passed, but the target y is None"),
        ({}, {"y": ["a", None] * (N // 2)}, r"y has no label in row 1 \(counted from"),
        ({}, {"X": "soup"}, "X is a single text, 'soup'"),
        ({}, {"y": ["a", "b"]}, "y has 2 rows, but X has 40"),
        (
            {},
            {"sample_weight": -np.ones(N)},
            "Negative values in data passed to `sampl",
        ),
        (
            {},
            {"concepts": pd.DataFrame({"food": [None] * N})},
            "Concept 'food' has no annotation that has weight",
        ),
        ({}, {"concepts": {"food": ["a"] * N}}, "concepts"),
        ({"learning_rate": 1e30}, {}, r"diverged: learning_rate=1e\+30 is too large"),
        (
            {"learning_rate": 1e300},
            {},
            r"'learning_rate' .* in the range \(0.0, 1e\+30",
        ),
        ({"concept_weight": 1e300}, {}, r"'concept_weight' .* the range \[0.0, 1e\+30"),
        (
            {},
            {"X": [], "y": [], "concepts": None},
            "X has no rows; give texts to train",
        ),
        ({"device": "gpu"}, {}, "device='gpu' is not known"),
        (
            {"concept_kinds": {"a": "b"}},
            {},
            "concept_kinds names 'a', but the concepts",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    tiny_encoder, reviews, params, given, message
):
    texts, y, concepts = reviews
    data = {"X": texts, "y": y, "concepts": concepts} | given
    encoder = make_encoder(tiny_encoder, **params)
    with pytest.raises((ValueError, TypeError), match=message):
        encoder.fit_transform(**data)
    assert not hasattr(encoder, "weights_")


def test_few_texts_are_refused(tiny_encoder):
    encoder = make_encoder(tiny_encoder, validation_fraction=0.25)
    message = (
        "X has 2 different texts with weight, too few for validation_fraction, which "
        r"makes 4 parts of them\. Give more rows, or use validation_fraction=None\."
    )
    with pytest.raises(ValueError, match=message):
        encoder.fit(["good", "bad", "bad"], [1, 0, 1])
    encoder.set_params(validation_fraction=None).fit(["good", "bad"], [1, 0])
    assert encoder.n_epochs_ == 2


def test_a_model_with_a_prompt_is_refused(tiny_encoder, tmp_path):
    folder = shutil.copytree(tiny_encoder, tmp_path / "model")
    config = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="cannot be fine-tuned: it is no transformer"):
        make_encoder(folder).fit(["good", "bad"], [1, 0])


def test_long_texts_are_cut_with_a_warning(tiny_encoder):
    texts = ["good soup " * 30, "bad soup"]
    message = (
        "1 of 2 texts is longer than the 32 tokens that the model reads; the rest of "
        r"them is ignored\. Use a model that reads longer texts\."
    )
    with pytest.warns(TruncatedTextWarning, match=message):
        encoder = make_encoder(tiny_encoder).fit(texts, [0, 1])
    with pytest.warns(TruncatedTextWarning, match=message):
        encoder.transform(texts)


def test_memory_that_cannot_suffice_is_said_at_once(tiny_encoder, monkeypatch):
    free = available_memory()
    assert free is None or free > 1e6
    monkeypatch.setattr(finetune, "available_memory", lambda: 1000)
    message = r"Training needs about .* GB beside the model, and 0\.0 GB are free\. Giv"
    with pytest.raises(MemoryError, match=message):
        make_encoder(tiny_encoder).fit(["good", "bad"], [1, 0])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_memory_that_did_not_suffice(tiny_encoder, monkeypatch, error):
    def fail(*args):
        raise error

    monkeypatch.setattr(Targets, "loss", fail)
    message = (
        r"ran out of memory on device='cpu'\. Lower batch_size=16 or n_trainable_l"
    )
    with pytest.raises(MemoryError, match=message):
        make_encoder(tiny_encoder).fit(["good", "bad"], [1, 0])


def test_other_errors_are_not_called_memory(tiny_encoder, monkeypatch):
    def fail(*args):
        raise RuntimeError("something else")

    monkeypatch.setattr(Targets, "loss", fail)
    with pytest.raises(RuntimeError, match="something else"):
        make_encoder(tiny_encoder).fit(["good", "bad"], [1, 0])


def test_a_failed_fit_leaves_the_encoder_as_it_was(fitted):
    encoder = pickle.loads(pickle.dumps(fitted))
    with pytest.raises(ValueError, match="needs at least 2 classes"):
        encoder.fit(["good", "bad"], [1, 1])
    assert same_weights(encoder, fitted)
