"""Things of other libraries: they work, or the message says what to do."""

import operator
from collections.abc import Sequence

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
    SentenceEmbedder,
    compare_baselines,
    make_text_pipeline,
)

N = 40
Y = np.arange(N) % 2
TEXTS = [f"{'warm' if yes else 'cold'} soup {i}" for i, yes in enumerate(Y)]
X = np.random.default_rng(0).normal(size=(N, 3)) + Y[:, None]


class Column(Sequence):
    """A column that is read when it is needed, as that of datasets 4."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, key):
        if isinstance(key, slice):
            return self.values[key]
        return self.values[operator.index(key)]


class Sampler(BaseEstimator):
    """What imbalanced-learn calls a sampler."""

    def fit_resample(self, X, y):
        return X, y


def test_a_lazy_column_holds_texts_and_labels(tiny_encoder):
    texts, y = Column(TEXTS), Column(Y.tolist())
    embedder = SentenceEmbedder(str(tiny_encoder))
    np.testing.assert_array_equal(
        embedder.fit_transform(texts), embedder.fit_transform(TEXTS)
    )
    counts = make_pipeline(TfidfVectorizer(), LogisticRegression())
    explainer = ConceptInfluenceExplainer(counts).fit(texts, y)
    assert explainer.influence(texts, y).training["text"].tolist() == TEXTS
    reweighter = InfluenceReweighter(counts, strength=0)
    assert reweighter.fit(texts, y).score(texts, y) == 1
    search = GridSearchCV(reweighter, {"strength": [0]}, cv=2)
    assert search.fit(texts, y).best_score_ == 1
    words = make_text_pipeline(vectors=False, classifier=LogisticRegression())
    assert words.fit(texts, y).predict(texts).tolist() == Y.tolist()
    frame = compare_baselines(texts, y, vectors=False, cv=2, random_state=0).frame
    assert frame["accuracy"].iloc[1] == 1


def test_other_sequences_are_read_as_they_are(tiny_encoder):
    embedder = SentenceEmbedder(str(tiny_encoder))
    with pytest.raises(TypeError, match="row 0 .* holds 0 of type int"):
        embedder.fit(range(3))
    with pytest.raises(TypeError, match="X is a single text"):
        embedder.fit("a text")
    with pytest.raises(TypeError, match="X is a single text"):
        embedder.fit(b"bytes")


def test_a_table_that_is_no_array_names_its_columns(tiny_encoder):
    class Dataset:
        column_names = ["review", "stars"]

    with pytest.raises(TypeError, match=r"of type Dataset; .* e.g. X\['review'\]"):
        SentenceEmbedder(str(tiny_encoder)).fit(Dataset())


@pytest.mark.parametrize("around", [ConceptInfluenceExplainer, InfluenceReweighter])
@pytest.mark.parametrize("model", [LogisticRegression, ConceptBottleneckClassifier])
def test_samplers_are_named(around, model):
    class PipelineOfImblearn(Pipeline):
        def _validate_steps(self):
            """Take samplers too."""

    for kind in (Pipeline, PipelineOfImblearn):
        steps = [("scale", StandardScaler()), ("over", Sampler()), ("clf", model())]
        with pytest.raises(
            TypeError, match="The step 'over' .* sampler, Sampler.* use weights instead"
        ):
            around(kind(steps)).fit(X, Y)


@pytest.mark.parametrize("library", [pl.DataFrame, pa.table])
def test_tables_of_other_libraries_are_named(library):
    table = library({"text": TEXTS, "age": list(range(N))})
    pipeline = make_text_pipeline(vectors=False, columns=["age"])
    name = library.__module__.partition(".")[0]
    with pytest.raises(TypeError, match=rf"of {name}. Pass X.to_pandas\(\)"):
        pipeline.fit(table, Y)


def masked(value, dtype):
    return pd.array([value, None, *[value] * (N - 2)], dtype=dtype)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (
            {"is_clean": masked(True, "boolean")},
            r"is_clean has no value \(<NA>\) in row 1 .*is_clean.fillna\(False\)",
        ),
        (
            {"sample_weight": masked(1.5, "Float64")},
            r"sample_weight has no value .* 1 missing values .*weight.fillna\(0\)",
        ),
        ({"sample_weight": masked(1, "Int64")}, r"weight.fillna\(0\)"),
        ({"y": masked(1, "Int64")}, r"y has no label in row 1 .*<NA>"),
        ({"y": masked(True, "boolean")}, r"y has no label in row 1 .*<NA>"),
    ],
)
def test_missing_values_of_pandas_get_advice_that_works(arguments, match):
    reweighter = InfluenceReweighter(LogisticRegression(), strength=0)
    with pytest.raises(ValueError, match=match):
        reweighter.fit(**{"X": X, "y": Y, **arguments})
    for name, value in arguments.items():
        if name != "y":
            filled = value.fillna(False if "clean" in name else 0)
            reweighter.fit(X, Y, **{name: filled})


def test_groups_of_pandas_get_it_too():
    explainer = ConceptInfluenceExplainer(LogisticRegression()).fit(X, Y)
    with pytest.raises(ValueError, match=r"groups.fillna\('unknown'\)"):
        explainer.suspect_labels(groups=masked("a", "string"))
