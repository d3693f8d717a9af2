"""What InfluenceReweighter refuses or warns of, and in which words."""

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, ShuffleSplit
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
)
from skclif.exceptions import ReweightingWarning

N = 40
X, Y = make_classification(N, 5, n_informative=3, flip_y=0.1, random_state=0)
CLEAN = np.arange(N) % 2 == 0
CONCEPTS = pd.DataFrame({"high": X[:, 0] > 0})
BESIDE = {"X_val": X[:12], "y_val": Y[:12]}
LASSO = LogisticRegression(l1_ratio=1, solver="saga")


def reweighter(estimator=None, **params):
    """Return one that is quick."""
    estimator = LogisticRegression() if estimator is None else estimator
    quick = {"strength": 1.0, "n_rounds": 1, "cv": 3, "random_state": 0}
    return InfluenceReweighter(estimator, **{**quick, **params})


def frozen():
    return FrozenEstimator(LogisticRegression().fit(X, Y))


# --- The estimator --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "match"),
    [
        (
            LogisticRegression,
            r"estimator must be an instance, got the class LogisticRegression; pass "
            r"LogisticRegression\(\)",
        ),
        (
            make_pipeline(StandardScaler(), LogisticRegression),
            "estimator must be an instance, got the class LogisticRegression; pass",
        ),
        (
            frozen(),
            "ends in a FrozenEstimator around LogisticRegression, .*other weights; pass"
            " LogisticRegression itself. Steps before it may be frozen",
        ),
        (make_pipeline(StandardScaler(), frozen()), "ends in a FrozenEstimator aroun"),
        (
            LinearRegression(),
            "estimator must be a classifier, .* got LinearRegression",
        ),
        (
            make_pipeline(StandardScaler(), LinearRegression()),
            "estimator must be a classifier, .* got LinearRegression",
        ),
        (StandardScaler(), "estimator must be a classifier, .* got StandardScaler"),
        (
            KNeighborsClassifier(),
            "take sample_weight in fit, but KNeighborsClassifier does not; use a",
        ),
        (
            GridSearchCV(LogisticRegression(), {"C": [1]}),
            "a search, GridSearchCV, .* Put the search around the reweighter",
        ),
    ],
)
def test_estimators_that_cannot_be_fitted_with_weights(estimator, match):
    with pytest.raises(TypeError, match=match):
        reweighter(estimator).fit(X, Y)


@pytest.mark.parametrize("estimator", [None, 3, "svm"], ids=str)
def test_what_is_no_estimator_is_refused(estimator):
    match = "The 'estimator' parameter .* must be an object implementing 'fit'. Got "
    with pytest.raises(ValueError, match=match):
        InfluenceReweighter(estimator).fit(X, Y)


def test_leading_steps_may_be_frozen():
    scaler = FrozenEstimator(StandardScaler().fit(X))
    model = reweighter(make_pipeline(scaler, LogisticRegression())).fit(X, Y)
    assert model.strength_ == 1


@pytest.mark.parametrize(
    "estimator", [LASSO, SGDClassifier(random_state=0), GaussianNB()], ids=str
)
def test_what_has_no_influence_of_its_own_gets_a_surrogate(estimator):
    """And so the weights are the same for all of them."""
    found = reweighter(estimator).fit(X, Y, is_clean=CLEAN).sample_weight_
    expected = reweighter(HistGradientBoostingClassifier(max_iter=2))
    expected = expected.fit(X, Y, is_clean=CLEAN).sample_weight_
    assert not np.allclose(found, 1)
    np.testing.assert_array_equal(found, expected)


def test_one_in_another_is_weighted_by_it():
    """The outer weights are given ones for the inner, which learns on top of them."""
    outer = reweighter(reweighter()).fit(X, Y, is_clean=CLEAN)
    inner = reweighter().fit(X, Y, sample_weight=outer.sample_weight_)
    np.testing.assert_array_equal(outer.predict_proba(X), inner.predict_proba(X))


def test_an_explainer_refuses_a_reweighter():
    match = (
        "estimator must be a ConceptBottleneckClassifier or .* got InfluenceReweight"
    )
    with pytest.raises(TypeError, match=match):
        ConceptInfluenceExplainer(reweighter()).fit(X, Y)


