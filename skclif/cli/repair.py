"""``skclif apply`` and ``skclif forget``: carry out decisions, and record them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._results.words import how_many
from .command import Command, is_mendable
from .console import Console
from .options import (
    DEVICE,
    ENCODING,
    FOLDER,
    JSON,
    QUIET,
    WHO,
    Who,
    existing_folder,
    options,
    who_and_why,
)
from .report import TABLES, renew_report

if TYPE_CHECKING:
    from .._audit.decisions import Decisions
    from .._audit.folder import AuditedRows, AuditFolder
    from .._audit.revisions import Place, Revision

_NAMED = 5
_MEASURES = {"accuracy": ".1%", "mean absolute error": ".3g"}  # of concepts
_QUALITY = {"accuracy": "accuracy", "macro_f1": "macro F1", "log_loss": "log-loss"}
_FLATTERED = (
    "on texts that chose some of these changes: that flatters them, and is not what "
    "other texts would show, so there is no interval."
)


@click.command("apply", cls=Command)
@FOLDER
@click.argument("decisions", type=click.Path(path_type=Path))
@click.option(
    "--even-if-right",
    is_flag=True,
    help="Let suggestions replace values that are believed right. The trail records "
    "it.",
)
@options(*WHO, DEVICE, ENCODING, JSON, QUIET)
def apply_command(
    folder: Path,
    decisions: Path,
    even_if_right: bool,
    by: str | None,
    why: str | None,
    device: str,
    encoding: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Apply accepted DECISIONS to the model in DIR, and remember rejected ones.

    DECISIONS is a copy of suspects.csv or suggestions.csv, or lines of both; or the
    tasks of `skclif tasks`, finished in Label Studio and exported as JSON. Write
    "accept" into the column decision of each change that is to be made and, if need be,
    another value into the column proposed. Write "reject" where nothing is to change:
    the trail records it, and the lists leave it out until its text or value changes.
    Other lines stay undecided. If the row, text or value of a line has changed since,
    the whole file is refused and nothing is done.

    The new model is the one that retraining on the changed rows would give. It replaces
    the old one, a record of the changes is appended to trail.jsonl, and the report is
    made again.

    \b
    Example:
      skclif apply report decisions.csv --by "audit team" --why "second reading"
    """  # noqa: D301 - click reads backslash-b, so this cannot be raw
    console = Console(quiet, as_json)
    with (
        console.showing_warnings(),
        open_audit(console, folder, device, by, why) as audit,
    ):
        _apply(audit, decisions, encoding, even_if_right)


