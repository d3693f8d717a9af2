"""``skclif demo``: an audit without a file and, of generated reviews, its repair."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._results.words import how_many
from .audit import run_audit, which_records
from .command import Command
from .console import Console
from .options import AUDIT, WHO, options
from .repair import carry_out, open_audit
from .replay import do_again

if TYPE_CHECKING:
    from sklearn.utils import Bunch

    from .._audit.demonstration import Outcome, Reading
    from .._audit.findings import Audit
    from .._audit.folder import AuditFolder
    from .._audit.rows import Reviews
    from .audit import Parts

_CEBAB_ABOUT = (
    "The reviews are CEBaB's (Abraham et al., 2022, arXiv 2205.14140; CC BY 4.0): "
    "training on its exclusive training split, evaluation on its test split."
)
_GENERATED_ABOUT = (
    "The reviews are generated, and five people annotated them. Errors were planted in "
    "the training part: annotator 1 called the service Positive wherever a review is "
    'about a long wait ({waits} times), and annotators 2 and 3 called food that is "to '
    'die for" Negative ({idioms} times). The other annotations, the labels and the '
    "held-out part are right."
)
_N_GENERATED = 2400
_HELD_OUT = 4  # one in so many


@click.command("demo", cls=Command)
@click.option(
    "--data",
    type=click.Choice(["auto", "cebab", "generated"]),
    default="auto",
    show_default=True,
    help="CEBaB (real restaurant reviews), generated reviews, or CEBaB if it is "
    "available.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="demo-report",
    show_default=True,
    metavar="DIR",
    help="Directory for the results.",
)
@options(*WHO, *AUDIT)
def demo_command(
    data: str, out: Path, quiet: bool, as_json: bool, **options: Any
) -> None:
    """Show an audit: of CEBaB if it is available, otherwise of generated reviews.

    Generated reviews hold errors as people make them, and the demo goes on: a careful
    reader, for whom the truth is looked up, decides on the suspects, the decisions are
    applied and replayed, and the model is compared with one that is trained without
    the errors. A demo replaces an earlier demo in DIR.

    \b
    Example:
      skclif demo --data generated --out demo-report
    """  # noqa: D301
    console = _Console(quiet, as_json)
    about: dict[str, Any] = {
        "command": "demo",
        "options": {"data": data},
        "truth": None,
    }

    def read() -> Parts:
        parts, reason = None, "--data generated asks for them"
        if data != "generated":
            parts, reason = _cebab(must=data == "cebab")
        name, description = "CEBaB", _CEBAB_ABOUT
        if parts is None:
            parts, about["truth"], description = _generated(options["seed"])
            name = "generated reviews"
        console.result(f"Data: {name}, because {reason}")
        if about["truth"] is not None:
            console.result(description)
        about["data"] = {"name": name, "test_name": None, "about": description}
        return parts

    found = run_audit(
        console, out, "Getting the reviews", read, about, {}, options, _continued
    )
    if about["truth"] is not None:
        _repair(console, out, found, options["device"])
    console.finish()


class _Console(Console):
    """A console that keeps the results for programs, to print them as one."""

    def __init__(self, quiet: bool, as_json: bool) -> None:
        super().__init__(quiet, as_json)
        self.found: dict[str, Any] = {}

    def json_result(self, **found: Any) -> None:
        """Keep some results."""
        self.found |= found

    def finish(self) -> None:
        """Print them."""
        super().json_result(**self.found)


def _continued(
    folder: AuditFolder, records: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the records that a new demo continues: none of a demo that went on.

    Raises
    ------
    ClickException
        If the folder holds anything that no demo wrote.
    """
    from .._audit.demonstration import BY

    others = [record for record in records if record["kind"] != "fit"]
    if not _is_of_demos(folder, records):
        raise click.ClickException(
            f"{folder.path} holds an audit that no demo made, and a demo would replace "
            "it. Name another --out."
        )
    decided = [record for record in others if record["by"] != BY]
    if decided:
        raise click.ClickException(
            f"{folder.path} holds what people decided ({which_records(decided)} of "
            f"{folder.trail.path}), and a demo would begin again without it. Name "
            "another --out."
        )
    return [] if others else records


def _is_of_demos(folder: AuditFolder, records: list[dict[str, Any]]) -> bool:
    """Return whether demos, and nothing else, made the audits in a folder."""
    if records:
        # An audit records the file that it read, a demo has none.
        fits = (record for record in records if record["kind"] == "fit")
        return all(record.get("source") == {} for record in fits)
    # Without a trail, the report says who wrote it.
    return folder.command() in (None, "demo")


# --- The repair -----------------------------------------------------------------------