@pytest.mark.parametrize(
    ("method", "match"),
    [
        ("predict_proba", "'InfluenceReweighter' has no attribute 'predict_proba'"),
        ("n_features_in_", "'InfluenceReweighter' object has no attribute 'n_feat"),
        ("feature_names_in_", "'InfluenceReweighter' object has no attribute 'feat"),
    ],
)
def test_attributes_that_are_not_there(method, match):
    with pytest.raises(AttributeError, match=match):
        getattr(InfluenceReweighter(SGDClassifier()), method)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_before_fit(method):
    with pytest.raises(NotFittedError, match="InfluenceReweighter instance is not fit"):
        getattr(reweighter(), method)(X)


# --- Annotations ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "arguments", "error", "match"),
    [
        (
            LogisticRegression(),
            {"concepts": CONCEPTS},
            TypeError,
            "concepts were given, but LogisticRegression takes none; use Conc",
        ),
        (
            LogisticRegression(),
            {"concept_sample_weight": np.ones((N, 1))},
            TypeError,
            "concept_sample_weight was given, but LogisticRegression takes none; use",
        ),
        (
            ConceptBottleneckClassifier(),
            {"concept_sample_weight": np.ones((N, 1))},
            ValueError,
            "concept_sample_weight was given without concepts",
        ),
        (
            ConceptBottleneckClassifier(),
            {"concepts": CONCEPTS[1:]},
            ValueError,
            "concepts has 39 rows, but X has 40",
        ),
        (
            ConceptBottleneckClassifier(),
            {"concepts": "high"},
            TypeError,
            "concepts must be a DataFrame, .* got str",
        ),
        (
            ConceptBottleneckClassifier(),
            {"concepts": CONCEPTS, "concept_sample_weight": np.ones((N, 2))},
            ValueError,
            r"concept_sample_weight has shape \(40, 2\), but concepts has shape .40, 1",
        ),
    ],
)
@pytest.mark.parametrize("more", ["nothing", "a weight of 0", "X_val"])
def test_annotations_that_do_not_fit(estimator, arguments, error, match, more):
    """Also where rows are taken out of them, or added to them."""
    if more == "a weight of 0":
        arguments = {**arguments, "sample_weight": np.arange(N) > 0}
    elif more == "X_val":
        arguments = {**arguments, **BESIDE}
    with pytest.raises(error, match=match):
        reweighter(estimator).fit(X, Y, **arguments)


# --- Clean rows -----------------------------------------------------------------------

NOT_CLEAN = "is_clean must be one True or False for each row of X: "


@pytest.mark.parametrize(
    ("is_clean", "error", "match"),
    [
        (CLEAN[1:], ValueError, "is_clean has 39 rows, but X has 40"),
        (np.flatnonzero(CLEAN), ValueError, "is_clean has 20 rows, but X has 40"),
        (Y + 1, ValueError, f"{NOT_CLEAN}it contains 2"),
        (np.where(CLEAN, "yes", "no"), ValueError, f"{NOT_CLEAN}it contains 'yes'"),
        (np.where(CLEAN, 1, np.nan), ValueError, f"{NOT_CLEAN}it contains nan"),
        (np.where(CLEAN, True, None), ValueError, f"{NOT_CLEAN}it contains None"),
        (np.where(CLEAN, True, pd.NA), ValueError, f"{NOT_CLEAN}it contains <NA>"),
        (True, ValueError, f"{NOT_CLEAN}y should be a 1d array"),
        (
            np.ma.masked_array(CLEAN, mask=Y == 1),
            ValueError,
            "is_clean is a masked array with",
        ),
        (
            sparse.csr_array(CLEAN[:, None]),
            TypeError,
            "Sparse data was passed for is_clean",
        ),
    ],
)
def test_is_clean_that_is_no_mask(is_clean, error, match):
    with pytest.raises(error, match=match):
        reweighter().fit(X, Y, is_clean=is_clean)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"X_val": X[:12]}, ValueError, "X_val was given without y_val; pass both"),
        ({"y_val": Y[:12]}, ValueError, "y_val was given without X_val; pass both"),
        (
            {**BESIDE, "is_clean": CLEAN},
            ValueError,
            "is_clean and X_val were both given; mark clean rows of X by is_clean, or",
        ),
        (
            {"X_val": X, "y_val": Y},
            ValueError,
            "X_val has 40 rows, as many as X. .* mark them by is_clean",
        ),
        (
            {"X_val": X[:12], "y_val": Y[:11]},
            ValueError,
            "y_val has 11 rows, but X_val has 12.* one for each of X_val",
        ),
        (
            {"X_val": 3, "y_val": Y[:12]},
            TypeError,
            "X_val must be an array, a DataFrame or a list with one entry a sample: E",
        ),
        (
            {"X_val": X[:12, :3], "y_val": Y[:12]},
            ValueError,
            r"X_val must be features like those of X: .* \(12, 3\), and X \(40, 5\)",
        ),
        (
            {"X_val": np.where(X > 2, np.nan, X)[:12], "y_val": Y[:12]},
            ValueError,
            "Input X_val contains NaN",
        ),
        (
            {"X_val": X[:12], "y_val": [None, *Y[1:12]]},
            ValueError,
            r"y_val has no label in row 0 \(counted from 0\)",
        ),
        (
            {"X_val": X[:12], "y_val": Y[:12] + 0.5},
            ValueError,
            "y_val must be a column of labels, .*Unknown label type",
        ),
        (
            {"X_val": X[:12], "y_val": Y[:12].astype(str)},
            ValueError,
            r"y with y_val mixes values that cannot be ordered \(int, str\); use one",
        ),
    ],
)
def test_clean_rows_beside_X_that_do_not_fit(arguments, error, match):
    with pytest.raises(error, match=match):
        reweighter().fit(X, Y, **arguments)


