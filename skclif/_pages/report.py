"""The page of an explainer's audit: the same as that of a folder, without a folder."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from .._audit.environment import versions
from .._audit.explained import accepted, audit_explained, rows_of
from .._audit.findings import Audit
from .._audit.marking import find_marks
from .._audit.revisions import Revision
from .._explain.explainer import ConceptInfluenceExplainer
from .._explain.readable import certain
from .._explain.word_evidence import WordReader
from .._inputs.training_rows import TrainingRows
from .._results.audit_report import AuditReport
from .._results.words import how_many
from .._version import __version__
from .audit_page import audit_html

Rows: TypeAlias = tuple[dict[str, np.ndarray], TrainingRows]


def make_report(
    explainer: ConceptInfluenceExplainer,
    train: Rows,
    held_out: Rows,
    options: dict[str, Any],
    reader: WordReader | None = None,
    **settings: Any,
) -> AuditReport:
    """Return the report of an explainer of features.

    Parameters
    ----------
    explainer : ConceptInfluenceExplainer
    train, held_out : (dict of str to ndarray, TrainingRows)
        Texts by column, and the rows as the model codes them.
    options : dict
        How it was made, as the page says it.
    reader : WordReader, default=None
        What made features of the texts, if they are sums over words.
    **settings
        As `audit_explained` takes them.
    """
    heads = explainer._heads()
    rows = rows_of("row", train[0], heads, train[1])
    # People see soft annotations; what counts mistakes and values needs one value.
    plain = rows_of("row", train[0], heads, certain(heads, train[1]))
    others = rows_of("held-out row", held_out[0], heads, certain(heads, held_out[1]))
    found, notes = audit_explained(explainer, rows, plain, others, **settings)
    if reader is not None:
        found = replace(found, marks=find_marks(found, heads, reader))
    elsewhere = dict.fromkeys(others.ids, "it is held out, and trains nothing")
    options = {**options, "method": found.method, "random state": settings["seed"]}
    run = _run(found, [*found.warnings, *notes], options)
    return AuditReport(
        audit_html(found, run),
        found.metrics,
        found.predictions,
        found.influence,
        found.suspects,
        found.suggestions,
        tuple(run["warnings"]),
        found.nothing_learned,
        partial(accepted, Revision(explainer.estimator_, rows), elsewhere),
    )


def _run(found: Audit, warnings: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """Return what the page needs of a ``run.json``, which there is none of."""
    rows = how_many(found.counts["held_out_rows"], "held-out row")
    return {
        "skclif_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": {"name": rows, "test_name": None, "about": None},
        "options": options,
        "warnings": warnings,
        "fingerprints": found.fingerprints,
        "trail": None,
        "versions": versions(),
        "timings": {},
    }
