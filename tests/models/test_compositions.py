"""Every composition that people write works, or is refused by name with the remedy.

The tables of docs/reweighting.rst have the same rows, by the same names and outcomes.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import RFE, SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
)
from skclif.datasets import make_concept_reviews

N = 160
DOCS = Path(__file__).parents[2] / "docs" / "reweighting.rst"

_REVIEWS = make_concept_reviews(N, random_state=0)
_RNG = np.random.default_rng(0)
CONCEPTS = _REVIEWS.concepts
CLEAN = np.arange(N) % 3 == 0
WRONG = ~CLEAN & (_RNG.random(N) < 0.25)
RIGHT = np.where(np.asarray(_REVIEWS.target) > 3, "good", "bad")
Y = np.where(WRONG, np.where(RIGHT == "good", "bad", "good"), RIGHT)
TEXTS = _REVIEWS.data.tolist()
# What people read in the texts: features that tell the classes.
VECTORS = pd.get_dummies(CONCEPTS).to_numpy(float)
GAPS = np.where(_RNG.random(VECTORS.shape) < 0.05, np.nan, VECTORS)
FRAME = pd.DataFrame(
    {
        "text": TEXTS,
        "length": [float(len(text)) for text in TEXTS],
        "city": _RNG.choice(["Rome", "Oslo"], N),
    }
)
FRAME_GAPS = FRAME.assign(length=FRAME["length"].mask(_RNG.random(N) < 0.1))


def RW(estimator, **params):
    """Return a reweighter whose weights surely differ from the given ones."""
    params = {"strength": 2.0, "n_rounds": 1, "cv": 3, "random_state": 0} | params
    return InfluenceReweighter(estimator, **params)


def LR(**params):
    return LogisticRegression(**params)


def asked(classifier):
    """Return a classifier that asks for weights, where asking is possible."""
    if sklearn.get_config()["enable_metadata_routing"]:
        classifier.set_fit_request(sample_weight=True)
    return classifier


def tfidf(*steps):
    return make_pipeline(TfidfVectorizer(), *steps)


def columns(*, sparse=True):
    encoder = OneHotEncoder(sparse_output=sparse)
    return ColumnTransformer(
        [
            ("text", TfidfVectorizer(), "text"),
            ("number", SimpleImputer(), ["length"]),
            ("category", encoder, ["city"]),
        ]
    )


def numbers():
    """Return columns that stay as they are, missing values too."""
    encoder = OneHotEncoder(sparse_output=False)
    return ColumnTransformer(
        [("n", "passthrough", ["length"]), ("c", encoder, ["city"])]
    )


def members(wrap=lambda e: e):
    return [("a", wrap(LR())), ("b", wrap(GaussianNB()))]


def several(y):
    """Return two columns of labels, the second one wrong in the same rows."""
    food = (CONCEPTS["food"] == "Positive") != WRONG
    return np.column_stack([y, np.where(food, "good", "bad")])


def chained(y):
    """Return two columns of numbers, as the first is a feature for the second."""
    return (several(y) == "good").astype(int)


def unlabelled(y):
    """Return numbers, -1 for some."""
    return np.where(np.arange(N) % 7 == 0, -1, (y == "good").astype(int))


STRENGTHS = {"strength": [1.0, 2.0]}
STEP_STRENGTHS = {"influencereweighter__strength": [1.0, 2.0]}


@dataclass(frozen=True)
class Row:
    """A composition, and what comes of it with metadata routing off and on.

    "yes": fits, and every reweighter inside hears of the clean rows. "asked": the same,
    where what is inside asks for sample_weight. "without": fits, but cannot be told of
    clean rows. "no": refused with this message.
    """

    make: Callable[[], Any]
    X: Any
    off: str = "yes"
    on: str = "yes"
    no: str = ""
    no_on: str = ""
    asking: Callable[[], Any] | None = None
    y: Callable[[np.ndarray], np.ndarray] = np.asarray
    weighs: bool = True  # whether wrong labels surely lose weight


def of_classifier(make, X=VECTORS):
    return Row(lambda: RW(make()), X)


WORKING = {
    # --- Around a pipeline, and in one ---
    "RW(tfidf | LR)": Row(lambda: RW(tfidf(LR())), TEXTS),
    "RW(tfidf | bottleneck)": Row(
        lambda: RW(tfidf(ConceptBottleneckClassifier())), TEXTS
    ),
    "RW(tfidf | LinearSVC)": Row(lambda: RW(tfidf(LinearSVC())), TEXTS),
    "RW(tfidf | MultinomialNB)": Row(lambda: RW(tfidf(MultinomialNB())), TEXTS),
    "RW(tfidf | LR balanced)": Row(
        lambda: RW(tfidf(LR(class_weight="balanced"))), TEXTS
    ),
    "tfidf | RW(LR)": Row(lambda: tfidf(RW(LR())), TEXTS),
    "tfidf | RW(LinearSVC)": Row(lambda: tfidf(RW(LinearSVC())), TEXTS),
    "tfidf | RW(bottleneck)": Row(
        lambda: tfidf(RW(ConceptBottleneckClassifier())), TEXTS
    ),
    "RW(tfidf | SelectKBest | LR)": Row(
        lambda: RW(tfidf(SelectKBest(k=30), LR())), TEXTS
    ),
    "tfidf | SelectKBest | RW(LR)": Row(
        lambda: tfidf(SelectKBest(k=30), RW(LR())), TEXTS
    ),
    "RW(FeatureUnion | LR)": Row(
        lambda: RW(
            make_pipeline(
                FeatureUnion([("a", TfidfVectorizer()), ("b", CountVectorizer())]), LR()
            )
        ),
        TEXTS,
    ),
    "RW(ColumnTransformer | LR)": Row(
        lambda: RW(make_pipeline(columns(), StandardScaler(with_mean=False), LR())),
        FRAME_GAPS,
        weighs=False,
    ),
    "RW(imputer | LR)": Row(lambda: RW(make_pipeline(SimpleImputer(), LR())), GAPS),
    "RW(ColumnTransformer | HistGradientBoosting)": Row(
        lambda: RW(
            make_pipeline(numbers(), HistGradientBoostingClassifier(max_iter=3))
        ),
        FRAME_GAPS,
        weighs=False,
    ),
    'RW(scaler | LR), set_output("pandas")': Row(
        lambda: RW(
            make_pipeline(StandardScaler(), LR()).set_output(transform="pandas")
        ),
        pd.DataFrame(VECTORS).add_prefix("x"),
    ),
    # --- Classifiers ---
    "RW(HistGradientBoosting)": of_classifier(
        lambda: HistGradientBoostingClassifier(max_iter=3), GAPS
    ),
    "RW(GradientBoosting)": of_classifier(
        lambda: GradientBoostingClassifier(n_estimators=3, random_state=0)
    ),
    "RW(RandomForest)": of_classifier(
        lambda: RandomForestClassifier(5, max_depth=3, random_state=0)
    ),
    "RW(ExtraTrees)": of_classifier(
        lambda: ExtraTreesClassifier(5, max_depth=3, random_state=0)
    ),
    "RW(DecisionTree)": of_classifier(
        lambda: DecisionTreeClassifier(max_depth=2, random_state=0)
    ),
    "RW(Bagging)": of_classifier(lambda: BaggingClassifier(LR(), 3, random_state=0)),
    "RW(GaussianNB)": of_classifier(GaussianNB),
    "RW(SVC)": of_classifier(SVC),
    "RW(SGD)": of_classifier(lambda: SGDClassifier(random_state=0)),
    "RW(Ridge)": of_classifier(RidgeClassifier),
    "RW(MLP)": of_classifier(lambda: MLPClassifier((4,), tol=0.01, random_state=0)),
    "RW(Dummy)": of_classifier(DummyClassifier),
    "RW(AdaBoost)": Row(
        lambda: RW(AdaBoostClassifier(n_estimators=3, random_state=0)),
        VECTORS,
        on="no",
        no_on="AdaBoostClassifier does not work with metadata routing. Turn it off for",
    ),
    "RW(Voting)": Row(
        lambda: RW(VotingClassifier(members(), voting="soft")),
        VECTORS,
        on="asked",
        asking=lambda: RW(VotingClassifier(members(asked), voting="soft")),
        no_on="VotingClassifier hands the learned weights on only to what asks for "
        r"them, and 'a', a LogisticRegression, does not. Call set_fit_request\(sample",
    ),
    "RW(Stacking)": Row(
        lambda: RW(StackingClassifier(members(), cv=2)),
        VECTORS,
        on="asked",
        asking=lambda: RW(StackingClassifier(members(asked), asked(LR()), cv=2)),
        no_on="StackingClassifier hands the learned weights on only to what asks for ",
    ),
    "RW(CalibratedClassifierCV)": Row(
        lambda: RW(CalibratedClassifierCV(LinearSVC(), cv=2)),
        VECTORS,
        on="asked",
        asking=lambda: RW(CalibratedClassifierCV(asked(LinearSVC()), cv=2)),
        no_on="CalibratedClassifierCV hands the learned weights on only to what asks "
        "for them, and 'estimator', a LinearSVC, does not. Call set_fit_request",
    ),
    "RW(RW(LR))": Row(
        lambda: RW(RW(LR())),
        VECTORS,
        on="asked",
        asking=lambda: RW(RW(asked(LR())).set_fit_request(sample_weight=True)),
        no_on="InfluenceReweighter hands the learned weights on only to what asks",
    ),
    # --- In searches and other estimators ---
    "GridSearchCV(RW(tfidf | LR))": Row(
        lambda: GridSearchCV(RW(tfidf(LR())), STRENGTHS, cv=2), TEXTS
    ),
    "GridSearchCV(tfidf | RW(LR))": Row(
        lambda: GridSearchCV(tfidf(RW(LR())), STEP_STRENGTHS, cv=2), TEXTS
    ),
    "RandomizedSearchCV(RW(tfidf | LR))": Row(
        lambda: RandomizedSearchCV(
            RW(tfidf(LR())), STRENGTHS, n_iter=2, cv=2, random_state=0
        ),
        TEXTS,
    ),
    "HalvingRandomSearchCV(RW(tfidf | LR))": Row(
        lambda: HalvingRandomSearchCV(
            RW(tfidf(LR())), STRENGTHS, cv=2, random_state=0, min_resources=80
        ),
        TEXTS,
    ),
    "CalibratedClassifierCV(RW(LR))": Row(
        lambda: CalibratedClassifierCV(RW(LR()), cv=2), VECTORS
    ),
    "RFE(RW(LR))": Row(
        lambda: RFE(
            RW(LR()), n_features_to_select=8, importance_getter="estimator_.coef_"
        ),
        VECTORS,
    ),
    "MultiOutputClassifier(RW(LR))": Row(
        lambda: MultiOutputClassifier(RW(LR())), VECTORS, y=several, weighs=False
    ),
    "ClassifierChain(RW(LR))": Row(
        lambda: ClassifierChain(RW(LR())),
        VECTORS,
        off="without",
        y=chained,
        weighs=False,
    ),
    "OneVsRest(RW(tfidf | LR))": Row(
        lambda: OneVsRestClassifier(RW(tfidf(LR()))), TEXTS, off="without"
    ),
    "OneVsOne(RW(LR))": Row(
        lambda: OneVsOneClassifier(RW(LR())), VECTORS, off="without"
    ),
    "Voting(RW)": Row(
        lambda: VotingClassifier(members(RW)), VECTORS, off="without", weighs=False
    ),
    "Bagging(RW(LR))": Row(
        lambda: BaggingClassifier(RW(LR()), 2, random_state=0),
        VECTORS,
        off="without",
        weighs=False,
    ),
    "TunedThresholdClassifierCV(RW(LR))": Row(
        lambda: TunedThresholdClassifierCV(RW(LR()), cv=2, scoring="accuracy"),
        VECTORS,
        off="without",
    ),
    "Stacking(RW)": Row(
        lambda: StackingClassifier(members(RW), cv=2),
        VECTORS,
        off="without",
        on="without",
    ),
    "SelfTraining(RW(LR))": Row(
        lambda: SelfTrainingClassifier(RW(LR())),
        VECTORS,
        off="without",
        on="without",
        y=unlabelled,
    ),
}

LEARNED = "but the model that weights are learned from needs numbers. Put a step"
SPARSE = "takes no sparse features, .* Put TruncatedSVD"
REFUSED = {
    "RW(GridSearchCV(LR))": Row(
        lambda: RW(GridSearchCV(LR(), {"C": [0.1, 1]}, cv=2)),
        VECTORS,
        no="estimator ends in a search, GridSearchCV, which would choose by its score "
        "on rows whose labels may be wrong. Put the search around the reweighter",
    ),
    "RW(tfidf | GridSearchCV(LR))": Row(
        lambda: RW(tfidf(GridSearchCV(LR(), {"C": [0.1, 1]}, cv=2))),
        TEXTS,
        no=r"a search, GridSearchCV, .* GridSearchCV\(InfluenceReweighter\(...\), ..., "
        r"scoring=make_clean_scorer\(...\)\), with 'estimator__' in front",
    ),
    "RW(Voting(tfidf | LR))": Row(
        lambda: RW(VotingClassifier([("a", tfidf(LR()))])),
        TEXTS,
        no="VotingClassifier cannot hand weights on to 'a', a Pipeline. Put the steps "
        r"that make features before it: make_pipeline\(TfidfVectorizer\(\), VotingC",
        no_on="'a', a Pipeline that ends in LogisticRegression, does not. Call set_fit",
    ),
    "RW(CalibratedClassifierCV(tfidf | LR))": Row(
        lambda: RW(CalibratedClassifierCV(tfidf(LR()), cv=2)),
        TEXTS,
        no="CalibratedClassifierCV cannot hand weights on to 'estimator', a Pipeline",
        no_on="'estimator', a Pipeline that ends in LogisticRegression, does not",
    ),
    "RW(Voting with KNeighbors)": Row(
        lambda: RW(VotingClassifier([("a", LR()), ("b", KNeighborsClassifier())])),
        VECTORS,
        no="VotingClassifier hands weights on to 'b', but KNeighborsClassifier takes no"
        " sample_weight in fit; leave it out",
        no_on="'a', a LogisticRegression, does not",
    ),
    "RW(OneVsRest(LR))": Row(
        lambda: RW(OneVsRestClassifier(LR())),
        VECTORS,
        no="but OneVsRestClassifier does not; put the reweighter inside: OneVsRestClas"
        r"sifier\(InfluenceReweighter\(...\)\)",
    ),
    "RW(OneVsOne(LR))": Row(
        lambda: RW(OneVsOneClassifier(LR())),
        VECTORS,
        no="but OneVsOneClassifier does not; put the reweighter inside",
    ),
    "RW(MultiOutputClassifier(LR))": Row(
        lambda: RW(MultiOutputClassifier(LR())),
        VECTORS,
        no="MultiOutputClassifier, which predicts several labels, but weights are lear"
        "ned for one. Put the reweighter inside",
    ),
    "RW(ClassifierChain(LR))": Row(
        lambda: RW(ClassifierChain(LR())),
        VECTORS,
        no="but ClassifierChain does not; put the reweighter inside",
    ),
    "RW(TunedThresholdClassifierCV(LR))": Row(
        lambda: RW(TunedThresholdClassifierCV(LR())),
        VECTORS,
        no="but TunedThresholdClassifierCV does not; put the reweighter inside",
    ),
    "RW(SelfTraining(LR))": Row(
        lambda: RW(SelfTrainingClassifier(LR())),
        VECTORS,
        no="but SelfTrainingClassifier does not; put the reweighter inside",
    ),
    "RW(KNeighbors)": Row(
        lambda: RW(KNeighborsClassifier()),
        VECTORS,
        no="but KNeighborsClassifier does not; use a classifier that does",
    ),
    "RW(tfidf | HistGradientBoosting)": Row(
        lambda: RW(tfidf(HistGradientBoostingClassifier())),
        TEXTS,
        no=f"HistGradientBoostingClassifier {SPARSE}",
    ),
    "RW(tfidf | GaussianNB)": Row(
        lambda: RW(tfidf(GaussianNB())), TEXTS, no=f"GaussianNB {SPARSE}"
    ),
    "RW(LR), texts": Row(lambda: RW(LR()), TEXTS, no=f"X holds texts, {LEARNED}"),
    "RW(LR), a column of texts": Row(
        lambda: RW(LR()), FRAME, no=f"The column 'text' of X holds texts, {LEARNED}"
    ),
    "RW(tfidf | LR), a data frame": Row(
        lambda: RW(tfidf(LR())),
        FRAME[["text"]],
        no=r"X has shape \(160, 1\), but TfidfVectorizer reads one column of texts. "
        r"Pass that column, for example X\['text'\], or put a ColumnTransformer",
    ),
    "tfidf | RW(LR), a data frame": Row(
        lambda: tfidf(RW(LR())),
        FRAME[["text"]],
        no="y has 160 rows, but X has 1: inconsistent numbers of samples",
    ),
    "RW(LR), missing values": Row(
        lambda: RW(LR()),
        GAPS,
        no="Input X contains NaN.\nLogisticRegression does not accept missing values "
        "(.|\n)*imputer",
    ),
    "RW(TransformedTargetRegressor)": Row(
        lambda: RW(TransformedTargetRegressor(LinearRegression())),
        VECTORS,
        no="estimator must be a classifier, .*, got TransformedTargetRegressor",
    ),
    "RW(tfidf | passthrough)": Row(
        lambda: RW(tfidf("passthrough")),
        TEXTS,
        no="must be a classifier, or a pipeline that ends in one, got 'passthrough'",
    ),
}

EXPLAINED = {
    "EX(tfidf | LR)": lambda: (tfidf(LR()), {}),
    "EX(tfidf | bottleneck)": lambda: (
        tfidf(ConceptBottleneckClassifier()),
        {"concepts": CONCEPTS},
    ),
    "EX(RW(tfidf | LR).estimator_)": lambda: _of_reweighter(asked(LR())),
    "EX(RW(tfidf | bottleneck).estimator_)": lambda: _of_reweighter(
        asked(ConceptBottleneckClassifier()), concepts=CONCEPTS
    ),
    "EX(GridSearchCV(tfidf | LR).best_estimator_)": lambda: (
        _searched().best_estimator_,
        {},
    ),
}
UNEXPLAINED = {
    "EX(RW(tfidf | LR))": (
        lambda: RW(tfidf(LR())),
        "got InfluenceReweighter at the end. Fit it, and explain its estimator_ with "
        "its sample_weight_ as sample_weight",
    ),
    "EX(LR), texts": (LR, "X holds texts, but LogisticRegression needs"),
    "EX(GridSearchCV(tfidf | LR))": (
        lambda: _searched(),
        "got GridSearchCV at the end. Fit the search, and explain its best_estimator_",
    ),
}


def _of_reweighter(classifier, **given):
    fitted = RW(tfidf(classifier)).fit(TEXTS, Y, is_clean=CLEAN, **given)
    return fitted.estimator_, {"sample_weight": fitted.sample_weight_, **given}


def _searched():
    grid = {"logisticregression__C": [0.1, 1]}
    return GridSearchCV(tfidf(LR()), grid, cv=2).fit(TEXTS, Y)


# --- Helpers --------------------------------------------------------------------------


@pytest.fixture(params=["off", "on"])
def routing(request):
    with sklearn.config_context(enable_metadata_routing=request.param == "on"):
        yield request.param


@pytest.fixture
def heard(monkeypatch):
    """What `is_clean` every reweighter was given, in order."""
    given, fit = [], InfluenceReweighter.fit

    @wraps(fit)  # its signature is read by metadata routing
    def recorded(self, *args, **params):
        given.append(params.get("is_clean"))
        return fit(self, *args, **params)

    monkeypatch.setattr(InfluenceReweighter, "fit", recorded)
    return given


def prefixed(estimator, routing, **params):
    """Return parameters of `fit` as people have to write them."""
    inner = getattr(estimator, "estimator", estimator)
    if routing == "on" or not isinstance(inner, Pipeline):
        return params
    if isinstance(estimator, InfluenceReweighter):  # knows which step they are for
        return params
    return {f"{inner.steps[-1][0]}__{name}": v for name, v in params.items()}


def reweighters(fitted):
    """Return every fitted reweighter inside, however deep."""
    if isinstance(fitted, InfluenceReweighter):
        return [fitted]
    if isinstance(fitted, Pipeline):
        return reweighters(fitted[-1])
    for name in ("estimators_", "calibrated_classifiers_"):
        if hasattr(fitted, name):
            return [r for e in getattr(fitted, name) for r in reweighters(e)]
    for name in ("best_estimator_", "estimator_", "estimator"):
        if hasattr(fitted, name):
            return reweighters(getattr(fitted, name))
    return []


def outcome(row, routing):
    return row.on if routing == "on" else row.off


def check_refusal(row, routing, estimator):
    match = (row.no_on or row.no) if routing == "on" else row.no
    params = prefixed(estimator, routing, is_clean=CLEAN)
    with pytest.raises((TypeError, ValueError), match=match) as error:
        estimator.fit(row.X, row.y(Y), **params)
    assert len(str(error.value)) < 1000  # no data


def check_weighing(found):
    """Wrong labels have lost weight against right ones."""
    weights = found.sample_weight_
    if len(weights) == N:  # not in a part of the rows
        assert weights[WRONG].mean() < 0.9 * weights[~WRONG & ~CLEAN].mean()


# --- The table ------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORKING)
def test_what_works(name, routing, heard):
    row = WORKING[name]
    how, estimator, y = outcome(row, routing), row.make(), row.y(Y)
    if how in ("no", "asked"):
        check_refusal(row, routing, estimator)
        heard.clear()
    if how == "no":
        return
    if how == "asked":
        estimator = row.asking()
    given = {} if how == "without" else {"is_clean": CLEAN}
    fitted = estimator.fit(row.X, y, **prefixed(estimator, routing, **given))
    predicted = fitted.predict(row.X)
    assert predicted.shape == y.shape and set(np.ravel(predicted)) <= set(np.ravel(y))
    assert heard
    # A stack within a stack of weights: the inner one hears of weights only.
    outer = heard[::2] if name == "RW(RW(LR))" else heard
    assert all((own is None) == (how == "without") for own in outer)
    inside = reweighters(fitted)
    assert inside
    for found in inside:
        assert np.ptp(found.sample_weight_) > 0.1
        if row.weighs:
            check_weighing(found)


@pytest.mark.parametrize(
    "name", [n for n, row in WORKING.items() if n.startswith("RW(")]
)
def test_the_classifier_is_fitted_with_the_weights(name, routing):
    """Its predictions differ from those without them."""
    row = WORKING[name]
    how = outcome(row, routing)
    if how == "no":
        return
    estimator = row.asking() if how == "asked" else row.make()
    scores = []
    for strength in (0, 2.0):
        fitted = estimator.set_params(strength=strength)
        fitted.fit(row.X, Y, is_clean=CLEAN)
        method = getattr(fitted, "predict_proba", None) or fitted.decision_function
        scores.append(method(row.X))
    assert scores[0].shape == scores[1].shape
    assert not np.allclose(*scores, atol=1e-4)


@pytest.mark.parametrize(
    "name", [n for n, row in WORKING.items() if "without" in (row.off, row.on)]
)
def test_what_cannot_be_told_of_clean_rows_says_so(name, routing):
    """Most do so themselves: with routing off, how to turn it on."""
    row = WORKING[name]
    if outcome(row, routing) != "without":
        return
    match = (
        "only supported if enable_metadata_routing=True|unexpected .*'is_clean'|"
        "is_clean has 160 rows, but X has 137"
    )
    with pytest.raises((TypeError, ValueError), match=match):
        row.make().fit(row.X, row.y(Y), is_clean=CLEAN)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name, routing):
    row = REFUSED[name]
    check_refusal(row, routing, row.make())


# --- Functions of scikit-learn --------------------------------------------------------

FUNCTIONS = {
    "cross_validate(RW)": lambda e, params: cross_validate(
        e, TEXTS, Y, cv=2, params=params
    )["test_score"],
    "cross_val_predict(RW)": lambda e, params: cross_val_predict(
        e, TEXTS, Y, cv=2, params=params, method="predict_proba"
    ),
    "learning_curve(RW)": lambda e, params: learning_curve(
        e, TEXTS, Y, cv=2, params=params, train_sizes=[0.6, 1.0], shuffle=True
    )[2],
}


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_slice_clean_rows_with_the_rows(name, inside, routing, heard):
    estimator = RW(tfidf(LR())) if inside else tfidf(RW(LR()))
    result = FUNCTIONS[name](estimator, prefixed(estimator, routing, is_clean=CLEAN))
    assert np.isfinite(result).all()
    shapes = {"cross_validate(RW)": (2,), "cross_val_predict(RW)": (N, 2)}
    assert result.shape == shapes.get(name, (2, 2))
    assert len(heard) == (4 if name == "learning_curve(RW)" else 2)
    for own in heard:
        assert len(own) < N
        assert 0.2 < np.mean(own) < 0.5


# --- Annotations and given weights ----------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda c: RW(tfidf(c)),
        lambda c: tfidf(RW(c)),
        lambda c: GridSearchCV(RW(tfidf(c)), STRENGTHS, cv=2),
        lambda c: GridSearchCV(tfidf(RW(c)), STEP_STRENGTHS, cv=2),
    ],
)
def test_annotations_arrive(make, routing):
    estimator = make(ConceptBottleneckClassifier())
    params = prefixed(estimator, routing, is_clean=CLEAN, concepts=CONCEPTS)
    (found,) = reweighters(estimator.fit(TEXTS, Y, **params))
    bottleneck = found.estimator_
    bottleneck = bottleneck[-1] if isinstance(bottleneck, Pipeline) else bottleneck
    assert bottleneck.concept_names_in_.tolist() == CONCEPTS.columns.tolist()


@pytest.mark.parametrize("inside", [True, False])
def test_given_weights_arrive_where_they_are_asked_for(inside, routing):
    def make(wrap=lambda e: e):
        if inside:
            return wrap(RW(tfidf(wrap(LR()))))
        return tfidf(wrap(RW(wrap(LR()))))

    weights = np.where(np.arange(N) % 10 == 0, 0.0, 1.0)
    given = {"is_clean": CLEAN, "sample_weight": weights}
    estimator = make()
    if routing == "on":
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            estimator.fit(TEXTS, Y, **given)
        estimator = make(asked)
    estimator.fit(TEXTS, Y, **prefixed(estimator, routing, **given))
    (found,) = reweighters(estimator)
    np.testing.assert_array_equal(found.sample_weight_ == 0, weights == 0)


def test_pipelines_in_an_ensemble_with_routing():
    """They can be asked there for weights, and a surrogate reads what they read."""
    surrogate = tfidf(LR())
    with sklearn.config_context(enable_metadata_routing=True):
        both = [("a", tfidf(asked(LR()))), ("b", tfidf(asked(LinearSVC())))]
        found = RW(VotingClassifier(both), surrogate=surrogate)
        found.fit(TEXTS, Y, is_clean=CLEAN)
        plain = RW(VotingClassifier(both), strength=0).fit(TEXTS, Y, is_clean=CLEAN)
    check_weighing(found)
    members = [fitted.estimator_.estimators_ for fitted in (found, plain)]
    for one, other in zip(*members, strict=True):
        assert not np.allclose(one[-1].coef_, other[-1].coef_)


def test_what_is_frozen_inside_is_not_asked_for_weights(routing):
    """Only the calibration is fitted then, and it is weighted."""
    frozen = FrozenEstimator(LinearSVC().fit(VECTORS, Y))
    fitted = RW(CalibratedClassifierCV(frozen)).fit(VECTORS, Y, is_clean=CLEAN)
    check_weighing(fitted)


# --- Other containers -----------------------------------------------------------------


def test_polars(routing):
    frame = pytest.importorskip("polars").from_pandas(FRAME)
    estimator = RW(make_pipeline(columns(), StandardScaler(with_mean=False), LR()))
    estimator.fit(frame, Y, is_clean=CLEAN)
    weights, predicted = estimator.sample_weight_, estimator.predict_proba(frame)
    estimator.fit(FRAME, Y, is_clean=CLEAN)
    np.testing.assert_array_equal(weights, estimator.sample_weight_)
    np.testing.assert_allclose(predicted, estimator.predict_proba(FRAME))


def test_arrow():
    """Numbers are read; texts are not by scikit-learn's vectorisers."""
    arrow = pytest.importorskip("pyarrow")
    table = arrow.Table.from_pandas(FRAME)
    estimator = RW(make_pipeline(columns(), LR()))
    with pytest.raises(TypeError, match=r"X is a Table of pyarrow.*X\.to_pandas\(\)"):
        estimator.fit(table, Y, is_clean=CLEAN)
    vectors = pd.DataFrame(VECTORS).add_prefix("x")
    estimator = RW(make_pipeline(StandardScaler(), LR()))
    estimator.fit(arrow.Table.from_pandas(vectors), Y, is_clean=CLEAN)
    weights = estimator.sample_weight_
    estimator.fit(vectors, Y, is_clean=CLEAN)
    np.testing.assert_allclose(weights, estimator.sample_weight_)


