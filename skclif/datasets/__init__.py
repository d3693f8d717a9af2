"""Reviews with annotated concepts: real ones, generated ones and your own."""

from ._aggregate import aggregate_annotations
from ._cebab import fetch_cebab
from ._generated import make_concept_reviews
from ._patient_feedback import fetch_patient_feedback
from ._reviews import load_reviews

__all__ = [
    "aggregate_annotations",
    "fetch_cebab",
    "fetch_patient_feedback",
    "load_reviews",
    "make_concept_reviews",
]