@pytest.mark.parametrize("columns", ["vwxyZ", "zyxwv", range(5)])
def test_columns_of_X_val_are_those_of_X(columns):
    train = pd.DataFrame(X, columns=list("vwxyz"))
    other = pd.DataFrame(X[:12], columns=list(columns))
    match = r"X_val must be features like those of X: its columns are .*, those of X \["
    with pytest.raises(ValueError, match=match):
        reweighter().fit(train, Y, X_val=other, y_val=Y[:12])


def test_rows_of_X_val_that_a_leading_step_refuses():
    model = reweighter(make_pipeline(StandardScaler(), LogisticRegression()))
    match = "X_val must be rows like those of X: X has 3 features, but StandardScaler"
    with pytest.raises(ValueError, match=match):
        model.fit(X, Y, X_val=X[:12, :3], y_val=Y[:12])


def test_a_missing_value_of_X_val_is_fine_where_the_estimator_takes_it():
    model = reweighter(HistGradientBoostingClassifier(max_iter=2))
    model.fit(X, Y, X_val=np.where(X > 2, np.nan, X)[:12], y_val=Y[:12])
    assert model.strength_ == 1


@pytest.mark.parametrize("kind", [bool, float, "int8"])
def test_labels_of_clean_rows_take_the_type_of_y(kind):
    expected = reweighter().fit(X, Y, **BESIDE)
    found = reweighter().fit(X, Y, X_val=X[:12], y_val=Y[:12].astype(kind))
    assert found.classes_.dtype == Y.dtype
    np.testing.assert_array_equal(found.sample_weight_, expected.sample_weight_)


@pytest.mark.parametrize("include_validation", [True, False])
def test_a_class_that_only_clean_rows_have(include_validation):
    """It is learned, and weights stay as given: there is no row of it to weigh."""
    model = reweighter(include_validation=include_validation)
    with pytest.warns(
        ReweightingWarning, match="Class 7 has clean rows only, and none"
    ):
        model.fit(X, Y, X_val=X[:12], y_val=np.where(np.arange(12) < 3, 7, Y[:12]))
    np.testing.assert_array_equal(model.classes_, [0, 1, 7])
    np.testing.assert_array_equal(model.sample_weight_, 1)


