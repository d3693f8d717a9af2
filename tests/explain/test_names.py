"""Concepts whose names other columns have: nothing is shown in the place of another."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

N = 40
WORDS = ["good food", "bad food", "good service", "bad service"]
NAMES = ["text", "row", "annotated row", "intercept"]
quiet = pytest.mark.filterwarnings("ignore::skclif.exceptions.SuspectWarning")
unsure = pytest.mark.filterwarnings("ignore::skclif.exceptions.SuggestionWarning")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    texts = [f"{WORDS[i % 4]} number{i}" for i in range(N)]
    good = np.array(["good" in text for text in texts])
    values = {
        name: np.where(good ^ (rng.random(N) < 0.15), f"{name} yes", f"{name} no")
        for name in NAMES
    }
    return texts, np.where(good, "good", "bad"), pd.DataFrame(values)


@pytest.fixture(scope="module")
def explainer(data):
    texts, y, concepts = data
    model = make_pipeline(CountVectorizer(), ConceptBottleneckClassifier())
    return ConceptInfluenceExplainer(model).fit(texts, y, concepts=concepts)


def test_a_concept_named_text_leaves_texts_as_they_are(explainer, data):
    texts, y, concepts = data
    result = explainer.influence(texts[:2], y[:2], paths=True)
    top = result.top(3)
    assert top.columns[:6].tolist() == [
        *("target", "row", "influence", "path", "text", "label"),
    ]
    columns = ["annotated text", "annotated row", "annotated annotated row"]
    assert top.columns[6:].tolist() == [*columns, "intercept"]
    assert top.columns.is_unique
    for line in top.to_dict("records"):
        row = line["row"]
        assert line["text"] == texts[row]
        given = [line[name] for name in [*columns, "intercept"]]
        assert given == concepts.iloc[row].tolist()
    shown = result._repr_html_()
    assert all(texts[row] in shown for row in result.harmful(2)["row"][:2])


@quiet
@unsure
def test_suggestions_show_texts_and_annotations_of_such_concepts(explainer, data):
    texts, y, concepts = data
    found = explainer.suggest_edits(texts, y, kinds=["annotate"], random_state=0)
    frame = found.to_frame()
    assert len(frame)
    assert frame["text"].tolist() == [texts[row] for row in frame["row"]]
    values = [
        concepts.loc[row, path] for row, path in frame[["row", "path"]].to_numpy()
    ]
    assert frame["current"].tolist() == values
    assert "annotated text" not in frame


def test_a_concept_named_intercept_is_not_the_intercept(explainer, data):
    vectoriser, model = explainer.estimator_[0], explainer.estimator_[-1]
    result = model.contributions(vectoriser.transform(data[0][:3]))
    assert result.concepts == (*NAMES, "(intercept)")
    each = result.to_frame().groupby(["class", "concept"]).size()
    assert (each == 3).all() and len(each) == 2 * 5
    constant = result.to_frame().query("concept == '(intercept)'")
    assert constant.groupby("class")["contribution"].nunique().tolist() == [1, 1]
    assert "(intercept)" not in set(result.top(9)["concept"])
    assert "(intercept)" in result._repr_html_()


@quiet
def test_columns_of_texts_leave_other_columns_as_they_are(data):
    texts, y, concepts = data
    X = pd.DataFrame({"label": texts, "path": [text[::-1] for text in texts]})
    vectors = ColumnTransformer([(name, CountVectorizer(), name) for name in X])
    model = make_pipeline(vectors, ConceptBottleneckClassifier())
    explainer = ConceptInfluenceExplainer(model).fit(X, y, concepts=concepts)
    top = explainer.influence(X[:1], y[:1], paths=True).top(2)
    assert top["text label"].tolist() == [texts[row] for row in top["row"]]
    assert top["label"].tolist() == y[top["row"]].tolist()
    assert set(top["path"]) <= {"label", *NAMES, "interaction"}
    suspects = explainer.suspect_labels()
    assert suspects["text path"].iloc[0] == X["path"][suspects["row"].iloc[0]]
