"""Boxes of estimator diagrams link to the documentation, once somebody says where."""

import re
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
    SentenceEmbedder,
    WordComponents,
)
from skclif._inputs import documentation

ESTIMATORS = [
    SentenceEmbedder(),
    ConceptBottleneckClassifier(),
    ConceptInfluenceExplainer(ConceptBottleneckClassifier()),
    InfluenceReweighter(LogisticRegression()),
]
PAGES = Path(__file__).parents[2] / "docs" / "api.rst"


@pytest.fixture
def published(monkeypatch):
    monkeypatch.setenv("SKCLIF_DOCS", "https://docs.example/skclif/{version}/")
    monkeypatch.setattr(documentation, "__version__", "0.3.1")


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_a_box_links_to_the_page_of_its_class(estimator, published):
    name = type(estimator).__name__
    page = f"https://docs.example/skclif/0.3/generated/skclif.{name}.html"
    assert estimator._get_doc_link() == page
    assert f"\n   {name}\n" in PAGES.read_text()  # where Sphinx makes the page
    assert f'href="{page}"' in estimator._repr_html_()


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_a_linked_box_explains_every_parameter(estimator, published):
    shown = estimator._repr_html_()
    for name in estimator.get_params(deep=False):
        described = (
            rf'class="param-doc-description"[^>]*--doc-link-{name};">\s*{name}: '
        )
        assert re.search(described, shown), name


def test_without_an_address_there_are_no_links(monkeypatch):
    monkeypatch.delenv("SKCLIF_DOCS", raising=False)
    for estimator in ESTIMATORS:
        assert estimator._get_doc_link() == ""
    assert "skclif.SentenceEmbedder.html" not in ESTIMATORS[0]._repr_html_()
    monkeypatch.setattr(documentation, "PUBLISHED", "https://docs.example")
    page = "https://docs.example/generated/skclif.SentenceEmbedder.html"
    assert ESTIMATORS[0]._get_doc_link() == page


def test_versions_in_development_link_to_the_page_in_development(
    published, monkeypatch
):
    monkeypatch.setattr(documentation, "__version__", "0.4.0.dev0")
    assert "/skclif/dev/generated/" in ESTIMATORS[0]._get_doc_link()


def test_parts_without_a_page_have_no_link(published):
    class Own(ConceptBottleneckClassifier):
        __module__ = "mine"

    assert Own()._get_doc_link() == ""
    assert WordComponents()._get_doc_link() == ""


def test_an_address_cannot_leave_its_attribute(monkeypatch):
    monkeypatch.setenv("SKCLIF_DOCS", 'https://docs.example/"><script>{x}')
    link = ESTIMATORS[0]._get_doc_link()
    assert not set('"<>{}') & set(link)
    assert "<script>{x}" not in ESTIMATORS[0]._repr_html_()


def test_what_is_no_address_is_refused(monkeypatch):
    monkeypatch.setenv("SKCLIF_DOCS", "docs/_build/html")
    with pytest.raises(
        ValueError, match="SKCLIF_DOCS='docs/_build/html' must be .* begins with https"
    ):
        ESTIMATORS[0]._repr_html_()
