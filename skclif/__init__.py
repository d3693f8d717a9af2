"""Text classifiers that people can audit and repair.

The public names are loaded on first use, so that ``import skclif`` stays cheap: it
imports neither torch nor sentence-transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import datasets, exceptions, metrics
    from ._bottleneck import ConceptBottleneckClassifier
    from ._display import ValidationDisplay
    from ._edit_results import EditResult
    from ._embedding import SentenceEmbedder
    from ._explainer import ConceptInfluenceExplainer
    from ._model_files import load_model, save_model
    from ._replay import ReplayResult, replay
    from ._results import InfluenceResult
    from ._reweighting import InfluenceReweighter
    from ._suggestion_results import EditSuggestions
    from ._trail import AuditTrail
    from ._validation import ValidationResult

__version__ = "0.1.0.dev0"

__all__ = [
    "AuditTrail",
    "ConceptBottleneckClassifier",
    "ConceptInfluenceExplainer",
    "EditResult",
    "EditSuggestions",
    "InfluenceResult",
    "InfluenceReweighter",
    "ReplayResult",
    "SentenceEmbedder",
    "ValidationDisplay",
    "ValidationResult",
    "datasets",
    "exceptions",
    "load_model",
    "metrics",
    "replay",
    "save_model",
]

_HOMES = {
    "AuditTrail": "_trail",
    "ConceptBottleneckClassifier": "_bottleneck",
    "ConceptInfluenceExplainer": "_explainer",
    "EditResult": "_edit_results",
    "EditSuggestions": "_suggestion_results",
    "InfluenceResult": "_results",
    "InfluenceReweighter": "_reweighting",
    "ReplayResult": "_replay",
    "SentenceEmbedder": "_embedding",
    "ValidationDisplay": "_display",
    "ValidationResult": "_validation",
    "load_model": "_model_files",
    "replay": "_replay",
    "save_model": "_model_files",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    if name in __all__:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
