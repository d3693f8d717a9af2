"""``skclif apply`` and ``skclif forget``: what was decided is done, and recorded."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._options import DEVICE, ENCODING, FOLDER, JSON, QUIET, WHO, options
from ._report import renew
from ._talk import Command, Talk

if TYPE_CHECKING:
    from .._audit_folder import AuditedRows

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
    talk = Talk(quiet, as_json)
    with talk.hearing():
        from .._audit_folder import AuditFolder

        place = AuditFolder(existing(folder))
        with place.to_write() as records:
            rows = place.rows(records)
            revision = place.revision(rows, records)
            who = {"by": by or getpass.getuser(), "why": why}
            _apply(
                talk, place, records, rows, revision, decisions, encoding, device, who
            )


def _apply(talk, place, records, rows, revision, path, encoding, device, who):
    from .._audit import quality
    from .._audit_folder import sha256
    from .._decisions import read_decisions
    from .._revisions import edit

    talk.begin("reading", f"Reading {path.name}")
    found = read_decisions(path, revision, _elsewhere(rows, records), encoding)
    if not found.n_accepted:
        raise click.ClickException(
            f"{path} accepts nothing. Write 'accept' into the column decision of the "
            "lines that are to be applied."
        )
    if not found.changes:
        _already(talk, place, records, rows, revision, device, found)
        return
    validation = rows.X_held_out, rows.held_out.labels
    before = quality(revision.model, rows.held_out, rows.X_held_out)
    talk.begin("solving", f"Applying {_count(len(found.changes), 'change')}")
    edited, content = edit(revision, found.changes, device, validation)
    content["decisions"] = {"name": path.name, "sha256": sha256(path.read_bytes())}
    records = place.commit("edit", content, edited, rows, rows_changed=False, **who)
    last = records[-1]
    after = quality(edited.model, rows.held_out, rows.X_held_out)
    talk.result(
        f"{_count(len(found.changes), 'change')} of "
        f"{_count(found.n_accepted, 'accepted decision')} made"
        f"{_rest(found)}: record {last['number']} of {place.trail.path}."
    )
    _beside(talk, before, after, len(rows.held_out))
    if found.by_effect:
        talk.result(_FLATTERED)
    renew(talk, place, records, rows, edited, device)
    talk.close(
        record=last["number"],
        hash=last["hash"],
        changes=last["changes"],
        converged=last["converged"],
        before=before,
        after=after,
        model=str(place.path / "model.safetensors"),
    )


def _already(talk, place, records, rows, revision, device, found):
    """Say that all is done, and finish a report that was not."""
    talk.result(
        f"All {_count(found.n_accepted, 'accepted decision')} in effect already; "
        "nothing was changed."
    )
    if not place.report_is_current(records):
        renew(talk, place, records, rows, revision, device)
    talk.close(record=None, changes=[])


@click.command("forget", cls=Command)
@FOLDER
@click.argument("ids", type=click.Path(path_type=Path))
@options(*WHO, DEVICE, ENCODING, JSON, QUIET)
def forget_command(folder, ids, by, why, device, encoding, as_json, quiet):
    """Remove rows of people from the model and the files in DIR.

    IDS is a text file with one id a line. The model is fitted from zero to the rows
    that are left: it is, bit for bit, one that never saw them. Their texts, vectors
    and predictions go from every file in DIR; what is left of them are their ids and
    text hashes in trail.jsonl, which has to say who was forgotten. A file
    forgotten-N.txt, for record N, can be signed off.

    \b
    Example:
      skclif forget report ids.txt --by "audit team" --why "asked for on 1 March"
    """  # noqa: D301
    talk = Talk(quiet, as_json)
    with talk.hearing():
        from .._audit_folder import AuditFolder

        place = AuditFolder(existing(folder))
        with place.to_write() as records:
            rows = place.rows(records)
            revision = place.revision(rows, records)
            who = {"by": by or getpass.getuser(), "why": why}
            _forget(talk, place, records, rows, revision, ids, encoding, device, who)


def _forget(talk, place, records, rows, revision, path, encoding, device, who):
    import numpy as np

    from .._audit import quality
    from .._audit_data import check_parts
    from .._decisions import read_ids
    from .._replay import last_fit
    from .._revisions import forget, names
    from ..exceptions import DataFileError

    talk.begin("reading", f"Reading {path.name}")
    ids = read_ids(path, encoding)
    known = {*rows.train.ids, *rows.held_out.ids}
    elsewhere = _elsewhere(rows, records)
    unknown = [i for i in ids if i not in known and i not in elsewhere]
    if unknown:
        raise DataFileError(
            f"{path} names {', '.join(map(repr, unknown[:_NAMED]))}"
            f"{f' and {len(unknown) - _NAMED} more' if unknown[_NAMED:] else ''}, but "
            "no row is called so. Nobody was forgotten: correct the ids first."
        )
    todo = [i for i in ids if i in known]
    if not todo:
        said = f"{_count(len(ids), 'row')} forgotten already; nothing was changed."
        talk.result(said)
        if not place.report_is_current(records):
            renew(talk, place, records, rows, revision, device)
        talk.close(record=None, forgotten=[])
        return
    left = rows.without(todo)
    if not len(left.held_out):
        raise DataFileError(
            "Without these rows none is held out, and nothing could be said of the "
            "model. Audit a file without them in a new folder, and delete this one."
        )
    try:
        check_parts(left.train, left.held_out)
        before = quality(revision.model, left.held_out, left.X_held_out)
        talk.begin("solving", f"Fitting without {_count(len(todo), 'row')}")
        parameters = last_fit(records)["parameters"]
        new, content = forget(revision, todo, parameters, device)
    except ValueError as error:
        raise DataFileError(
            f"Without these rows there is no such model: {error} Audit a file without "
            "these rows in a new folder, and delete this one."
        ) from error
    gone = np.isin(rows.held_out.ids, todo)
    content["held_out"] = names(rows.held_out.take(gone))
    records = place.commit("forget", content, new, left, **who)
    last = records[-1]
    after = quality(new.model, left.held_out, left.X_held_out)
    n_train, n_held = len(last["forgotten"]), len(last["held_out"])
    talk.result(
        f"{_count(n_train, 'training row')} and {_count(n_held, 'held-out row')} "
        f"forgotten: record {last['number']} of {place.trail.path}."
    )
    _beside(talk, before, after, len(left.held_out))
    renew(talk, place, records, left, new, device)
    certificate = place.path / f"forgotten-{last['number']}.txt"
    talk.result(f"To sign off: {certificate}")
    talk.close(
        record=last["number"],
        hash=last["hash"],
        forgotten=[i for i, _ in [*last["forgotten"], *last["held_out"]]],
        before=before,
        after=after,
        certificate=str(certificate),
    )


# --- Small things ---------------------------------------------------------------------


def existing(folder: Path) -> Path:
    """Return a folder that is there."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(folder)!r}. Make an audit with skclif audit."
        )
    return folder


def _elsewhere(rows: AuditedRows, records: list[dict[str, Any]]) -> dict[str, str]:
    """Return what to say of ids that are not among the training rows."""
    said = dict.fromkeys(rows.held_out.ids, "it is held out, and trains nothing")
    for record in records:
        for i, _ in [*record.get("forgotten", []), *record.get("held_out", [])]:
            said[i] = f"it was forgotten in record {record['number']}"
    return said


def _beside(talk: Talk, before: dict, after: dict, n_rows: int) -> None:
    """Say how good the model was and is."""
    talk.result(f"On {_count(n_rows, 'held-out text')}:   before    after")
    for name, word in _QUALITY.items():
        values = [one[name] for one in (before, after)]
        form = "{:.4f}" if name == "log_loss" else "{:.1%}"
        old, new = (form.format(value) for value in values)
        talk.result(f"  {word:<20}  {old:>8} {new:>8}")


def _rest(found) -> str:
    return f" ({found.n_in_effect} in effect already)" if found.n_in_effect else ""


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