# --- Too few rows ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "cv", "match"),
    [
        (
            {"y": np.where(np.arange(N) < 2, 7, Y)},
            3,
            "Class 7 has 2 rows, but reweighting needs at least 3 of every class.",
        ),
        (
            {"sample_weight": (Y == 0) | (np.arange(N) % 20 == np.flatnonzero(Y)[0])},
            3,
            "Class 1 has [12] rows?, but reweighting needs at least 3 of every class",
        ),
        (
            {"is_clean": CLEAN & (Y == 0)},
            3,
            "Class 1 has 0 clean rows, but reweighting needs at least 2 of every class",
        ),
        (
            {"X_val": X[:12], "y_val": np.r_[1, np.zeros(11, int)]},
            3,
            "Class 1 has 1 clean row, but reweighting needs at least 2 of every class",
        ),
        ({"is_clean": np.ones(N, bool)}, 3, "Class 0 has clean rows only, and none"),
        (
            {},
            30,
            "No class has as many rows as there are folds, cv=30.",
        ),
        ({"is_clean": CLEAN}, 15, "No class has as many clean rows as .* cv=15."),
    ],
)
@pytest.mark.parametrize("strength", ["auto", 1.0])
def test_too_few_rows_leave_weights_as_given(arguments, cv, match, strength):
    model = reweighter(strength=strength, cv=cv)
    arguments = {"y": Y, **arguments}
    with pytest.warns(ReweightingWarning, match=match) as caught:
        line = inspect.currentframe().f_lineno + 1
        model.fit(X, **arguments)
    assert (caught[0].filename, caught[0].lineno) == (__file__, line)
    assert (model.strength_, model.n_rounds_, model.history_) == (0, 0, {})
    assert str(caught[0].message) == f"Weights stay as given. {model.reason_}"
    weights = arguments.get("sample_weight", np.ones(N))
    np.testing.assert_array_equal(model.sample_weight_, weights)


def test_nothing_is_too_few_for_no_strength():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reweighter(strength=0).fit(X, Y, is_clean=np.ones(N, bool))


# --- Folds ----------------------------------------------------------------------------

FEW_FOLDS = "gives 2 folds of rows whose loss counts, but at least 3 are needed to"
NOT_ONCE = "cv must put every row whose loss counts in one test part, but row"
NO_SPLITS = r"cv must be an int, a splitter .* iterable of \(train, test\) positions: "
THIRDS = [(np.arange(0), np.arange(i, N, 3)) for i in range(3)]


@pytest.mark.parametrize(
    ("cv", "match"),
    [
        (2, f"cv=2 {FEW_FOLDS}"),
        (KFold(2), FEW_FOLDS),
        (THIRDS[:2], f"{NOT_ONCE} 2 is in 0. Use KFold or StratifiedKFold, or their"),
        ([*THIRDS, THIRDS[1]], f"{NOT_ONCE} 1 is in 2"),
        (ShuffleSplit(3, random_state=0), f"{NOT_ONCE} 0 is in"),
        ([], f"{NOT_ONCE} 0 is in 0"),
        ([([], range(N))], "gives 1 folds of rows"),
        (GroupKFold(3), f"{NO_SPLITS}The 'groups' parameter should not be None"),
        ([([0], [N])], f"{NO_SPLITS}its positions must be those of 40 rows"),
        ([([0], ["a"])], f"{NO_SPLITS}its positions must be those of 40 rows"),
        (1, "The 'cv' parameter of InfluenceReweighter must be an int in the range .2"),
        ("five", "The 'cv' parameter of InfluenceReweighter must be"),
    ],
)
def test_folds_that_do_not_test_every_row_once(cv, match):
    with pytest.raises(ValueError, match=match):
        reweighter(cv=cv).fit(X, Y)


def test_what_is_no_split_is_refused():
    with pytest.raises(TypeError, match=f"{NO_SPLITS}cannot unpack"):
        reweighter(cv=[1, 2, 3]).fit(X, Y)


def test_rows_of_X_val_are_counted_from_its_first():
    cv = [([], np.arange(i, 12, 4)) for i in range(3)]
    with pytest.raises(ValueError, match=f"{NOT_ONCE} 3 is in 0"):
        reweighter(cv=cv).fit(X, Y, **BESIDE)
    with pytest.raises(ValueError, match="positions must be those of 12 rows"):
        reweighter(cv=[([], [12])]).fit(X, Y, **BESIDE)


def test_five_folds_are_the_default():
    found = reweighter(cv=None).fit(X, Y).sample_weight_
    np.testing.assert_array_equal(found, reweighter(cv=5).fit(X, Y).sample_weight_)


def test_splits_are_those_of_the_splitter():
    found = reweighter(cv=list(KFold(4).split(X))).fit(X, Y).sample_weight_
    expected = reweighter(cv=KFold(4)).fit(X, Y).sample_weight_
    np.testing.assert_array_equal(found, expected)


# --- Surrogates, and features they cannot read ----------------------------------------

SURROGATE = "^surrogate must be"


