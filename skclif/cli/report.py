"""From a model and its rows to the report in the folder; the same for every command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .._results.words import how_many, is_or_are
from .._text.weights import DEFAULT_MODEL

if TYPE_CHECKING:
    from pathlib import Path

    from .._audit.findings import Audit
    from .._audit.folder import AuditedRows, AuditFolder
    from .._audit.models import Models
    from .._audit.revisions import Revision
    from .._audit.rows import Reviews
    from .._audit.run import PlantedCounts, RunRecord
    from .._text.embedder import SentenceEmbedder
    from .console import Console

# Of the verdicts on the bottleneck; all of them are on the page.
_SAID = ("coarseness", "leakage", "residual")
TABLES = (
    "predictions.csv",
    "influence.csv",
    "suspects.csv",
    "suggestions.csv",
    "machine.csv",
)


def evaluate(
    console: Console,
    models: Models,
    train: Reviews,
    rows: AuditedRows,
    records: list[dict[str, Any]],
    embedder: SentenceEmbedder | None,
) -> Audit:
    """Evaluate the model, trace its mistakes, and leave out what was rejected.

    With the embedder of the texts, the words that speak for what is listed are found.
    """
    from dataclasses import replace

    from .._audit.asking import machine_table, with_authors
    from .._audit.findings import audit
    from .._audit.marking import find_marks
    from .._audit.rejections import without_rejected
    from .._explain.word_evidence import exact_reader
    from .._models.fitted import FittedHeads

    options = rows.about["options"]
    console.stage(
        "influence", f"Tracing the mistakes in {how_many(len(rows.held_out), 'text')}"
    )
    with console.showing_warnings():
        found = audit(
            models,
            train,
            rows.held_out,
            max_mistakes=options["max_mistakes"],
            seed=options["seed"],
            ordinal=options.get("ordinal", ()),  # of older audits, none
            advice=_advice(rows.about),
        )
    for note in found.warnings:
        console.warn(note)
    found = without_rejected(found, train, records)
    prompts = rows.about.get("prompts")
    if prompts is not None:
        about = prompts, models.explainer, train, rows.held_out, records
        machine = machine_table(*about)
        found = replace(
            found,
            machine=machine,
            suspects=with_authors(found.suspects, machine),
            suggestions=with_authors(found.suggestions, machine),
        )
    if embedder is None or "text" not in found.predictions:
        return found
    reader = exact_reader(embedder)
    if reader is None:
        return found
    return replace(found, marks=find_marks(found, FittedHeads.of(models.model), reader))


def _advice(about: dict[str, Any]) -> str:
    """Return what to do if a model learned nothing."""
    if about["embedder"]["model"] != DEFAULT_MODEL:
        return ""
    return (
        "The default embedding model reads English: if the texts are in another "
        "language, name a model that reads it. --model multilingual reads 16 languages "
        '(pip install "skclif[multilingual]"). Otherwise look '
        "whether the columns are the right ones."
    )


def write_report(
    console: Console,
    folder: AuditFolder,
    records: list[dict[str, Any]],
    found: Audit,
    rows: AuditedRows,
    notes: list[str],
    demo: dict[str, Any] | None = None,
) -> RunRecord:
    """Write page, tables and ``run.json``; return the content of the latter."""
    from .._audit.run import PlantedCounts, RunRecord
    from .._audit.truth import Truth
    from .._pages.audit_page import N_HARMFUL, audit_html
    from .._pages.certificate import certificate

    console.stage("writing", "Writing the report")
    truth, counts = Truth.of(rows.about), None
    if truth is not None:
        counts = PlantedCounts.of(found, truth, rows.train, N_HARMFUL)
    run = RunRecord(found, rows, records, notes, counts, console.timings(), demo)
    content = run.to_dict()
    tables = (
        *(found.predictions, found.influence, found.suspects, found.suggestions),
        found.machine,
    )
    page = audit_html(found, content, truth, records)
    for record in records:
        if record["kind"] == "forget":
            # Once, because it may have been signed since.
            name = f"forgotten-{record['number']}.txt"
            folder.write_once(name, certificate(record))
    folder.write_report(dict(zip(TABLES, tables, strict=True)), page, content)
    return run


def renew_report(
    console: Console,
    folder: AuditFolder,
    records: list[dict[str, Any]],
    rows: AuditedRows,
    revision: Revision,
    device: str,
    demo: dict[str, Any] | None = None,
) -> None:
    """Make the report of a revision; `demo` is what a demo showed besides."""
    from .._audit.models import fit_models
    from .._audit.prompts_kept import prompt_notes, prompted_concepts
    from .._audit.rows import check_parts

    options = rows.about["options"]
    kinds = options.get("concept_kinds")  # of older audits, none
    prompted = prompted_concepts(rows.about)
    notes = check_parts(revision.rows.used(), rows.held_out, kinds, prompted)
    notes += prompt_notes(rows.about)
    models = fit_models(
        revision.rows,
        revision.model,
        C=options["C"],
        method=options["method"],
        concept_kinds=kinds,
        device=device,
        verbose=int(console.shows_bars),
    )
    embedder = _embedder(console, rows.about["embedder"], device)
    found = evaluate(console, models, revision.rows, rows, records, embedder)
    write_report(console, folder, records, found, rows, notes, demo)


def _embedder(
    console: Console, about: dict[str, Any], device: str
) -> SentenceEmbedder | None:
    """Return the embedder of an audit; None, and say so, if it is not here."""
    from .._models.files import embedder_of
    from ..exceptions import ModelFileError

    if "model" not in about:  # an audit that an older version made
        return None
    try:
        return embedder_of(about, device=device)
    except (OSError, ModelFileError):
        console.note(
            "The page marks no words: that needs the embedding model "
            f"{about['model']!r}, which is not found, or is another one now. Of a "
            "model in a folder, an audit keeps the name alone."
        )
        return None


def show_summary(console: Console, found: Audit, run: RunRecord, page: Path) -> None:
    """Print how good the model is, and where the page is."""
    quality = found.metrics["label"]
    who = "The bottleneck" if found.concepts else "The black box"
    others = [f"always the majority {quality['majority']['accuracy']:.1%}"]
    if found.concepts:
        others.insert(0, f"the black box {quality['black_box']['accuracy']:.1%}")
    console.result(
        f"{who} gets {quality['model']['accuracy']:.1%} of "
        f"{how_many(found.counts['held_out_rows'], 'held-out text')} right "
        f"({', '.join(others)})."
    )
    if "corrected" in quality:
        console.result(
            f"As predicted {quality['model']['accuracy']:.1%}; with concepts as people "
            f"read them {quality['corrected']['accuracy']:.1%}; gold concepts alone "
            f"{quality['gold']['accuracy']:.1%}."
        )
    if found.bottleneck is not None:
        for verdict in found.bottleneck["verdicts"]:
            if verdict["name"] in _SAID:
                console.result(
                    f"{verdict['question']} {verdict['answer'].capitalize()}. "
                    f"{verdict['words']}"
                )
    prompts = run.rows.about.get("prompts")
    if prompts is not None:
        from .._audit.prompts_kept import made_by

        console.result(f"Annotations by a machine: {made_by(prompts)}.")
    if "auto" in (run.rows.about["options"].get(name) for name in ("C", "concept_C")):
        console.result(_penalties(found.metrics["penalties"]))
    if run.planted is not None:
        for line in _what_is_true(run.planted):
            console.result(line)
    console.result(_what_to_decide(found))
    console.result(f"The report is in {page}")
    console.json_result(
        report=str(page), metrics=found.metrics["label"], counts=found.counts
    )


def _penalties(C: dict[str, Any]) -> str:
    """Return the inverse penalties that were chosen, in words."""
    words = [f"C={C['label']:.3g} for the label"]
    if C["concepts"]:
        low, high = min(C["concepts"].values()), max(C["concepts"].values())
        of_concepts = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        words.append(f"{of_concepts} for the concepts")
        words.append(f"{C['black_box']:.3g} for the black box")
    return f"Inverse penalties: {', '.join(words)}."


def _what_is_true(planted: PlantedCounts) -> Iterator[str]:
    """Yield what is known of the lists where errors were planted."""
    if planted.top_rows:
        yield (
            f"Planted errors are in {planted.planted_in_top} of the "
            f"{how_many(planted.top_rows, 'most harmful training row')}, and in "
            f"{planted.share_of_training_rows:.0%} of all training rows."
        )
    if planted.probable_suspects:
        yield (
            f"Of the {how_many(planted.probable_suspects, 'line')} of suspects.csv "
            f"that {is_or_are(planted.probable_suspects)} probably wrong, "
            f"{planted.suspects_wrong:,} really {is_or_are(planted.suspects_wrong)}, "
            f"and the proposed value is true in {planted.suspects_true:,}."
        )
    if planted.suggested_values:
        yield (
            f"Of {how_many(planted.suggested_values, 'value')} that suggestions.csv "
            f"proposes, {planted.suggested_true:,} "
            f"{is_or_are(planted.suggested_true)} true."
        )
    if planted.suggested_missing:
        yield (
            f"Of {how_many(planted.suggested_missing, 'missing annotation')} that it "
            f"asks for, the model guesses {planted.missing_true:,} rightly."
        )


def _what_to_decide(found: Audit) -> str:
    n_wrong = int((found.suspects["probability_wrong"] >= 0.5).sum())
    line = (
        f"{n_wrong:,} of the labels and annotations in suspects.csv "
        f"{is_or_are(n_wrong)} probably wrong"
    )
    if found.nothing_learned:
        line += f" (none listed of {', '.join(found.nothing_learned)}: nothing learned)"
    if found.suggested is None:
        return f"{line}; there are too few held-out texts to suggest changes."
    if not len(found.suggestions):
        return f"{line}; no single change would help on the held-out texts."
    worth, interval = found.suggested, ""
    if worth["interval"] is not None:
        low, high = worth["interval"]
        interval = f"[{low:+.2g}, {high:+.2g}] "
    return (
        f"{line}. {_what_is_suggested(found)} {worth['effect']:+.2g} nats "
        f"{interval}(negative = good), measured on held-out texts that did not choose "
        f"them: {worth['words']}."
    )


def _what_is_suggested(found: Audit) -> str:
    """Return the beginning of a sentence about the worth of suggestions."""
    from .._audit.proposals import is_asked

    n, n_asked = len(found.suggestions), int(is_asked(found.suggestions).sum())
    if not n_asked:
        changes = how_many(n, "change")
        return f"The {changes} in suggestions.csv {is_or_are(n)} worth"
    return (
        f"suggestions.csv has {how_many(n - n_asked, 'change')}, and asks a person for "
        f"{how_many(n_asked, 'missing annotation')}. Together, with what the model "
        "guesses for these, they are worth"
    )
