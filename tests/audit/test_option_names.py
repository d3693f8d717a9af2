"""Messages of estimators, as users of the commands read them."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._audit.option_names import in_options

# What no message of a command may say: names of arguments, and of Python's libraries.
PYTHON = r"max_iter|tol=|set_config|GridSearchCV|method=|'auto'|concept_C|drop_concepts"


def data(n_values=3):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 6))
    concepts = pd.DataFrame({"c": [f"v{k % n_values}" for k in range(90)]})
    return X, (X[:, 0] > 0).astype(int), concepts


def said_by(call):
    """Return the warnings and the error of a call, in one text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
            error = ""
        except ValueError as refused:
            error = str(refused)
    return [*(str(warning.message) for warning in caught), error]


def unconverged():
    X, y, concepts = data()
    ConceptBottleneckClassifier(max_iter=1).fit(X, y, concepts=concepts)


def unpenalised():
    X, y, concepts = data()
    ConceptBottleneckClassifier(C=1e12, concept_C=1e12).fit(X, y, concepts=concepts)


def too_large(**options):
    X, y, concepts = data()
    with config_context(working_memory=1e-3):
        ConceptBottleneckClassifier(**options).fit(X, y, concepts=concepts)


def influence_that_is_too_large():
    X, y, concepts = data()
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    with config_context(working_memory=1e-3):
        explainer.fit(X, y, concepts=concepts)
        explainer.suspect_labels()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (unconverged, r"Newton steps.* of an optimum\. Give --C and --concept-C"),
        (
            lambda: too_large(C="auto"),
            r"^--C auto needs .* Give --C and --concept",
        ),
        (
            lambda: too_large(concept_C="auto"),
            r"^--concept-C auto needs .* fewer in",
        ),
        (
            influence_that_is_too_large,
            r"factorised Hessians .* Leave out a concept",
        ),
    ],
)
def test_advice_is_about_options(call, expected):
    texts = [in_options(text) for text in said_by(call)]
    assert any(re.search(expected, text) for text in texts), texts
    assert not [text for text in texts if re.search(PYTHON, text)]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("set concept_C or C to a number", "give --concept-C or --C a number"),
        ("Use long_text='mean' to embed", "Use --long-text mean to embed"),
        ("by a constant, or lower tol=1e-08.", "by a constant."),
        (
            "method='newton' needs 9 MiB. Use method='leverage', which does not, or "
            "allow more by sklearn.set_config(working_memory=...).",
            "--method newton needs 9 MiB. Use --method leverage, which does not.",
        ),
        (
            "device='gpu' is not known; use 'cpu', 'cuda'",
            "--device 'gpu' is not known; use 'cpu', 'cuda'",
        ),
        (
            "device='cuda' was asked for, but PyTorch sees no CUDA device; use "
            "device='cpu' or 'auto', or install a CUDA build of PyTorch.",
            "--device 'cuda' was asked for, but PyTorch sees no CUDA device; use "
            "--device cpu or auto, or install a CUDA build of PyTorch.",
        ),
        ("nothing to change here", "nothing to change here"),
    ],
)
def test_single_words(message, expected):
    assert in_options(message) == expected