def test_two_columns_of_texts():
    frame = pd.DataFrame({"title": TEXTS[::-1], "body": TEXTS})
    both = ColumnTransformer([(c, TfidfVectorizer(), c) for c in frame])
    fitted = RW(make_pipeline(both, LR())).fit(frame, Y, is_clean=CLEAN)
    check_weighing(fitted)
    with pytest.raises(
        ValueError, match=r"X has shape \(160, 2\), but TfidfVectorizer"
    ):
        RW(tfidf(LR())).fit(frame, Y, is_clean=CLEAN)
    with pytest.raises(
        ValueError, match=r"X has shape \(160, 2\), but TfidfVectorizer"
    ):
        ConceptInfluenceExplainer(tfidf(LR())).fit(frame, Y)


# --- Explaining -----------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPLAINED)
def test_what_can_be_explained(name, routing):
    estimator, given = EXPLAINED[name]()
    explainer = asked(ConceptInfluenceExplainer(estimator)).fit(TEXTS, Y, **given)
    totals = explainer.influence(TEXTS[:3], Y[:3]).totals
    assert totals.shape == (3, N)
    assert np.isfinite(totals).all() and np.ptp(totals) > 0
    weights = given.get("sample_weight")
    if weights is not None:
        plain = {k: v for k, v in given.items() if k != "sample_weight"}
        other = ConceptInfluenceExplainer(estimator).fit(TEXTS, Y, **plain)
        assert not np.allclose(other.influence(TEXTS[:3], Y[:3]).totals, totals)


