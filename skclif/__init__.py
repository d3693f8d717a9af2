"""Text classifiers that people can audit and repair.

The public names are loaded on first use, so that ``import skclif`` stays cheap: it
imports neither torch nor sentence-transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__

if TYPE_CHECKING:
    from . import datasets, exceptions, metrics, targets
    from ._annotate.annotator import ConceptAnnotator
    from ._annotate.prompts import read_prompts, write_prompts
    from ._audit.replay import replay
    from ._audit.trail import AuditTrail
    from ._baselines.comparison import compare_baselines
    from ._baselines.pipelines import make_text_pipeline
    from ._explain.drift.report import drift_report
    from ._explain.explainer import ConceptInfluenceExplainer
    from ._models.bottleneck import ConceptBottleneckClassifier
    from ._models.files import load_model, save_model
    from ._models.reweighter import InfluenceReweighter
    from ._results.annotations import AnnotationSuggestions
    from ._results.audit_report import AuditReport
    from ._results.baselines import BaselineComparison
    from ._results.comparison import EditComparison
    from ._results.contributions import ConceptContributions
    from ._results.drift_report import DriftDisplay, DriftReport
    from ._results.edit_display import EditDisplay
    from ._results.edits import EditResult
    from ._results.flip_set import FlipSet
    from ._results.influence import InfluenceResult
    from ._results.influence_display import InfluenceDisplay
    from ._results.replay import ReplayResult
    from ._results.suggestions import EditSuggestions
    from ._results.validation import ValidationDisplay, ValidationResult
    from ._results.word_evidence import WordEvidence
    from ._text.embedder import SentenceEmbedder
    from ._text.finetune import ConceptEncoder

__all__ = [
    "AnnotationSuggestions",
    "AuditReport",
    "AuditTrail",
    "BaselineComparison",
    "ConceptAnnotator",
    "ConceptBottleneckClassifier",
    "ConceptContributions",
    "ConceptEncoder",
    "ConceptInfluenceExplainer",
    "DriftDisplay",
    "DriftReport",
    "EditComparison",
    "EditDisplay",
    "EditResult",
    "EditSuggestions",
    "FlipSet",
    "InfluenceDisplay",
    "InfluenceResult",
    "InfluenceReweighter",
    "ReplayResult",
    "SentenceEmbedder",
    "ValidationDisplay",
    "ValidationResult",
    "WordEvidence",
    "compare_baselines",
    "datasets",
    "drift_report",
    "exceptions",
    "load_model",
    "make_text_pipeline",
    "metrics",
    "read_prompts",
    "replay",
    "save_model",
    "targets",
    "write_prompts",
]

_HOMES = {
    "AnnotationSuggestions": "_results.annotations",
    "AuditReport": "_results.audit_report",
    "AuditTrail": "_audit.trail",
    "BaselineComparison": "_results.baselines",
    "ConceptAnnotator": "_annotate.annotator",
    "ConceptBottleneckClassifier": "_models.bottleneck",
    "ConceptContributions": "_results.contributions",
    "ConceptEncoder": "_text.finetune",
    "ConceptInfluenceExplainer": "_explain.explainer",
    "DriftDisplay": "_results.drift_report",
    "DriftReport": "_results.drift_report",
    "EditComparison": "_results.comparison",
    "EditDisplay": "_results.edit_display",
    "EditResult": "_results.edits",
    "EditSuggestions": "_results.suggestions",
    "FlipSet": "_results.flip_set",
    "InfluenceDisplay": "_results.influence_display",
    "InfluenceResult": "_results.influence",
    "InfluenceReweighter": "_models.reweighter",
    "ReplayResult": "_results.replay",
    "SentenceEmbedder": "_text.embedder",
    "ValidationDisplay": "_results.validation",
    "ValidationResult": "_results.validation",
    "WordEvidence": "_results.word_evidence",
    "compare_baselines": "_baselines.comparison",
    "drift_report": "_explain.drift.report",
    "load_model": "_models.files",
    "make_text_pipeline": "_baselines.pipelines",
    "read_prompts": "_annotate.prompts",
    "replay": "_audit.replay",
    "save_model": "_models.files",
    "write_prompts": "_annotate.prompts",
}

# Parts of results and of text pipelines. Nobody constructs them; pickles name them.
_PARTS = {
    "Agreement": "_results.validation",
    "ColumnsOfKind": "_baselines.features",
    "EditRecord": "_results.edits",
    "HeadRecord": "_results.edits",
    "NewRows": "_explain.drift.rows",
    "PairedChange": "_results.comparison",
    "ReplayStep": "_results.replay",
    "RowGroups": "_explain.drift.arguments",
    "RowsBehindDrift": "_explain.drift.report",
    "SuspectFrame": "_results.suspects",
    "TextFeatures": "_baselines.features",
    "WordComponents": "_baselines.features",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name, _PARTS.get(name))
    if home is not None:
        return getattr(import_module(f".{home}", __name__), name)
    if name in __all__:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
