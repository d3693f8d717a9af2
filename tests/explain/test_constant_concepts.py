"""Concepts with one observed value: constants, until a second value comes.

What a fit without the constant gives, or a fit to the edited rows, is the reference.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    drift_report,
    load_model,
    save_model,
)
from skclif._explain.edits.grown import Grown
from skclif._models.fitted import FittedHeads
from skclif.exceptions import ConstantConceptWarning, UnseenValueWarning
from skclif.metrics import bottleneck_report, intervention_curve

N = 90
RNG = np.random.RandomState(0)
X = RNG.randn(N, 4)
FOOD = np.where(X[:, 0] > 0, "good", "bad")
NOISE = np.where(X[:, 1] > 0.4, "loud", np.where(X[:, 1] < -0.4, "low", "mid"))
Y = np.where(X[:, 0] + 0.5 * X[:, 1] + 0.5 * RNG.randn(N) > 0, "stay", "go")
VARYING = pd.DataFrame({"food": FOOD, "noise": NOISE})
CONCEPTS = pd.DataFrame({"food": FOOD, "transport": "no", "noise": NOISE, "wait": 2.5})
SETTINGS = {
    "mixed": {},
    "sequential": {"training": "sequential"},
    "independent": {"training": "independent"},
    "logit": {"bottleneck": "logit"},
    "hard": {"bottleneck": "hard"},
    "auto": {"C": "auto", "concept_C": "auto"},
    "residual": {"residual_C": 0.1},
    "ordinal": {"label_head": "ordinal"},
}
pytestmark = pytest.mark.filterwarnings(
    "ignore:[0-9]+ concepts? ha:skclif.exceptions.ConstantConceptWarning"
)


def bottleneck(concepts, y=Y, sample_weight=None, **settings):
    classifier = ConceptBottleneckClassifier(**settings)
    return classifier.fit(X, y, sample_weight, concepts=concepts)


def explainer_of(concepts, sample_weight=None, method="auto", **settings):
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(**settings), method=method
    )
    return explainer.fit(X, Y, sample_weight, concepts=concepts)


def of_path(influence, path):
    return influence.values[..., influence.paths.index(path)]


def assert_same(model, other, atol=1e-8):
    np.testing.assert_allclose(
        model.predict_proba(X), other.predict_proba(X), rtol=0, atol=atol
    )


@pytest.fixture(scope="module")
def explainer():
    return explainer_of(CONCEPTS)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_model_is_the_one_without_constants(setting):
    model = bottleneck(CONCEPTS, **SETTINGS[setting])
    assert_same(model, bottleneck(VARYING, **SETTINGS[setting]))
    assert np.abs(model.concept_coef_[1]).max() == 0
    # A number that never changes is an activation, of which the label head sees none.
    names = ["food=good", "noise=loud", "noise=low", "noise=mid", "wait"]
    assert model.get_feature_names_out().tolist() == names
    assert model.transform(X).shape == (N, 5)
    assert np.abs(model.coef_[:, 4]).max() < 1e-8
    concepts = model.predict_concepts(X)
    assert (concepts["transport"] == "no").all()
    np.testing.assert_allclose(concepts["wait"], 2.5)
    np.testing.assert_array_equal(
        model.predict_concept_proba(X)["transport"], np.ones((N, 1))
    )
    if setting == "auto":  # any penalty gives the same head
        assert model.concept_C_[[1, 3]].tolist() == [1, 1]


def test_constants_are_named():
    with pytest.warns(
        ConstantConceptWarning,
        match=r"2 concepts have only one .*: 'transport' \('no'\), 'wait' \(2.5\).*out",
    ):
        bottleneck(CONCEPTS)
    with pytest.warns(ConstantConceptWarning, match="1 concept has .* or leave it out"):
        bottleneck(CONCEPTS[["food", "transport"]])


def test_all_concepts_may_be_constants():
    model = bottleneck(CONCEPTS[["transport"]])
    share = (Y == "stay").mean()
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], share)
    assert model.transform(X).shape == (N, 0)
    explainer = explainer_of(CONCEPTS[["transport"]])
    influence = explainer.influence(X[:2], Y[:2], paths=True)
    assert np.abs(of_path(influence, "transport")).max() == 0


@pytest.mark.parametrize("method", ["newton", "leverage", "first_order"])
def test_a_constant_has_no_influence(method):
    found = explainer_of(CONCEPTS, method=method).influence(X[:3], Y[:3], paths=True)
    without = explainer_of(VARYING, method=method).influence(X[:3], Y[:3], paths=True)
    assert np.abs(of_path(found, "transport")).max() == 0
    assert np.abs(of_path(found, "wait")).max() < 1e-12
    for path in ("label", "food", "noise"):
        np.testing.assert_allclose(
            of_path(found, path), of_path(without, path), atol=1e-8
        )


def test_a_constant_as_a_target(explainer):
    target = ("concept", "transport", "no")
    assert np.abs(explainer.influence(X[:2], target=target).values).max() == 0


def test_a_constant_is_never_suspect(explainer):
    suspects = explainer.suspect_labels()
    assert set(suspects["path"]) == {"label", "food", "noise"}
    assert len(suspects) == 3 * N
    assert not len(explainer.suspect_labels(which="transport"))
    pd.testing.assert_frame_equal(
        pd.DataFrame(suspects), pd.DataFrame(explainer_of(VARYING).suspect_labels())
    )


# An edit keeps penalties that were chosen, and a fit chooses new ones.
@pytest.mark.parametrize("setting", [name for name in SETTINGS if name != "auto"])
@pytest.mark.parametrize("value", ["yes", "maybe"])  # after "no", and before
def test_the_second_value_makes_it_a_head(setting, value):
    explainer = explainer_of(CONCEPTS, **SETTINGS[setting])
    result = explainer.edit(
        y={5: "go"},
        concepts={"transport": {3: value, 7: value, 9: None}, "wait": {4: 1.25}},
    )
    concepts, y = CONCEPTS.copy(), Y.copy()
    concepts.loc[[3, 7], "transport"], concepts.loc[9, "transport"] = value, None
    concepts.loc[4, "wait"], y[5] = 1.25, "go"
    fitted = bottleneck(concepts, y, **SETTINGS[setting])
    assert_same(result.estimator, fitted)
    found, expected = (m.concept_classes_[1] for m in (result.estimator, fitted))
    assert found.dtype == expected.dtype
    assert found.tolist() == expected.tolist() == sorted(["no", value])
    assert result.record.converged
    changes = result.record.changes
    old, new = changes.loc[changes["concept"] == "transport", ["old", "new"]].T.values
    assert [*old] == ["no"] * 3
    assert [*new] == [value, value, None]
    back = result.explainer.edit(
        y={5: Y[5]},
        concepts={"transport": dict.fromkeys([3, 7, 9], "no"), "wait": {4: 2.5}},
        empty_values="drop",
    )
    assert back.estimator.concept_classes_[1].tolist() == ["no"]
    assert_same(back.estimator, explainer.estimator_)


def test_an_added_row_brings_the_second_value(explainer):
    new = {
        "X": X[:2] + 0.1,
        "y": Y[:2],
        "concepts": pd.DataFrame({"transport": ["yes", "no"]}),
    }
    result = explainer.edit(add=new)
    rest = pd.DataFrame({"transport": ["yes", "no"]}, index=[N, N + 1])
    concepts = pd.concat([CONCEPTS, rest])
    fitted = ConceptBottleneckClassifier().fit(
        np.vstack([X, X[:2] + 0.1]), np.append(Y, Y[:2]), concepts=concepts
    )
    assert_same(result.estimator, fitted)
    gone = explainer.edit(add=new, drop_concepts=["transport"])
    assert gone.estimator.concept_names_in_.tolist() == ["food", "noise", "wait"]
    assert gone.record.converged
    array = CONCEPTS.iloc[:2].assign(transport="yes").to_numpy(dtype=object)
    as_array = explainer.edit(add={**new, "concepts": array})
    assert as_array.estimator.concept_classes_[1].tolist() == ["no", "yes"]


def test_an_edit_that_leaves_one_value_warns():
    concepts = CONCEPTS.assign(transport=np.where(np.arange(N) == 3, "yes", "no"))
    explainer = explainer_of(concepts)
    with pytest.raises(ValueError, match="value 'yes' of concept 'transport' without"):
        explainer.edit(drop=[3])
    with pytest.warns(ConstantConceptWarning, match=r"'transport' \('no'\)"):
        result = explainer.edit(drop=[3], empty_values="drop")
    left = np.arange(N) != 3
    assert_same(result.estimator, bottleneck(CONCEPTS, sample_weight=left + 0.0))


def test_a_source_without_weight_comes_back():
    """What rows without weight say comes with their weight, also after an edit."""
    source = np.arange(N) >= 70
    concepts = CONCEPTS.copy()
    concepts.loc[source, "transport"] = np.where(np.arange(20) % 3, "yes", "never")
    whole, weights = bottleneck(concepts), np.where(source, 0.0, 1.0)
    back = dict.fromkeys(np.flatnonzero(source).tolist(), 1.0)
    explainer = explainer_of(concepts, weights)
    assert explainer.estimator_.concept_classes_[1].tolist() == ["no"]
    assert_same(explainer.edit(sample_weight=back).estimator, whole)
    dropped = explainer_of(concepts).edit(drop=list(back), empty_values="drop")
    assert_same(dropped.estimator, explainer.estimator_)
    again = dropped.explainer.edit(sample_weight=back)
    assert_same(again.estimator, whole)
    np.testing.assert_array_equal(
        again.explainer._training["codes"], explainer_of(concepts)._training["codes"]
    )
    # A person may say otherwise, or drop the concept.
    other = explainer.edit(
        sample_weight=back, concepts={"transport": dict.fromkeys(back, "yes")}
    )
    assert other.estimator.concept_classes_[1].tolist() == ["no", "yes"]
    gone = explainer.edit(sample_weight=back, drop_concepts=["transport"])
    assert_same(gone.estimator, bottleneck(concepts.drop(columns="transport")))


def test_values_that_a_type_declares():
    """A value of the type, in the order of the type, may come with an edit."""
    values = ["rare", "bad", "good"]
    typed = pd.Categorical(FOOD, categories=values)
    explainer = explainer_of(VARYING.assign(food=typed))
    assert explainer.estimator_.concept_classes_[0].tolist() == ["bad", "good"]
    result = explainer.edit(concepts={"food": {0: "rare", 1: "rare"}})
    typed[[0, 1]] = "rare"
    fitted = bottleneck(VARYING.assign(food=typed))
    assert_same(result.estimator, fitted)
    assert [*result.estimator.concept_classes_[0]] == [*fitted.concept_classes_[0]]
    ordered = pd.Categorical(FOOD, categories=["good", "bad", "rare"], ordered=True)
    explainer = explainer_of(VARYING.assign(food=ordered))
    result = explainer.edit(concepts={"food": {0: "rare"}})
    known = result.estimator.concept_classes_[0].tolist()
    assert known == ["good", "bad", "rare"]
    with pytest.raises(ValueError, match="'rrae' of concept 'food', which was never"):
        explainer.edit(concepts={"food": {0: "rrae"}})


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"transport": {1: 3}}, "'transport' mixes values that cannot be ordered"),
        ({"transport": {1: ["yes"]}}, r"value \['yes'\] of concept 'transport', which"),
        ({"food": {1: "yes"}}, "'yes' of concept 'food', which was never seen in fit"),
        ({"transport": {1: True}}, "value True beside 'no': True and False do not go"),
    ],
)
def test_values_that_cannot_come(explainer, values, match):
    with pytest.raises(ValueError, match=match):
        explainer.edit(concepts=values)


@pytest.mark.parametrize(("value", "new"), [(True, 0), (True, 1), (3, False)])
def test_true_is_not_1(value, new):
    explainer = explainer_of(VARYING.assign(flag=value))
    match = f"'flag' the value {new} beside {value}: True and False do not go with num"
    with pytest.raises(ValueError, match=match):
        explainer.edit(concepts={"flag": {0: new}})


def test_without_any_annotation_there_is_nothing_to_keep(explainer):
    """Not even with empty_values="drop", so that the error does not advise it."""
    match = "concept 'transport' without an annotation that has weight, so there is no"
    with pytest.raises(ValueError, match=match):
        explainer.edit(concepts={"transport": dict.fromkeys(range(N))})


def test_a_number_that_is_not_whole_needs_a_fit():
    explainer = explainer_of(VARYING.assign(stars=3))
    whole = explainer.edit(concepts={"stars": {0: 4}})
    assert whole.estimator.concept_classes_[2].tolist() == [3, 4]
    with pytest.raises(ValueError, match="'stars' the number 3.5, which is not whole"):
        explainer.edit(concepts={"stars": {0: 3.5}})


def test_held_out_values_that_a_constant_cannot_know(explainer):
    model = explainer.estimator_
    held_out = CONCEPTS.assign(transport=np.where(np.arange(N) % 2, "yes", "no"))
    match = r"count as not annotated: 'yes' of 'transport' \(45 rows\)\."
    with pytest.warns(UnseenValueWarning, match=match):
        proba = model.intervene(X, held_out)
    np.testing.assert_array_equal(proba, model.intervene(X, CONCEPTS))
    with pytest.warns(UnseenValueWarning, match=match):
        intervention_curve(model, X, Y, held_out, n_repeats=1, random_state=0)
    typed = VARYING.assign(food=pd.Categorical(FOOD, ["bad", "fine", "good"]))
    typed.loc[0, "food"] = "fine"
    with pytest.warns(UnseenValueWarning, match=r"'fine' of 'food' \(1 row\)"):
        model.intervene(X, typed)
    with pytest.raises(ValueError, match="'fine' for concept 'food'.*never seen"):
        model.intervene(X, typed.astype(object))


def test_held_out_lists_are_no_values(explainer):
    held_out = CONCEPTS.assign(transport=[["no"]] * N)
    with pytest.raises(ValueError, match="'transport' has a value of type list"):
        explainer.estimator_.intervene(X, held_out)


def test_compared_where_the_second_value_is_true(explainer):
    result = explainer.edit(concepts={"transport": dict.fromkeys(range(40), "yes")})
    held_out = pd.DataFrame({"transport": ["yes"] * 40 + ["no"] * 50})
    quality = result.compare(X, Y, held_out).concepts.set_index("concept")
    said = result.estimator.predict_concepts(X)["transport"].to_numpy()
    before, after = quality.loc["transport", ["before", "after"]]
    assert before == pytest.approx(50 / 90)
    assert after == pytest.approx((said == held_out["transport"]).mean())


def test_files_keep_constants(tmp_path):
    model = bottleneck(CONCEPTS)
    save_model(model, tmp_path / "model.skclif")
    loaded = load_model(tmp_path / "model.skclif")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.concept_classes_[1].tolist() == ["no"]
    assert [*loaded.get_feature_names_out()] == [*model.get_feature_names_out()]


def test_a_constraint_on_a_constant_binds_nothing():
    constraint = {"transport": ["no", "yes"]}
    with pytest.warns(UserWarning, match="has the value 'yes', which concept"):
        model = bottleneck(
            CONCEPTS, monotonic_cst=constraint, label_order=["go", "stay"]
        )
    assert_same(model, bottleneck(VARYING))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("names", [["transport"], ["transport", "wait", "food"]])
def test_nobody_is_asked_for_the_only_value(names):
    concepts = CONCEPTS[names].astype(object)
    concepts.iloc[::3] = None
    explainer = explainer_of(concepts.infer_objects())
    found = explainer.suggest_edits(X, Y, kinds=["annotate"])
    assert set(found.frame["path"]) == set(names) - {"transport", "wait"}
    assert repr(found)
    assert found._repr_html_()


def test_a_constant_of_texts_is_never_suspect():
    texts = [f"the {value} food" for value in FOOD]
    model = make_pipeline(CountVectorizer(), ConceptBottleneckClassifier())
    explainer = ConceptInfluenceExplainer(model).fit(texts, Y, concepts=CONCEPTS)
    found = explainer.suspect_labels(which="transport")
    assert not len(found)
    assert found.columns[-1] == "text"
    of_all = explainer.suspect_labels(which="food")
    assert pd.concat([found, of_all])["row"].dtype == of_all["row"].dtype


@pytest.mark.filterwarnings("error:std")
def test_a_report_of_drift_where_all_are_constants():
    explainer = explainer_of(CONCEPTS[["transport"]])
    held_out = CONCEPTS[["transport"]]
    report = drift_report(explainer, X, Y, concepts_new=held_out, n_permutations=99)
    assert report.findings.empty


@pytest.mark.filterwarnings("ignore")
def test_reports_and_suggestions_do_not_stop(explainer):
    held_out = CONCEPTS.assign(transport=np.where(np.arange(N) % 2, "yes", "no"))
    report = bottleneck_report(explainer.estimator_, X, Y, held_out)
    assert np.isfinite(report.leakage) if hasattr(report, "leakage") else True
    assert len(explainer.suggest_edits(X, Y).frame)
    page = explainer.report(X[:40], Y[:40], CONCEPTS[:40])
    assert "transport" in page.page


def test_new_values_start_beside_the_weights_of_the_others(explainer):
    heads = FittedHeads.of(explainer.estimator_)
    values = {0: np.array(["able", "bad", "good"]), 1: np.array(["no", "yes"])}
    grown = Grown(values).add_to(heads)
    none = np.zeros(len(heads.coef))
    expected = [none, none, heads.coef[:, 0], none, *heads.coef[:, 1:].T]
    np.testing.assert_array_equal(grown.coef.T, expected)
