"""ConceptAnnotator: what prompts say, what annotations change, what is refused."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import HashingVectorizer

from skclif import ConceptAnnotator, SentenceEmbedder
from skclif._annotate.annotator import BIAS, MENTION, OTHERS, SAMPLE, USUAL
from skclif._annotate.scores import RIVAL
from skclif._annotate.units import Units
from skclif.exceptions import CorrectionWarning

from .words import PROMPTS, TEXTS, WordCounts

SOFT = ["food=good", "food=bad", "food=not mentioned", "noise=loud", "noise=quiet"]
FEW = pd.DataFrame({"food": ["bad", None, "good"] + [None] * 5}, dtype=object)
ODD_TEXTS = {
    "one text": ("soup", TypeError, "X is a single text"),
    "a missing text": (["soup", None], ValueError, "X has a missing text: row 1"),
    "numbers": ([1, 2], TypeError, "X must hold strings only; row 0"),
    "two columns": (np.array([["a", "b"]]), ValueError, r"X has shape \(1, 2\)"),
}


def annotator(**parameters):
    return ConceptAnnotator(PROMPTS, **{"embedder": WordCounts(), **parameters})


@pytest.fixture(scope="module")
def fitted():
    return annotator().fit(TEXTS)


# --- Prompts alone --------------------------------------------------------------------


def test_prompts_alone_tell_what_texts_say(fitted):
    shares = fitted.transform(TEXTS)
    assert shares.columns.tolist() == SOFT
    assert (shares.to_numpy() >= 0).all()
    np.testing.assert_allclose(shares[SOFT[:3]].sum(axis=1), 1)
    np.testing.assert_allclose(shares[SOFT[3:]].sum(axis=1), 1)
    likes, hates = [0, 3], [1, 2, 7]
    gap = (shares["food=good"] - shares["food=bad"]).to_numpy()
    assert gap[likes].min() > 0 > gap[hates].max()
    silent = shares["food=not mentioned"].to_numpy()
    assert silent[[4, 5, 6]].min() > silent[likes + hates].max()
    loud, quiet = [0, 2, 4], [1, 3, 7]
    assert shares["noise=loud"][loud].min() > shares["noise=loud"][quiet].max()


def test_without_annotations_nothing_is_added(fitted):
    assert [own.any() for own in fitted.coef_] == [False, False]
    assert fitted.n_annotated_.tolist() == [0, 0]
    nothing = annotator().fit(TEXTS, concepts=FEW.where(FEW.isna()))
    pd.testing.assert_frame_equal(nothing.transform(TEXTS), fitted.transform(TEXTS))


def test_what_is_learned_is_what_the_attributes_say(fitted):
    assert fitted.concept_names_.tolist() == ["food", "noise"]
    assert fitted.concept_classes_[0].tolist() == ["good", "bad", "not mentioned"]
    assert fitted.get_feature_names_out().tolist() == SOFT


def test_texts_are_annotated_one_by_one(fitted):
    whole = fitted.transform(TEXTS)
    for row in (0, 6):
        own = fitted.transform(TEXTS[row : row + 1])
        np.testing.assert_allclose(own.iloc[0], whole.iloc[row], atol=1e-6)
    assert fitted.transform([]).shape == (0, 5)
    assert fitted.confidence([]).shape == (0, 2)


@pytest.mark.parametrize("texts", [TEXTS[:1], [""], ["", ""]])
def test_a_text_or_two_are_enough(texts):
    shares = annotator().fit_transform(texts)
    assert np.isfinite(shares.to_numpy()).all()


# --- Annotations ----------------------------------------------------------------------


def test_annotations_of_people_come_back_as_they_are():
    given = FEW.assign(**{"noise=quiet": np.nan, "noise=loud": np.nan})
    given.loc[4, ["noise=loud", "noise=quiet"]] = [0.25, 0.75]
    found = annotator().fit_transform(TEXTS, concepts=given)
    assert found.loc[0, SOFT[:3]].tolist() == [0, 1, 0]
    assert found.loc[2, SOFT[:3]].tolist() == [1, 0, 0]
    assert found.loc[4, SOFT[3:]].tolist() == [0.25, 0.75]
    model = annotator().fit(TEXTS, concepts=given)
    assert model.n_annotated_.tolist() == [2, 1]
    others = model.transform(TEXTS).drop(index=[0, 2, 4])
    pd.testing.assert_frame_equal(found.drop(index=[0, 2, 4]), others)


def test_annotations_move_texts_like_theirs(fitted):
    before, after = (
        model.transform(TEXTS)["food=bad"]
        for model in (fitted, annotator().fit(TEXTS, concepts=FEW))
    )
    assert after[0] > before[0] + 0.05  # annotated as bad
    assert after[3] != before[3]


@pytest.mark.filterwarnings("ignore:All .* contradict")
def test_more_annotations_move_further():
    texts = [TEXTS[0]] * 40
    probe = []
    for n in (0, 1, 3, 10, 40):
        values = ["bad"] * n + [None] * (40 - n)
        model = annotator().fit(texts, concepts=pd.DataFrame({"food": values}))
        probe.append(model.transform(texts[:1])["food=bad"][0])
    assert np.diff(probe).min() > 0
    assert probe[-1] > 0.8


@pytest.mark.filterwarnings("ignore:All .* contradict")
def test_how_common_a_value_is_is_learned_from_a_sample_not_from_a_few():
    # "Nothing else." and an empty text say nothing of food: only the bias moves them.
    texts = TEXTS * 5
    y = [0 if "soup" in text.lower() else 2 for text in texts]
    rare = np.array(list(PROMPTS["food"]), dtype=object)[2 - np.array(y)]
    before = annotator().fit(texts).transform(["Nothing else."])["food=good"][0]
    moves = []
    for n in (1, SAMPLE // 2, SAMPLE, 2 * SAMPLE):
        given = pd.DataFrame({"food": [*rare[:n], *[None] * (len(texts) - n)]})
        model = annotator().fit(texts, concepts=given)
        bias = model._features(model._compare(*_units(model, texts)), 0)[0][:, 0]
        assert bias == pytest.approx(BIAS * np.sqrt(min(1, n / SAMPLE)))
        moves.append(model.transform(["Nothing else."])["food=good"][0] - before)
    assert abs(moves[0]) < 0.05


def test_corrections_alone_are_named():
    texts = TEXTS * 2
    guess = annotator(output="categories", threshold=0).fit_transform(texts)["food"]
    other = guess.map({"good": "bad", "bad": "good", "not mentioned": "good"})
    given = pd.DataFrame({"food": other.where(other.index < SAMPLE)})
    with pytest.warns(
        CorrectionWarning, match="All 10 annotations of concept 'food' contradict its"
    ):
        annotator().fit(texts, concepts=given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nine = given.where(given.index.to_frame().to_numpy() > 0)
        annotator().fit(texts, concepts=nine)
        confirmed = pd.DataFrame({"food": [guess[0], *given["food"][1:]]})
        annotator().fit(texts, concepts=confirmed)


def _units(model, texts):
    units = Units.of(texts)
    return units, model._vectors(units.parts)


def test_with_few_concepts_others_are_as_near_as_usual():
    one = ConceptAnnotator({"food": PROMPTS["food"]}, embedder=WordCounts()).fit(TEXTS)
    assert one._unasked == pytest.approx(OTHERS)  # nothing is near another concept
    two = annotator().fit(TEXTS)
    compared = two._compare(*_units(two, TEXTS))
    expected = max(0, OTHERS - compared.rival / two._spreads[0])
    assert 0 < two._unasked < OTHERS
    assert two._unasked == pytest.approx(expected)
    near = one._compare(*_units(one, TEXTS)).with_concept(0)
    mention = near.mention / one._spreads[0] - USUAL - RIVAL * OTHERS
    shares = one.transform(TEXTS)
    np.testing.assert_allclose(
        1 - shares["food=not mentioned"], expit(MENTION * mention), rtol=1e-4
    )


def test_one_hot_shares_are_the_same_as_values():
    values = PROMPTS["food"]
    soft = pd.DataFrame(
        {
            f"food={v}": (FEW["food"] == v).astype(float).where(FEW["food"].notna())
            for v in values
        }
    )
    plain, shares = (
        annotator().fit(TEXTS, concepts=given).transform(TEXTS) for given in (FEW, soft)
    )
    pd.testing.assert_frame_equal(plain, shares)


def test_a_fit_does_not_depend_on_the_order_of_texts():
    order = np.random.default_rng(0).permutation(len(TEXTS))
    texts, few = [TEXTS[i] for i in order], FEW.iloc[order].reset_index(drop=True)
    turned = annotator().fit(texts, concepts=few).transform(TEXTS)
    # Sums are in another order, and the solver stops at a gradient of 1e-5.
    expected = annotator().fit(TEXTS, concepts=FEW).transform(TEXTS)
    np.testing.assert_allclose(turned, expected, atol=1e-4)


# --- Labels ---------------------------------------------------------------------------


def test_labels_correct_rows_that_nobody_annotated():
    y = np.array([0, 0, 1, 1, 1, 0, 1, 0])
    plain = annotator().fit_transform(TEXTS, concepts=FEW)
    judged = annotator(correct_with_labels=True)
    found = judged.fit_transform(TEXTS, y, concepts=FEW)
    pd.testing.assert_frame_equal(
        found.loc[[0, 2], SOFT[:3]], plain.loc[[0, 2], SOFT[:3]]
    )
    assert found["food=bad"][1] > plain["food=bad"][1]
    pd.testing.assert_frame_equal(
        judged.transform(TEXTS), annotator().fit(TEXTS, concepts=FEW).transform(TEXTS)
    )
    with pytest.raises(ValueError, match="correct_with_labels=True needs the labels y"):
        judged.fit_transform(TEXTS)
    with pytest.raises(ValueError, match="y has 7 rows, but X has 8"):
        judged.fit_transform(TEXTS, y[1:])


# --- Categories -----------------------------------------------------------------------


def test_categories_are_the_largest_shares_that_are_large_enough(fitted):
    shares, confidence = fitted.transform(TEXTS), fitted.confidence(TEXTS)
    model = annotator(output="categories", threshold=0.6).fit(TEXTS)
    found = model.transform(TEXTS)
    assert found.columns.tolist() == model.get_feature_names_out().tolist()
    assert found.isna().to_numpy().any() and found.notna().to_numpy().any()
    for name, columns in (("food", SOFT[:3]), ("noise", SOFT[3:])):
        own = shares[columns]
        np.testing.assert_allclose(confidence[name], own.max(axis=1))
        best = own.idxmax(axis=1).str.partition("=")[2]
        expected = best.where(own.max(axis=1) >= 0.6)
        assert found[name].fillna("-").tolist() == expected.fillna("-").tolist()
    given = annotator(output="categories", threshold=1).fit_transform(
        TEXTS, concepts=FEW
    )
    assert given["food"].dropna().to_dict() == {0: "bad", 2: "good"}


# --- As other transformers ------------------------------------------------------------


def test_rows_keep_their_index():
    texts = pd.Series(TEXTS, index=np.arange(8) + 10)
    few = FEW.set_axis(texts.index)
    model = annotator()
    assert model.fit_transform(texts, concepts=few).index.equals(texts.index)
    assert model.transform(texts).index.equals(texts.index)
    assert model.confidence(texts.to_frame()).index.equals(texts.index)


@pytest.mark.parametrize("output", ["soft", "categories"])
def test_tables_of_polars_are_read_and_returned(output):
    model = annotator(output=output).set_output(transform="polars")
    few = pl.DataFrame({"food": FEW["food"].tolist()})
    found = model.fit_transform(pl.Series(TEXTS), concepts=few)
    assert isinstance(found, pl.DataFrame)
    assert found.columns == model.get_feature_names_out().tolist()
    expected = annotator(output=output).fit_transform(TEXTS, concepts=FEW)
    assert found.to_dicts()[0].keys() == expected.iloc[0].to_dict().keys()


def test_clones_and_pickles(fitted):
    again = clone(fitted.set_params(output="soft")).fit(TEXTS)
    pd.testing.assert_frame_equal(again.transform(TEXTS), fitted.transform(TEXTS))
    loaded = pickle.loads(pickle.dumps(fitted))
    pd.testing.assert_frame_equal(loaded.transform(TEXTS), fitted.transform(TEXTS))


def test_the_default_embedder_is_the_model_itself(tiny_encoder, monkeypatch):
    made = SentenceEmbedder(tiny_encoder, layers=None, long_text="mean")
    expected = annotator(embedder=made).fit_transform(TEXTS)
    from skclif._annotate import annotator as module

    def tiny(**options):
        return SentenceEmbedder(tiny_encoder, **options)

    monkeypatch.setattr(module, "SentenceEmbedder", tiny)
    model = annotator(embedder=None)
    pd.testing.assert_frame_equal(model.fit_transform(TEXTS), expected)
    assert model.embedder_.layers is None


def test_a_failed_fit_changes_nothing(fitted):
    before = fitted.transform(TEXTS)
    with pytest.raises(ValueError, match="has the value 'odd'"):
        fitted.fit(TEXTS, concepts=pd.DataFrame({"food": ["odd"] * 8}))
    pd.testing.assert_frame_equal(fitted.transform(TEXTS), before)


# --- What is refused ------------------------------------------------------------------


@pytest.mark.parametrize(("X", "error", "match"), ODD_TEXTS.values(), ids=ODD_TEXTS)
@pytest.mark.parametrize("method", ["fit", "fit_transform", "transform", "confidence"])
def test_what_is_no_column_of_texts_is_refused(fitted, method, X, error, match):
    model = fitted if method in ("transform", "confidence") else annotator()
    with pytest.raises(error, match=match):
        getattr(model, method)(X)


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="X has no rows; give the texts"):
        annotator().fit([])
    with pytest.raises(TypeError, match="concepts must be a mapping of concepts"):
        ConceptAnnotator(["food"], embedder=WordCounts()).fit(TEXTS)


def test_annotations_in_the_place_of_labels_are_refused():
    soft = annotator().fit_transform(TEXTS)
    for y in (FEW, soft):
        with pytest.raises(TypeError, match="y has the column 'food.*: concepts=..."):
            annotator().fit(TEXTS, y)


@pytest.mark.parametrize("method", ["transform", "confidence"])
def test_methods_need_a_fit(method):
    with pytest.raises(NotFittedError):
        getattr(annotator(), method)(TEXTS)
    with pytest.raises(NotFittedError):
        annotator().get_feature_names_out()


class Odd(WordCounts):
    """Returns what `how` makes of the vectors."""

    def __init__(self, how=None):
        self.how = how

    def transform(self, X):
        return self.how(super().transform(X))


def _with_gap(vectors):
    vectors[0, 0] = np.nan
    return vectors


@pytest.mark.parametrize(
    ("embedder", "error", "match"),
    [
        (WordCounts, TypeError, "embedder must be a transformer.* instead of a class"),
        (HashingVectorizer(), TypeError, "embedder must return dense vectors"),
        (Odd(_with_gap), ValueError, "embedder must be a transformer.* contains NaN"),
        (Odd(np.ravel), ValueError, "embedder must be a transformer.*1D array"),
        (Odd(lambda v: v[:-1]), ValueError, "What embedder returns has .* rows"),
    ],
)
def test_vectors_that_cannot_be_compared_are_refused(embedder, error, match):
    with pytest.raises(error, match=match):
        annotator(embedder=embedder).fit(TEXTS)