@pytest.mark.parametrize(
    ("surrogate", "error", "match"),
    [
        (GaussianNB(), TypeError, f"{SURROGATE} a Concept.*got GaussianNB at the end"),
        (reweighter(), TypeError, f"{SURROGATE} a Concept.*got InfluenceReweighter at"),
        (
            make_pipeline(StandardScaler(), LinearRegression()),
            TypeError,
            f"{SURROGATE} a Concept.*got LinearRegression at the end",
        ),
        (
            LogisticRegression,
            TypeError,
            f"{SURROGATE} an instance, got the class LogisticR",
        ),
        (LASSO, ValueError, f"{SURROGATE} a model with .*L1 penalty .* cannot be"),
        (frozen(), TypeError, "surrogate ends in a FrozenEstimator, .* pass the estim"),
        (
            make_pipeline(StandardScaler(), frozen()),
            TypeError,
            "surrogate ends in a FrozenEstimator, but it is fitted to the rows here",
        ),
        ("svm", ValueError, "The 'surrogate' parameter of InfluenceReweighter must be"),
    ],
)
def test_surrogates_without_influence(surrogate, error, match):
    model = reweighter(HistGradientBoostingClassifier(), surrogate=surrogate)
    with pytest.raises(error, match=match):
        model.fit(X, Y)


def test_a_classifier_that_does_not_take_sparse_features():
    model = reweighter(HistGradientBoostingClassifier())
    match = "HistGradientBoostingClassifier takes no sparse features, .* TruncatedSVD"
    with pytest.raises(TypeError, match=match):
        model.fit(sparse.csr_array(X), Y)


@pytest.mark.parametrize(
    ("estimator", "surrogate"),
    [
        (LogisticRegression(), None),
        (SGDClassifier(random_state=0), None),
        (ConceptBottleneckClassifier(), None),
        (MultinomialNB(), LogisticRegression()),
    ],
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_stored_values_that_are_not_finite(estimator, surrogate, value):
    spoilt = sparse.csr_array(np.abs(X))
    spoilt.data[3] = value
    match = "Input X contains|X must be finite numbers, .*: Input contains (NaN|infin)"
    with pytest.raises(ValueError, match=match):
        reweighter(estimator, surrogate=surrogate).fit(spoilt, Y, **BESIDE)


def test_texts_need_a_surrogate_that_reads_them():
    match = r"X holds texts, .* make_pipeline\(TfidfVectorizer\(\), SGDClassifier\(\)\)"
    with pytest.raises(ValueError, match=match):
        reweighter(SGDClassifier()).fit(["soup"] * N, Y)
    texts = np.where(Y == 1, "warm soup", "cold soup")
    read = make_pipeline(TfidfVectorizer(), LogisticRegression())
    model = reweighter(make_pipeline(TfidfVectorizer(), SGDClassifier()))
    model.set_params(surrogate=read.named_steps["logisticregression"]).fit(texts, Y)
    calibrated = CalibratedClassifierCV(frozen_reader(texts))
    assert reweighter(calibrated, surrogate=read).fit(texts, Y).strength_ == 1


def frozen_reader(texts):
    reader = make_pipeline(TfidfVectorizer(), LogisticRegression())
    return FrozenEstimator(reader.fit(texts, Y))


@pytest.mark.parametrize(
    "X",
    [
        np.where(X > 0, "1.5", "2"),
        pd.DataFrame(np.where(X > 0, "1.5", "2"), columns=list("abcde")),
    ],
    ids=["array", "frame"],
)
def test_numbers_written_as_texts_are_numbers(X):
    found = reweighter(GaussianNB()).fit(X.astype(object), Y).sample_weight_
    expected = reweighter(GaussianNB()).fit(X.astype(float), Y).sample_weight_
    np.testing.assert_array_equal(found, expected)


def test_columns_of_one_name():
    with pytest.raises(ValueError, match="Expected unique column names"):
        reweighter().fit(pd.DataFrame(X, columns=list("aabbc")), Y)
    texts = pd.DataFrame({"a": X[:, 0], "b": "soup"})[["a", "b", "b"]]
    with pytest.raises(ValueError, match="The column 'b' of X holds texts"):
        reweighter().fit(texts, Y)


def test_entries_that_no_surrogate_reads():
    match = "X must be a dense table of numbers, or a surrogate must be given: float"
    with pytest.raises(TypeError, match=match):
        reweighter(DummyClassifier()).fit(np.array([[{"a": 1}]] * N), Y)


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array, pd.DataFrame])
@pytest.mark.parametrize(
    "model",
    [
        reweighter(),
        reweighter(SGDClassifier()),
        reweighter(GaussianNB()),
        ConceptBottleneckClassifier(),
        ConceptInfluenceExplainer(LogisticRegression()),
    ],
    ids=["influence", "surrogate", "dense", "bottleneck", "explainer"],
)
def test_complex_numbers_are_not_printed(model, make):
    with pytest.raises((TypeError, ValueError), match="X ") as error:
        model.fit(make(X + 1j), Y)
    assert len(str(error.value)) < 300
    assert "Complex data" in str(error.value) or "takes no sparse" in str(error.value)


