"""Generated reviews, and what holds for the whole package of data sets."""

import pickle
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from skclif import datasets
from skclif.datasets import load_reviews, make_concept_reviews

SEEDS = [0, 1, 2, 3]
CONCEPTS = ["food", "ambiance", "service", "noise"]
VALUES = {"Negative", "Positive", "unknown"}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for field in a:
        assert a[field].equals(b[field]), field


def test_import_is_cheap():
    code = (
        "import sys, skclif.datasets\n"
        "print([m for m in ('torch', 'sentence_transformers', 'pyarrow.parquet')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_public_names():
    assert datasets.__all__ == [
        "aggregate_annotations",
        "fetch_cebab",
        "fetch_patient_feedback",
        "load_reviews",
        "make_concept_reviews",
    ]
    assert all(callable(getattr(datasets, name)) for name in datasets.__all__)


# --------------------------------------------------------------------------------------
# Shapes, types, determinism


def test_generated_fields():
    reviews = make_concept_reviews(30, missing=0.2, random_state=0)
    assert reviews.data.shape == reviews.target.shape == (30,)
    assert all(isinstance(text, str) and text for text in reviews.data)
    assert reviews.target.isin(range(1, 6)).all()
    assert np.issubdtype(reviews.target.dtype, np.integer)
    for field in ("concepts", "clean_concepts"):
        assert list(reviews[field].columns) == CONCEPTS
    for field in ("annotation_flipped", "annotation_missing"):
        assert list(reviews[field].columns) == CONCEPTS
        assert reviews[field].to_numpy().dtype == bool
    assert reviews.label_flipped.dtype == bool
    assert set(np.unique(reviews.clean_concepts)) == VALUES
    assert list(reviews.frame.columns) == ["text", "label", *CONCEPTS]
    assert len(make_concept_reviews(1, random_state=0).data) == 1
    assert len(make_concept_reviews().data) == 500


def test_generated_from_seed_alone():
    first = make_concept_reviews(40, label_noise=0.2, missing=0.1, random_state=7)
    np.random.seed(3)  # noqa: NPY002
    again = make_concept_reviews(40, label_noise=0.2, missing=0.1, random_state=7)
    assert_same(first, again)
    other = make_concept_reviews(40, label_noise=0.2, missing=0.1, random_state=8)
    assert not first.data.equals(other.data)


def test_generated_from_random_state_instance():
    state = np.random.RandomState(7)  # noqa: NPY002
    first, second = (make_concept_reviews(20, random_state=state) for _ in range(2))
    assert_same(first, make_concept_reviews(20, random_state=7))
    assert not first.data.equals(second.data)


@pytest.mark.parametrize("random_state", [0, None])
def test_global_random_state_is_left_alone(random_state):
    before = np.random.get_state()  # noqa: NPY002
    make_concept_reviews(10, random_state=random_state)
    after = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_without_seed_every_call_differs():
    assert not make_concept_reviews(20).data.equals(make_concept_reviews(20).data)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_samples": 0}, "'n_samples' parameter .* must be an int in the range"),
        ({"n_samples": 2.5}, "'n_samples' parameter"),
        ({"label_noise": 1.1}, "'label_noise' parameter"),
        ({"label_noise": -0.1}, "'label_noise' parameter"),
        ({"annotation_noise": "high"}, "'annotation_noise' parameter"),
        ({"missing": 2}, "'missing' parameter"),
        ({"random_state": "seed"}, "'random_state' parameter"),
    ],
)
def test_generator_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_concept_reviews(**arguments)


# --------------------------------------------------------------------------------------
# Planted errors


@pytest.mark.parametrize("label_noise", [0.0, 0.1, 0.25, 1.0])
@pytest.mark.parametrize("annotation_noise, missing", [(0, 0), (0.2, 0.3), (1, 0.5)])
def test_planted_errors_are_what_the_masks_say(label_noise, annotation_noise, missing):
    n_samples = 80
    reviews = make_concept_reviews(
        n_samples,
        label_noise=label_noise,
        annotation_noise=annotation_noise,
        missing=missing,
        random_state=1,
    )
    assert ((reviews.target != reviews.clean_target) == reviews.label_flipped).all()
    assert reviews.label_flipped.sum() == round(label_noise * n_samples)

    is_missing, flipped = reviews.annotation_missing, reviews.annotation_flipped
    assert reviews.concepts.isna().equals(is_missing)
    assert is_missing.to_numpy().sum() == round(missing * 4 * n_samples)
    assert not (flipped & is_missing).any(axis=None)
    differs = (reviews.concepts != reviews.clean_concepts) & ~is_missing
    assert differs.equals(flipped)
    n_annotated = 4 * n_samples - is_missing.to_numpy().sum()
    assert flipped.to_numpy().sum() == round(annotation_noise * n_annotated)
    assert reviews.target.isin(range(1, 6)).all()
    assert set(reviews.concepts.stack().dropna()) <= VALUES