@pytest.mark.parametrize("name", UNEXPLAINED)
def test_what_cannot_be_explained(name, routing):
    make, match = UNEXPLAINED[name]
    with pytest.raises((TypeError, ValueError), match=match):
        ConceptInfluenceExplainer(make()).fit(TEXTS, Y)


# --- The documentation ----------------------------------------------------------------


def documented():
    """Return the outcomes, routing off and on, of every row of the docs' table."""
    text = DOCS.read_text(encoding="utf-8").partition(".. _compositions:")[2]
    table = re.search(r"\.\. list-table::.*?\n\n(?=\w)", text, re.S).group()
    found = {}
    for row in table.split("   * - ")[2:]:
        cells = [" ".join(cell.split()) for cell in row.split("\n     - ")]
        for name in re.findall(r"``(.+?)``", cells[0]):
            found[name] = cells[1:3]
    return found


def test_the_documentation_has_the_same_rows():
    words = {"yes": "yes", "asked": "if asked", "without": "without", "no": "no"}
    expected = {n: [words[row.off], words[row.on]] for n, row in WORKING.items()}
    expected |= {name: ["no", "no"] for name in [*REFUSED, *UNEXPLAINED]}
    expected |= {name: ["yes", "yes"] for name in [*EXPLAINED, *FUNCTIONS]}
    weighted = [name for name in EXPLAINED if name.startswith("EX(RW(")]
    expected |= {name: ["yes", "if asked"] for name in weighted}
    assert documented() == expected