# --- Numbers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "accepted"),
    [
        ({"max_weight": 1}, r"a float in the range \(1.0, inf\). Got 1 instead"),
        ({"max_weight": 0.5}, "a float in the range"),
        ({"max_weight": np.nan}, "a float in the range"),
        ({"n_rounds": 0}, r"an int in the range \[1, inf\). Got 0 instead"),
        ({"n_rounds": 1.5}, "an int in the range"),
        ({"strength": -1}, "a str among {'auto'} or a float in the range .0.0, inf. "),
        ({"strength": np.nan}, "a str among {'auto'} or a float in the range"),
        ({"strength": "AUTO"}, "a str among {'auto'} or .* Got 'AUTO' instead"),
        ({"strength": None}, "a str among {'auto'} or .* Got None instead"),
        ({"include_validation": "yes"}, "an instance of 'bool'"),
        ({"random_state": "seed"}, "an int .* or None. Got 'seed' instead"),
        ({"random_state": 1.5}, "an int .* or None. Got 1.5 instead"),
        # Not by its address, so that two processes collect the same tests.
        pytest.param(
            {"random_state": np.random.default_rng(0)},
            "an int .*RandomState' or None",
            id="a Generator",
        ),
    ],
    ids=str,
)
def test_parameters_out_of_range(params, accepted):
    match = f"The '{[*params][0]}' parameter of InfluenceReweighter must be {accepted}"
    with pytest.raises(ValueError, match=match.replace("inf. ", "inf")):
        reweighter(**params).fit(X, Y)


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        (np.zeros(N), "sample_weight must be .* at least one non-zero number"),
        (-np.ones(N), "Negative values in data passed to `sample_weight`"),
        (np.ones(N - 1), r"sample_weight.shape == \(39,\), expected \(40,\)"),
        (np.full(N, np.nan), "Input sample_weight contains NaN"),
        (np.full(N, 1e300), r"sample_weight has the value 1e\+300; weights must be"),
    ],
)
def test_weights_that_are_none(weights, match):
    with pytest.raises(ValueError, match=match):
        reweighter().fit(X, Y, weights)


@pytest.mark.parametrize("strength", [0, 1.0, "auto"])
@pytest.mark.parametrize(
    ("estimator", "match"),
    [
        (LogisticRegression(), "needs samples of at least 2 classes.* only one class"),
        (
            ConceptBottleneckClassifier(),
            "y needs at least 2 classes, .* only one class",
        ),
    ],
)
def test_one_class(estimator, match, strength):
    with pytest.raises(ValueError, match=match):
        reweighter(estimator, strength=strength).fit(X, np.zeros(N, int))


# --- A fit that fails -----------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"X": np.full((N, 2), np.nan), "y": Y},
        {"X": X, "y": Y[1:]},
        {"X": X, "y": Y, "is_clean": Y + 1},
        {"X": X[:, :3], "y": Y, **BESIDE},
        {"X": X[:, :3], "y": np.zeros(N, int)},
    ],
)
def test_a_failed_fit_changes_nothing(arguments):
    model = reweighter()
    with pytest.raises(ValueError):
        model.fit(**arguments)
    with pytest.raises(NotFittedError):
        model.predict(X)
    before = model.fit(X, Y).predict_proba(X)
    with pytest.raises(ValueError):
        model.fit(**arguments)
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_no_rows_are_told_as_such():
    with pytest.raises(
        ValueError, match=r"X has 0 sample\(s\), but at least 1 is need"
    ):
        reweighter().fit(X[:0], [])
