"""``skclif replay``: whether trail and data give the model in the folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._results.words import how_many
from .command import Command
from .console import Console
from .options import DEVICE, FOLDER, JSON, QUIET, existing_folder, options
from .reviews import read_reviews

if TYPE_CHECKING:
    from .._audit.folder import AuditedRows, AuditFolder
    from .._audit.rows import Reviews
    from .._results.replay import ReplayResult

_OUTCOMES = {  # by `same` and `close` of a step
    (True, True): "the same",
    (False, True): "NOT BIT FOR BIT",
    (False, None): "NOT COMPARED",
    (False, False): "DIFFERS",
    (None, None): "not done",
}


@click.command("replay", cls=Command)
@FOLDER
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--save",
    metavar="MODEL",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the model that the replay gives, if every record is the same.",
)
@options(DEVICE, JSON, QUIET)
def replay_command(
    folder: Path,
    file: Path | None,
    save: Path | None,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Rebuild the model in DIR from data and trail, and compare it bit for bit.

    The data are the rows that DIR remembers or, with FILE, the reviews that were
    audited, read again. Every record is done again; the first that gives other data or
    another model is named, and then the exit status is 1. Equal bits can be expected on
    the same kind of processor with the same versions of the libraries. Where these
    differ from the recorded ones, that is said first, and a model of other bits is
    compared within a tolerance of 1e-6.

    \b
    Example:
      skclif replay report reviews.csv
    """  # noqa: D301 - click reads backslash-b, so this cannot be raw
    console = Console(quiet, as_json)
    with console.showing_warnings():
        from .._audit.folder import AuditFolder
        from .._models.files import model_bytes
        from .._storage.files import write_whole

        if save is not None and not save.absolute().parent.is_dir():
            raise FileNotFoundError(
                f"There is no folder {str(save.parent)!r}. Make it first."
            )
        place = AuditFolder(existing_folder(folder))
        result, stored, embedder = do_again(console, place, device, file)
        if result.same and result.estimator is not None and save is not None:
            write_whole(save, model_bytes(result.estimator, embedder))
            console.result(f"The model is in {save}")
    console.json_result(
        environment=result.environment,
        same=result.same,
        close=result.close,
        differs_at=result.differs_at,
        model_is_recorded=stored,
        steps=[vars(step) for step in result.steps],
    )
    if not result.close or not stored:
        sys.exit(1)


def do_again(
    console: Console, place: AuditFolder, device: str, file: Path | None = None
) -> tuple[ReplayResult, bool, dict[str, Any]]:
    """Do again what a trail says, and print how it compares.

    Parameters
    ----------
    console : Console
    place : AuditFolder
    device : str
    file : Path, default=None
        What was audited; None for the rows that the folder remembers.

    Returns
    -------
    result : ReplayResult
    stored : bool
        Whether the model in the folder is the recorded one.
    embedder : dict
        The description of the embedder.
    """
    from .._audit.folder import MODEL
    from .._audit.replay import replay_rows
    from .._pages.words import what_was_done
    from .._results.replay import TOLERANCE, recorded_elsewhere

    records, rows, recorded = place.snapshot()
    stored = recorded is not None
    train = rows.train
    if file is not None:
        console.stage("reading", f"Reading {file.name}")
        train = _from_file(file, rows, records)
    console.stage("replaying", f"Doing again {how_many(len(records), 'record')}")
    result = replay_rows(records, train, device, recorded, int(console.shows_bars))
    if result.environment:
        said = recorded_elsewhere(result.environment)
        console.result(f"{said[0].upper()}{said[1:]}.")
    for step, record in zip(result.steps, records, strict=True):
        line = f"record {step.number}, {what_was_done(record)}: "
        reason = f": {step.reason}" if step.reason else ""
        outcome = _OUTCOMES[step.same, step.close]
        if record["kind"] == "reject":
            outcome, reason = "nothing to repeat", ""
        console.result(f"{line}{outcome}{reason}")
    if result.close:
        how = "Bit for bit" if result.same else f"Within {TOLERANCE:g}"
        console.result(_verdict(how, stored, place.path / MODEL))
    return result, stored, rows.about["embedder"]


def _from_file(file: Path, rows: AuditedRows, records: list[dict[str, Any]]) -> Reviews:
    """Return the training rows of a file, known texts with their vectors."""
    import numpy as np

    from .._audit.replay import last_fit

    if rows.about["command"] != "audit":
        raise click.ClickException(
            "A demo was not made from a file of yours; leave out FILE."
        )
    read = read_reviews(file, rows.about["options"])
    prompts = rows.about.get("prompts")
    if prompts is not None:
        from .._audit.prompts_kept import as_remembered

        read = as_remembered(read, rows.train, prompts)
    # The vectors of forgotten rows are gone: the replay leaves these rows out.
    known = {row[0] for row in last_fit(records)["rows"]} - {
        i for record in records for i, _ in record.get("forgotten", [])
    }
    read = read.take(np.asarray([i in known for i in read.ids], dtype=bool))
    vectors = dict(zip(rows.train.digests, rows.train.features, strict=True))
    # A text that the folder does not know was changed: the replay will say so.
    unknown = np.zeros_like(rows.train.features[0])
    found = [vectors.get(digest, unknown) for digest in read.digests]
    return read.embedded(np.array(found))


def _verdict(how: str, stored: bool, path: Path) -> str:
    if stored:
        return f"{how}, this is the model in {path}."
    return (
        f"But {path} is missing, or is not the file that was recorded. --save writes "
        "the model that the replay gives."
    )
