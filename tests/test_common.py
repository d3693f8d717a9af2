"""scikit-learn's own checks: what is expected to fail is named, with its reason."""

import warnings

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils.estimator_checks import (
    check_all_zero_sample_weights_error,
    check_dataframe_column_names_consistency,
    check_get_feature_names_out_error,
    check_global_output_transform_pandas,
    check_global_set_output_transform_polars,
    check_param_validation,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_set_output_transform_polars,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
    parametrize_with_checks,
)

from skclif import (
    ConceptAnnotator,
    ConceptBottleneckClassifier,
    ConceptEncoder,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
    SentenceEmbedder,
)

from .annotate.words import PROMPTS, WordCounts

BOTTLENECKS = [
    ConceptBottleneckClassifier(),
    ConceptBottleneckClassifier(training="independent"),
    ConceptBottleneckClassifier(training="sequential"),
    ConceptBottleneckClassifier(class_weight="balanced", C=0.1),
    ConceptBottleneckClassifier(C="auto", concept_C="auto"),
    ConceptBottleneckClassifier(bottleneck="logit"),
    ConceptBottleneckClassifier(label_head="ordinal"),
    ConceptBottleneckClassifier(bottleneck="hard", training="independent"),
    ConceptBottleneckClassifier(training="joint"),
]
REWEIGHTERS = [
    InfluenceReweighter(inner, strength=strength)
    for inner in (ConceptBottleneckClassifier(), LogisticRegression(), GaussianNB())
    for strength in ("auto", 1.0, 0)
]
# Each estimator inside once, and each strength once; the other pairs take a minute.
USUAL = [*REWEIGHTERS[::4]]
NUMERIC = [
    *BOTTLENECKS,
    *USUAL,
    ConceptInfluenceExplainer(ConceptBottleneckClassifier()),
    ConceptInfluenceExplainer(ConceptBottleneckClassifier(), method="first_order"),
    ConceptInfluenceExplainer(LogisticRegression()),
    ConceptInfluenceExplainer(LogisticRegression(fit_intercept=False)),
    ConceptInfluenceExplainer(
        # A scaler would not hear of sample weights, which the checks demand.
        make_pipeline(Normalizer(), ConceptBottleneckClassifier())
    ),
]
# A text transformer's tags leave out every check but cloning; tests/annotate,
# tests/text/test_embedder.py and test_finetune.py hold its contract.
ANNOTATOR = ConceptAnnotator(PROMPTS, embedder=WordCounts())
PUBLIC = [*NUMERIC, SentenceEmbedder(), ConceptEncoder(), ANNOTATOR]
OTHERS = [estimator for estimator in REWEIGHTERS if estimator not in USUAL]
LEFT_OUT = [
    check_all_zero_sample_weights_error,
    check_dataframe_column_names_consistency,
    check_param_validation,
]
LEFT_OUT_OF_TRANSFORMERS = [
    check_get_feature_names_out_error,
    check_global_output_transform_pandas,
    check_global_set_output_transform_polars,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_set_output_transform_polars,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
]


def _checks_left_out(estimator):
    if hasattr(estimator, "transform"):
        return LEFT_OUT + LEFT_OUT_OF_TRANSFORMERS
    return LEFT_OUT


def _refused(estimator):
    """Return the checks that give an estimator what it refuses, with the reason."""
    if getattr(estimator, "label_head", "softmax") == "softmax":
        return {}
    return {"check_classifiers_classes": "words need label_order, which is refused"}


@parametrize_with_checks(PUBLIC, expected_failed_checks=_refused)
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.full
@parametrize_with_checks(OTHERS)
def test_estimator_checks_of_other_reweighters(estimator, check):
    check(estimator)


def _left_out():
    for estimator in NUMERIC + OTHERS:
        for check in _checks_left_out(estimator):
            name = f"{estimator!r}-{check.__name__}"
            marks = [pytest.mark.full] if estimator in OTHERS else []
            yield pytest.param(estimator, check, id=name, marks=marks)


@pytest.mark.parametrize(("estimator", "check"), [*_left_out()])
def test_checks_that_check_estimator_leaves_out(estimator, check):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(type(estimator).__name__, estimator)
    messages = [str(warning.message) for warning in caught]
    if check is check_dataframe_column_names_consistency:
        assert not any("fitted without feature names" in m for m in messages)


@pytest.mark.parametrize(
    "estimator", [SentenceEmbedder(), ConceptEncoder(), ANNOTATOR], ids=repr
)
def test_parameters_of_text_estimators_are_validated(estimator):
    check_param_validation(type(estimator).__name__, estimator)