@click.command("forget", cls=Command)
@FOLDER
@click.argument("ids", type=click.Path(path_type=Path))
@options(*WHO, DEVICE, ENCODING, JSON, QUIET)
def forget_command(
    folder: Path,
    ids: Path,
    by: str | None,
    why: str | None,
    device: str,
    encoding: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Remove rows of people from the model and the files in DIR.

    IDS is a text file with one id per line. The model is fitted from zero to the other
    rows: it is, bit for bit, a model that never saw the removed ones. Their texts,
    vectors and predictions are removed from every file that skclif wrote in DIR. Their
    ids, hashes and the changes decided for them stay in trail.jsonl, which has to say
    who was forgotten. A file forgotten-N.txt, for record N, can be signed off.

    \b
    Example:
      skclif forget report ids.txt --by "audit team" --why "asked for on 1 March"
    """  # noqa: D301
    console = Console(quiet, as_json)
    with (
        console.showing_warnings(),
        open_audit(console, folder, device, by, why) as audit,
    ):
        _forget(audit, ids, encoding)


@dataclass(frozen=True)
class OpenAudit:
    """The folder of an audit that is being repaired, in its present state.

    Attributes
    ----------
    console : Console
    folder : AuditFolder
    records : list of dict
        Of the trail.
    rows : AuditedRows
    revision : Revision
    place : Place
    who : dict
        Who decided, and why.
    """

    console: Console
    folder: AuditFolder
    records: list[dict[str, Any]]
    rows: AuditedRows
    revision: Revision
    place: Place
    who: Who

    def commit(
        self,
        kind: str,
        content: dict[str, Any],
        revision: Revision,
        rows: AuditedRows | None = None,
    ) -> OpenAudit:
        """Write a new model and its record; return the new state."""
        records = self.folder.commit(
            kind,
            content,
            revision,
            self.rows if rows is None else rows,
            rows_changed=rows is not None,
            **self.who,
        )
        rows = self.rows if rows is None else rows
        return replace(self, records=records, rows=rows, revision=revision)

    def renew_report(self, demo: dict[str, Any] | None = None) -> None:
        """Make the report of the present model; `demo` is what a demo showed."""
        renew_report(
            self.console,
            self.folder,
            self.records,
            self.rows,
            self.revision,
            self.place.device,
            demo,
        )

    def quality(self) -> dict[str, float]:
        """Return how good the model is on the held-out rows."""
        from .._audit.quality import quality

        return quality(self.revision.model, self.rows.held_out)

    def elsewhere(self) -> dict[str, str]:
        """Return why ids are not among the training rows, in words."""
        reasons = dict.fromkeys(
            self.rows.held_out.ids, "it is held out, and trains nothing"
        )
        for record in self.records:
            for i, _ in [*record.get("forgotten", []), *record.get("held_out", [])]:
                if record["kind"] == "forget":
                    reasons[i] = f"it was forgotten in record {record['number']}"
        return reasons

    def decisions(self, path: Path, encoding: str, even_if_right: bool) -> Decisions:
        """Return the decisions of a file that fit the present rows."""
        from .._audit.decisions import read_decisions
        from .._audit.lists import read_lists
        from .._audit.proposals import wrong_probabilities
        from .._audit.rejections import standing

        revision = self.revision
        return read_decisions(
            path,
            revision,
            self.elsewhere(),
            encoding,
            lists=read_lists(self.folder.path),
            rejected=standing(self.records),
            wrong=lambda: wrong_probabilities(
                revision.model,
                revision.rows,
                self.place.device,
                self.rows.about["options"].get("ordinal", ()),
                int(self.console.shows_bars),
            ),
            even_if_right=even_if_right,
        )


@contextmanager
def open_audit(
    console: Console, folder: Path, device: str, by: str | None, why: str | None
) -> Iterator[OpenAudit]:
    """Open the folder of an audit to repair it, and keep others out meanwhile."""
    from .._audit.folder import AuditFolder
    from .._audit.revisions import Place

    audited = AuditFolder(existing_folder(folder))
    with audited.to_write() as records:
        rows = audited.rows(records)
        revision = audited.revision(rows, records)
        place, who = Place.here(device), who_and_why(by, why)
        yield OpenAudit(console, audited, records, rows, revision, place, who)


def _apply(audit: OpenAudit, path: Path, encoding: str, even_if_right: bool) -> None:
    console = audit.console
    console.stage("reading", f"Reading {path.name}")
    _refuse_report(path, audit)
    with console.showing_warnings():  # before anything is done
        found = audit.decisions(path, encoding, even_if_right)
    if not found.n_accepted and not found.n_rejected:
        raise click.ClickException(
            f"{path} decides nothing. Write 'accept' into the column decision of the "
            "lines that are to be applied, and 'reject' where nothing is to change; or "
            "answer the tasks in Label Studio, and export them as JSON."
        )
    if found.changes:
        audit, result = carry_out(audit, path, found)
        audit.renew_report()
        console.json_result(**result)
    elif found.rejections:
        _reject(audit, path, found)
    else:
        _nothing_to_do(audit, _already(found))


def carry_out(
    audit: OpenAudit, path: Path, found: Decisions, *, brief: bool = False
) -> tuple[OpenAudit, dict[str, Any]]:
    """Make changes, and record them with the rejections of the same file.

    Parameters
    ----------
    audit : OpenAudit
    path : Path
        The file of the decisions.
    found : Decisions
    brief : bool, default=False
        Whether not to print how good the model was and is, which the caller does.

    Returns
    -------
    audit : OpenAudit
        The new state, without its report.
    result : dict
        What was done, for programs.
    """
    from .._audit.revisions import edit

    console = audit.console
    before = audit.quality()
    console.stage("solving", f"Applying {how_many(len(found.changes), 'change')}")
    edited, content = edit(
        audit.revision,
        found.changes,
        audit.place,
        audit.rows.held_out,
        by_effect=found.by_effect,
        verbose=int(console.shows_bars),
    )
    content |= _decided(path, found)
    after = replace(audit, revision=edited).quality()
    constants = list(_new_constants(audit.revision, edited))
    audit = audit.commit("edit", content, edited)
    last = audit.records[-1]
    also = f" ({found.n_in_effect:,} in effect already)" if found.n_in_effect else ""
    console.result(
        f"{how_many(len(found.changes), 'change')} made, of "
        f"{how_many(found.n_accepted, 'accepted decision')}{also}: record "
        f"{last['number']} of {audit.folder.trail.path}."
    )
    for line in [*_emptied(last), *_without_weight(audit)]:
        console.result(line)
    for line in constants:
        console.warn(line)
    if found.rejections:
        console.result(_rejected(found))
    if not brief:
        _show_quality(audit, before, after)
    for line in _what_changed(last["comparison"]):
        console.result(line)
    return audit, {
        "record": last["number"],
        "hash": last["hash"],
        "changes": last["changes"],
        "rejected": last.get("rejected", []),
        "converged": last["converged"],
        "before": before,
        "after": after,
        "comparison": last["comparison"],
    }


def _reject(audit: OpenAudit, path: Path, found: Decisions) -> None:
    """Record rejections, where nothing is to change."""
    records = audit.folder.note("reject", _decided(path, found), **audit.who)
    audit, last = replace(audit, records=records), records[-1]
    also = f" {_already(found)}." if found.n_accepted else ""
    audit.console.result(
        f"{_rejected(found)}{also} Record {last['number']} of "
        f"{audit.folder.trail.path}; the model stays as it is."
    )
    audit.renew_report()
    audit.console.json_result(
        record=last["number"],
        hash=last["hash"],
        changes=[],
        rejected=last["rejected"],
    )


def _decided(path: Path, found: Decisions) -> dict[str, Any]:
    """Return what a record says of the decisions that it is about."""
    content: dict[str, Any] = {"decisions": {"name": path.name, "sha256": found.sha256}}
    if found.rejections:
        content["rejected"] = [asdict(rejection) for rejection in found.rejections]
    return content


def _rejected(found: Decisions) -> str:
    n = len(found.rejections)
    return (
        f"{how_many(n, 'rejection')} recorded: {'it is' if n == 1 else 'they are'} not "
        "listed again until the text or the value changes."
    )


def _emptied(record: dict[str, Any]) -> Iterator[str]:
    """Yield lines about values that went from the model."""
    for path, value in record.get("emptied", []):
        yield (
            f"No row has the {'label' if path == 'label' else path} {value!r} any "
            "more, so the value went from the model."
        )


def _new_constants(before: Revision, after: Revision) -> Iterator[str]:
    """Yield warnings about concepts of which one value is left."""
    from .._inputs.values import plain_value

    pairs = zip(
        before.model.concept_classes_, after.model.concept_classes_, strict=True
    )
    for name, (had, has) in zip(before.model.concept_names_in_, pairs, strict=True):
        if has is not None and len(has) == 1 < len(had):
            yield (
                f"Concept {name!r} has one value left, {plain_value(has[0])!r}, in the "
                "rows to train on: it is a constant, which tells the label nothing, "
                "has no influence, and is never suspect. A second value takes a new "
                "audit, of a file that has it."
            )


def _without_weight(audit: OpenAudit) -> Iterator[str]:
    """Yield a line about changed values of rows that train nothing."""
    rows = audit.revision.rows
    idle = set(rows.ids[rows.weights == 0])
    changed = {
        change["id"]
        for change in audit.records[-1]["changes"]
        if change["kind"] in ("relabel", "annotate") and change["id"] in idle
    }
    if changed:
        named = ", ".join(map(repr, sorted(changed)[:_NAMED]))
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        yield (
            f"Of weight 0, so that new values do not move the model: {named}{more}. "
            "A line with reweight gives such a row weight again."
        )


def _already(found: Decisions) -> str:
    parts = []
    if found.n_accepted:
        parts.append(f"{how_many(found.n_accepted, 'accepted decision')} in effect")
    if found.n_rejected and not found.rejections:
        parts.append(f"{how_many(found.n_rejected, 'rejection')} recorded")
    return f"{' and '.join(parts)} already"


def _what_changed(comparison: dict[str, Any]) -> Iterator[str]:
    """Yield lines about what an edit changed on the held-out texts."""
    points = _change(comparison["accuracy"], "+.1f", "points", 100)
    nats = _change(comparison["log_loss"], "+.4f", "nats")
    if comparison["chosen_by_effect"]:
        how = f", {_FLATTERED}"
    elif comparison["n_rows"] == 1:
        how = " (no interval from one text)."
    else:
        how = " (95 % intervals, each text compared with itself)."
    yield f"Accuracy changed by {points}, log-loss by {nats}{how}"
    n_changed = comparison["n_changed"]
    where = " The page names the texts." if n_changed else ""
    yield (
        f"{how_many(n_changed, 'prediction')} changed: {comparison['n_better']:,} for "
        f"the better, {comparison['n_worse']:,} for the worse.{where}"
    )
    for measure, form in _MEASURES.items():
        concepts = [o for o in comparison["concepts"] if o["measure"] == measure]
        moved = [
            f"{one['concept']} {one['before']:{form}} → {one['after']:{form}}"
            for one in concepts
            if one["before"] != one["after"]
        ]
        if concepts:
            others = "as before" if not moved else "the others as before"
            rest = [others] * (len(moved) < len(concepts))
            said = f"{measure[0].upper()}{measure[1:]}"
            yield f"{said} of the concepts: {', '.join([*moved, *rest])}."


def _change(one: dict[str, Any], form: str, unit: str, scale: float = 1) -> str:
    """Return a change with its unit, and with its interval if it has one."""
    change, interval = scale * (one["after"] - one["before"]), ""
    if None not in one["interval"]:
        low, high = (scale * bound for bound in one["interval"])
        interval = f" [{low:{form}}, {high:{form}}]"
    return f"{change:{form}} {unit}{interval}"


def _forget(audit: OpenAudit, path: Path, encoding: str) -> None:
    import numpy as np

    from .._audit.decision_lines import read_ids
    from .._audit.revisions import names

    console, rows = audit.console, audit.rows
    console.stage("reading", f"Reading {path.name}")
    ids = read_ids(path, encoding)
    known = {*rows.train.ids, *rows.held_out.ids}
    _refuse_unknown(path, [i for i in ids if i not in known], audit)
    todo = [i for i in ids if i in known]
    if not todo:
        _nothing_to_do(audit, f"{how_many(len(ids), 'row')} forgotten already")
        return
    console.stage("solving", f"Fitting without {how_many(len(todo), 'row')}")
    new, content, left = _without(audit, todo)
    gone = np.isin(rows.held_out.ids, todo)
    content["held_out"] = names(rows.held_out.take(gone))
    before = replace(audit, rows=left).quality()
    after = replace(audit, rows=left, revision=new).quality()
    content["achieved_effect"] = after["log_loss"] - before["log_loss"]
    constants = list(_new_constants(audit.revision, new))
    audit = audit.commit("forget", content, new, left)
    last = audit.records[-1]
    n_train, n_held = len(last["forgotten"]), len(last["held_out"])
    console.result(
        f"{how_many(n_train, 'training row')} and {how_many(n_held, 'held-out row')} "
        f"forgotten: record {last['number']} of {audit.folder.trail.path}."
    )
    for line in constants:
        console.warn(line)
    _show_quality(audit, before, after)
    audit.renew_report()
    certificate = audit.folder.path / f"forgotten-{last['number']}.txt"
    console.result(f"To sign off: {certificate}")
    console.json_result(
        record=last["number"],
        hash=last["hash"],
        forgotten=[i for i, _ in [*last["forgotten"], *last["held_out"]]],
        before=before,
        after=after,
        certificate=str(certificate),
    )


def _without(
    audit: OpenAudit, ids: list[str]
) -> tuple[Revision, dict[str, Any], AuditedRows]:
    """Return the model without some rows, the content of its record, and the rows."""
    import numpy as np

    from .._audit.replay import last_fit
    from .._audit.revisions import forget
    from .._audit.rows import check_parts
    from ..exceptions import DataFileError

    left, rows = audit.rows.without(ids), audit.revision.rows
    parameters = last_fit(audit.records)["parameters"]
    stay = ~np.isin(rows.ids, ids)
    used = rows.take(stay).used()
    try:
        if not len(left.held_out):
            raise ValueError("No row is held out, so its quality would be unknown.")
        if not len(used):
            raise ValueError("No row is left to train on.")
        check_parts(
            used, left.held_out, audit.rows.about["options"].get("concept_kinds")
        )
        lost = set(rows.labels[stay]).difference(used.labels)
        if lost:
            raise ValueError(
                f"Only rows that were dropped would have the label {min(lost)!r}."
            )
        new, content = forget(
            audit.revision,
            ids,
            parameters,
            audit.place,
            int(audit.console.shows_bars),
        )
    except ValueError as error:
        if not is_mendable(error):
            raise
        raise DataFileError(
            f"Without these rows there is no such model: {error} Audit a file without "
            "them in a new folder, and delete this one."
        ) from error
    return new, content, left


def _refuse_report(path: Path, audit: OpenAudit) -> None:
    """Refuse a table of the report itself, which is about to be replaced."""
    if path.resolve().parent == audit.folder.path.resolve() and path.name in TABLES:
        raise click.ClickException(
            f"{path} is replaced when decisions are applied, and what you wrote into "
            "it would be lost. Save it under another name, and apply that."
        )


def _refuse_unknown(path: Path, ids: list[str], audit: OpenAudit) -> None:
    from ..exceptions import DataFileError

    forgotten = audit.elsewhere()
    unknown = [i for i in ids if i not in forgotten]
    if unknown:
        more = f" and {len(unknown) - _NAMED} more" if unknown[_NAMED:] else ""
        raise DataFileError(
            f"{path} names {', '.join(map(repr, unknown[:_NAMED]))}{more}, but no row "
            "has this id. Nobody was forgotten: correct the ids first."
        )


def _nothing_to_do(audit: OpenAudit, reason: str) -> None:
    """Print that nothing is left to do; finish a report that was not finished."""
    audit.console.result(f"{reason}; nothing was changed.")
    if not audit.folder.report_is_current(audit.records):
        audit.renew_report()
        audit.console.result(
            f"The report in {audit.folder.path} was not finished; it is now."
        )
    audit.console.json_result(record=None, changes=[])


def _show_quality(
    audit: OpenAudit, before: dict[str, float], after: dict[str, float]
) -> None:
    """Print how good the model was and is."""
    n_rows = len(audit.rows.held_out)
    left = " that are left" if audit.records[-1]["kind"] == "forget" else ""
    audit.console.result(f"On the {how_many(n_rows, 'held-out text')}{left}:")
    audit.console.result(f"  {'':<12} {'before':>8} {'after':>8}")
    for name, word in _QUALITY.items():
        form = "{:.4f}" if name == "log_loss" else "{:.1%}"
        old, new = (form.format(one[name]) for one in (before, after))
        audit.console.result(f"  {word:<12} {old:>8} {new:>8}")
