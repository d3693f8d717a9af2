"""``skclif apply`` and ``skclif forget``: what was decided is done, and recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .console import Command, Console, who
from .options import DEVICE, ENCODING, FOLDER, JSON, QUIET, WHO, options
from .report import TABLES, renew

if TYPE_CHECKING:
    from .._audit.folder import AuditedRows, AuditFolder
    from .._audit.revisions import Place, Revision

_NAMED = 5
_QUALITY = {"accuracy": "accuracy", "macro_f1": "macro F1", "log_loss": "log-loss"}
_FLATTERED = (
    "Some changes were listed by their effect on these very rows, so these numbers "
    "flatter them. What such a list is worth on other rows stands in the report."
)


@click.command("apply", cls=Command)
@FOLDER
@click.argument("decisions", type=click.Path(path_type=Path))
@options(*WHO, DEVICE, ENCODING, JSON, QUIET)
def apply_command(folder, decisions, by, why, device, encoding, as_json, quiet):
    """Apply accepted DECISIONS to the model in DIR, without retraining.

    DECISIONS is a copy of suspects.csv or suggestions.csv, or lines of both, with
    "accept" in the column decision of what is to be done, and if need be another value
    in the column proposed. A line whose row, text or value is not as it was is refused,
    and then nothing is done.

    The model that retraining on the changed rows would give takes the place of the old
    one, the record of it goes to trail.jsonl, and the report is made anew.

    \b
    Example:
      skclif apply report decisions.csv --by "audit team" --why "second reading"
    """  # noqa: D301 - click reads backslash-b, so this cannot be raw
    console = Console(quiet, as_json)
    with console.hearing(), _at_work(console, folder, device, by, why) as work:
        _apply(work, decisions, encoding)


@click.command("forget", cls=Command)
@FOLDER
@click.argument("ids", type=click.Path(path_type=Path))
@options(*WHO, DEVICE, ENCODING, JSON, QUIET)
def forget_command(folder, ids, by, why, device, encoding, as_json, quiet):
    """Remove rows of people from the model and the files in DIR.

    IDS is a text file with one id a line. The model is fitted from zero to the rows
    that are left: it is, bit for bit, one that never saw them. Their texts, vectors
    and predictions go from every file that skclif wrote in DIR; what is left of them
    are their ids, hashes and the changes decided for them in trail.jsonl, which has to
    say who was forgotten. A file forgotten-N.txt, for record N, can be signed off.

    \b
    Example:
      skclif forget report ids.txt --by "audit team" --why "asked for on 1 March"
    """  # noqa: D301
    console = Console(quiet, as_json)
    with console.hearing(), _at_work(console, folder, device, by, why) as work:
        _forget(work, ids, encoding)


@dataclass(frozen=True)
class _Work:
    """A folder that is being repaired, as it is now.

    Attributes
    ----------
    talk : Console
    folder : AuditFolder
    records : list of dict
        Of the trail.
    rows : AuditedRows
    revision : Revision
    place : Place
    who : dict
        Who does it, and why.
    """

    console: Console
    folder: AuditFolder
    records: list[dict[str, Any]]
    rows: AuditedRows
    revision: Revision
    place: Place
    who: dict[str, str | None]

    def commit(self, kind, content, revision: Revision, rows=None) -> _Work:
        """Write a new model and its record; return the folder as it is then."""
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

    def renew_report(self) -> None:
        """Make the report of the model as it is now."""
        device = self.place.device
        renew(self.console, self.folder, self.records, self.rows, self.revision, device)

    def quality(self) -> dict[str, float]:
        """Return how good the model is on the held-out rows."""
        from .._audit.findings import quality

        return quality(self.revision.model, self.rows.held_out)

    def elsewhere(self) -> dict[str, str]:
        """Return what to say of ids that are not among the training rows."""
        said = dict.fromkeys(
            self.rows.held_out.ids, "it is held out, and trains nothing"
        )
        for record in self.records:
            for i, _ in [*record.get("forgotten", []), *record.get("held_out", [])]:
                if record["kind"] == "forget":
                    said[i] = f"it was forgotten in record {record['number']}"
        return said


@contextmanager
def _at_work(console, folder, device, by, why) -> Iterator[_Work]:
    from .._audit.folder import AuditFolder
    from .._audit.revisions import Place

    audited = AuditFolder(existing(folder))
    with audited.to_write() as records:
        rows = audited.rows(records)
        revision = audited.revision(rows, records)
        place, said = Place.here(device), who(by, why)
        yield _Work(console, audited, records, rows, revision, place, said)


def _apply(work: _Work, path: Path, encoding: str) -> None:
    from .._audit.decisions import read_decisions
    from .._audit.revisions import edit

    console = work.console
    console.begin("reading", f"Reading {path.name}")
    _refuse_report(path, work)
    found = read_decisions(path, work.revision, work.elsewhere(), encoding)
    if not found.n_accepted:
        raise click.ClickException(
            f"{path} accepts nothing. Write 'accept' into the column decision of the "
            "lines that are to be applied."
        )
    if not found.changes:
        said = _count(found.n_accepted, "accepted decision")
        _nothing_to_do(work, f"{said} in effect already")
        return
    before = work.quality()
    console.begin("solving", f"Applying {_count(len(found.changes), 'change')}")
    edited, content = edit(work.revision, found.changes, work.place, work.rows.held_out)
    content["decisions"] = {"name": path.name, "sha256": found.sha256}
    after = replace(work, revision=edited).quality()
    work = work.commit("edit", content, edited)
    last = work.records[-1]
    also = f" ({found.n_in_effect:,} in effect already)" if found.n_in_effect else ""
    console.result(
        f"{_count(len(found.changes), 'change')} made, of "
        f"{_count(found.n_accepted, 'accepted decision')}{also}: record "
        f"{last['number']} of {work.folder.trail.path}."
    )
    _beside(work, before, after)
    if found.by_effect:
        console.result(_FLATTERED)
    work.renew_report()
    console.close(
        record=last["number"],
        hash=last["hash"],
        changes=last["changes"],
        converged=last["converged"],
        before=before,
        after=after,
    )


def _forget(work: _Work, path: Path, encoding: str) -> None:
    import numpy as np

    from .._audit.decisions import read_ids
    from .._audit.revisions import names

    console, rows = work.console, work.rows
    console.begin("reading", f"Reading {path.name}")
    ids = read_ids(path, encoding)
    known = {*rows.train.ids, *rows.held_out.ids}
    _refuse_unknown(path, [i for i in ids if i not in known], work)
    todo = [i for i in ids if i in known]
    if not todo:
        _nothing_to_do(work, f"{_count(len(ids), 'row')} forgotten already")
        return
    console.begin("solving", f"Fitting without {_count(len(todo), 'row')}")
    new, content, left = _without(work, todo)
    gone = np.isin(rows.held_out.ids, todo)
    content["held_out"] = names(rows.held_out.take(gone))
    before = replace(work, rows=left).quality()
    after = replace(work, rows=left, revision=new).quality()
    content["achieved_effect"] = after["log_loss"] - before["log_loss"]
    work = work.commit("forget", content, new, left)
    last = work.records[-1]
    n_train, n_held = len(last["forgotten"]), len(last["held_out"])
    console.result(
        f"{_count(n_train, 'training row')} and {_count(n_held, 'held-out row')} "
        f"forgotten: record {last['number']} of {work.folder.trail.path}."
    )
    _beside(work, before, after)
    work.renew_report()
    certificate = work.folder.path / f"forgotten-{last['number']}.txt"
    console.result(f"To sign off: {certificate}")
    console.close(
        record=last["number"],
        hash=last["hash"],
        forgotten=[i for i, _ in [*last["forgotten"], *last["held_out"]]],
        before=before,
        after=after,
        certificate=str(certificate),
    )


def _without(work: _Work, ids: list[str]):
    """Return the model without some rows, the content of its record, and the rows."""
    import numpy as np

    from .._audit.replay import last_fit
    from .._audit.revisions import forget
    from .._audit.rows import check_parts
    from ..exceptions import DataFileError

    left, rows = work.rows.without(ids), work.revision.rows
    parameters = last_fit(work.records)["parameters"]
    stay = ~np.isin(rows.ids, ids)
    used = rows.take(stay).used()
    try:
        if not len(left.held_out):
            raise ValueError("None is held out, so nothing could be said of it.")
        if not len(used):
            raise ValueError("No row is left to train on.")
        check_parts(used, left.held_out)
        lost = set(rows.labels[stay]).difference(used.labels)
        if lost:
            raise ValueError(
                f"The label {min(lost)!r} would be left only on rows that were dropped."
            )
        new, content = forget(work.revision, ids, parameters, work.place)
    except ValueError as error:
        raise DataFileError(
            f"Without these rows there is no such model: {error} Audit a file without "
            "them in a new folder, and delete this one."
        ) from error
    return new, content, left


def _refuse_report(path: Path, work: _Work) -> None:
    """Refuse a table of the report itself, which is about to be written anew."""
    if path.resolve().parent == work.folder.path.resolve() and path.name in TABLES:
        raise click.ClickException(
            f"{path} is written anew when decisions are applied, and what you wrote "
            "into it would be lost. Save it under another name, and apply that."
        )


def _refuse_unknown(path: Path, ids: list[str], work: _Work) -> None:
    from ..exceptions import DataFileError

    forgotten = work.elsewhere()
    unknown = [i for i in ids if i not in forgotten]
    if unknown:
        more = f" and {len(unknown) - _NAMED} more" if unknown[_NAMED:] else ""
        raise DataFileError(
            f"{path} names {', '.join(map(repr, unknown[:_NAMED]))}{more}, but no row "
            "is called so. Nobody was forgotten: correct the ids first."
        )


def _nothing_to_do(work: _Work, said: str) -> None:
    """Say that all is done, and finish a report that was not."""
    work.console.result(f"{said}; nothing was changed.")
    if not work.folder.report_is_current(work.records):
        work.renew_report()
        work.console.result(
            f"The report in {work.folder.path} was not finished; it is now."
        )
    work.console.close(record=None, changes=[])


# --- Small things ---------------------------------------------------------------------


def existing(folder: Path) -> Path:
    """Return a folder that is there."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(folder)!r}. Make an audit with skclif audit."
        )
    return folder


def _beside(work: _Work, before: dict[str, float], after: dict[str, float]) -> None:
    """Say how good the model was and is."""
    n_rows = len(work.rows.held_out)
    left = " that are left" if work.records[-1]["kind"] == "forget" else ""
    work.console.result(f"On the {_count(n_rows, 'held-out text')}{left}:")
    work.console.result(f"  {'':<12} {'before':>8} {'after':>8}")
    for name, word in _QUALITY.items():
        form = "{:.4f}" if name == "log_loss" else "{:.1%}"
        old, new = (form.format(one[name]) for one in (before, after))
        work.console.result(f"  {word:<12} {old:>8} {new:>8}")


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