def _repair(console: Console, out: Path, found: Audit, device: str) -> None:
    """Decide on suspects, apply the decisions, replay them, and measure the repair."""
    from .._audit.demonstration import BY, WHY, outcome, read_carefully
    from .._audit.folder import DECISIONS
    from .._audit.truth import Truth
    from .._storage.cells import table_csv
    from .._storage.files import write_whole

    with console.showing_warnings(), open_audit(console, out, device, BY, WHY) as audit:
        truth = Truth.of(audit.rows.about)
        assert truth is not None  # of the audit that was just made
        reading = read_carefully(found, truth)
        console.result(_what_was_read(reading))
        if reading.n_accepted:
            decisions = out / DECISIONS
            write_whole(decisions, table_csv(reading.lines))
            decided = audit.decisions(decisions, "utf-8", False)
            audit, _ = carry_out(audit, decisions, decided, brief=True)
            replayed, stored, _ = do_again(console, audit.folder, device)
            console.stage("comparing", "Fitting to right and to repaired rows")
            measured = outcome(
                found,
                audit.revision,
                audit.rows.train,
                audit.rows.held_out,
                truth,
                audit.records,
                audit.place,
            )
            shown = {
                "reading": reading.counts(),
                **measured.to_dict(),
                "replay": {
                    "same": replayed.same and stored,
                    "close": replayed.close and stored,
                },
            }
            audit.renew_report(shown)
            for line in _what_it_was_worth(measured, shown["replay"]):
                console.result(line)
            console.json_result(demo=shown)
        console.result(f"The report is in {audit.folder.page}")
        console.json_result(report=str(audit.folder.page))


def _what_was_read(reading: Reading) -> str:
    counts = (
        f"A careful reader, for whom the truth is looked up, read {reading.n_read:,} "
        f"of the {reading.n_listed:,} lines of suspects.csv: the "
        f"{reading.n_probable:,} that are probably wrong, then those that repeat a "
        "mistake of the same person"
    )
    if not reading.n_accepted:
        return f"{counts}. None of them is wrong; nothing was changed."
    return (
        f"{counts}. {reading.n_accepted:,} of the {reading.n_planted:,} planted errors "
        f"were accepted to be mended ({reading.n_corrected:,} with another value than "
        f"the proposed one), and {how_many(reading.n_rejected, 'line')} rejected."
    )


def _what_it_was_worth(measured: Outcome, replay: dict[str, bool]) -> list[str]:
    width = max(len(model.name) for model in measured.models)
    lines = [f"{'':{width}}  accuracy  95 % interval    log-loss"]
    for model in measured.models:
        low, high = model.interval
        lines.append(
            f"{model.name:{width}}  {model.accuracy:8.1%}  {low:.1%} to {high:.1%}  "
            f"{model.log_loss:8.3f}"
        )
    if measured.recovered is not None:
        lines.append(
            f"Of the log-loss that the planted errors cost, the repair won back "
            f"{measured.recovered:.0%}."
        )
    same = "yes" if measured.as_retrained else "NO"
    lines.append(f"Same as retraining: {same}, to {measured.difference:.0e}")
    how = "within the tolerance" if replay["close"] else "DIFFERS"
    lines.append(f"Replay: {'bit for bit' if replay['same'] else how}")
    return lines


# --- The reviews ----------------------------------------------------------------------


def _cebab(*, must: bool) -> tuple[Parts | None, str]:
    """Return the parts, or None if they are not available, and the reason."""
    from .._audit.rows import Reviews
    from ..datasets import fetch_cebab
    from ..exceptions import DataFileError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            n_retries = 3 if must else 0
            train = fetch_cebab("train_exclusive", n_retries=n_retries)
            held_out = fetch_cebab("test", n_retries=n_retries)
    except (OSError, DataFileError) as error:
        if must:
            raise
        return None, f"CEBaB is not available: {error}"

    def part(found: Bunch) -> Reviews:
        return Reviews.from_parts(found.ids, found.data, found.target, found.concepts)

    return (part(train), part(held_out)), "the official file is on this machine"


def _generated(seed: int) -> tuple[Parts, dict[str, Any], str]:
    """Return rows with errors to train on, right ones held out, the truth, and words.

    The truth has the right value of every wrong and missing one; see `Truth`.
    """
    import numpy as np

    from .._audit.rows import Reviews
    from .._audit.truth import Truth
    from ..datasets._annotators import annotated_reviews

    found = annotated_reviews(_N_GENERATED, seed)
    ids = [f"row-{number}" for number in range(1, _N_GENERATED + 1)]
    n_train = _N_GENERATED - _N_GENERATED // _HELD_OUT
    is_train = np.arange(_N_GENERATED) < n_train

    def rows(concepts: Any) -> Reviews:
        return Reviews.from_parts(
            ids, found.data, found.target, concepts, found.annotators
        )

    noisy, known = rows(found.concepts), rows(found.clean_concepts)
    clean = rows(found.clean_concepts.mask(found.concepts.isna()))
    truth = Truth.between(noisy.take(is_train), known.take(is_train))
    description = _GENERATED_ABOUT.format(
        waits=int(found.is_wait[is_train].sum()),
        idioms=int(found.is_idiom[is_train].sum()),
    )
    parts = noisy.take(is_train), clean.take(~is_train)
    return parts, truth.values, description