def test_errors_change_neither_texts_nor_clean_values_and_are_nested():
    clean = make_concept_reviews(100, random_state=5)
    little = make_concept_reviews(
        100, label_noise=0.1, annotation_noise=0.1, missing=0.1, random_state=5
    )
    much = make_concept_reviews(
        100, label_noise=0.4, annotation_noise=0.4, missing=0.1, random_state=5
    )
    for noisy in (little, much):
        for field in ("data", "clean_target", "clean_concepts"):
            assert clean[field].equals(noisy[field])
    rows = little.label_flipped
    assert much.label_flipped[rows].all()
    assert little.target[rows].equals(much.target[rows])
    assert little.annotation_missing.equals(much.annotation_missing)
    assert (much.annotation_flipped | ~little.annotation_flipped).all(axis=None)


def test_flips_reach_every_other_value():
    reviews = make_concept_reviews(
        400, label_noise=1.0, annotation_noise=1.0, random_state=0
    )
    labels = pd.crosstab(reviews.clean_target, reviews.target).to_numpy()
    assert (labels[~np.eye(5, dtype=bool)] > 0).all()
    food = pd.crosstab(reviews.clean_concepts["food"], reviews.concepts["food"])
    assert (food.to_numpy()[~np.eye(3, dtype=bool)] > 0).all()


# --------------------------------------------------------------------------------------
# What the texts are like


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n_samples", [500, 2000])
def test_texts_are_distinct(seed, n_samples):
    texts = make_concept_reviews(n_samples, random_state=seed).data
    assert texts.nunique() >= 0.95 * n_samples


def test_texts_are_short_reviews():
    texts = make_concept_reviews(1000, random_state=0).data
    n_sentences = texts.str.count(r"\.")
    assert n_sentences.between(1, 5).all()
    assert n_sentences.nunique() >= 4
    assert texts.str.len().between(20, 500).all()
    for text in texts:
        assert re.fullmatch(r"([A-Z][a-zA-Z ,]*\. ?)+", text), text
        assert "  " not in text


@pytest.mark.parametrize("seed", SEEDS)
def test_label_is_learnable_but_not_trivial(seed):
    reviews = make_concept_reviews(2000, random_state=seed)
    train, test = train_test_split(np.arange(2000), random_state=seed)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    model.fit(reviews.data[train], reviews.target[train])
    assert 0.6 < model.score(reviews.data[test], reviews.target[test]) < 0.9


@pytest.mark.parametrize("seed", SEEDS)
def test_label_is_a_noisy_function_of_the_concepts(seed):
    reviews = make_concept_reviews(2000, random_state=seed)
    gold = pd.get_dummies(reviews.clean_concepts).to_numpy(float)
    accuracy = (
        LogisticRegression().fit(gold, reviews.target).score(gold, reviews.target)
    )
    assert 0.75 < accuracy < 0.95
    assert reviews.target.value_counts(normalize=True).min() > 0.1
    for values in reviews.clean_concepts.items():
        assert values[1].value_counts(normalize=True).min() > 0.15


@pytest.mark.parametrize("seed", SEEDS)
def test_no_word_gives_a_concept_away(seed):
    reviews = make_concept_reviews(2000, random_state=seed)
    words = CountVectorizer(binary=True, token_pattern=r"\w+").fit_transform(
        reviews.data
    )
    for name in CONCEPTS:
        assert best_single_word(words, reviews.clean_concepts[name]) < 0.75


def best_single_word(words, values):
    """Best balanced accuracy of telling one value from the others by one word.

    Three values at once are harder: a rule on one word names two of them at most, so
    that its balanced accuracy is below 2/3 whatever the texts are.
    """
    share = {
        value: np.asarray(words[(values == value).to_numpy()].mean(axis=0)).ravel()
        for value in VALUES
    }
    best = 0
    for value in VALUES:
        others = np.asarray(words[(values != value).to_numpy()].mean(axis=0)).ravel()
        best = max(best, (1 + np.abs(share[value] - others).max()) / 2)
    return best


def test_unjudged_aspects_are_mentioned_too():
    reviews = make_concept_reviews(2000, random_state=0)
    no_food = reviews.data[reviews.clean_concepts["food"] == "unknown"]
    assert no_food.str.contains("soup|fish|pie|lamb|food").mean() > 0.1


# --------------------------------------------------------------------------------------
# With the rest of the house


def test_generated_reviews_survive_pickle_and_a_file(tmp_path):
    reviews = make_concept_reviews(50, missing=0.2, random_state=0)
    assert_same(reviews, pickle.loads(pickle.dumps(reviews)))
    reviews.frame.to_csv(tmp_path / "reviews.csv", index=False)
    loaded = load_reviews(tmp_path / "reviews.csv", concepts=CONCEPTS)
    assert loaded.data.tolist() == reviews.data.tolist()
    assert loaded.target.tolist() == reviews.target.tolist()
    pd.testing.assert_frame_equal(
        loaded.concepts.reset_index(drop=True), reviews.concepts, check_dtype=False
    )
