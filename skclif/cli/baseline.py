"""``skclif baseline``: what quick models reach on a file of texts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .._results.words import how_many
from .command import Command
from .console import Console
from .options import (
    DEVICE,
    JSON,
    LONG_TEXT,
    MODEL,
    QUIET,
    SEED,
)
from .reviews import how_read, read_reviews, reading

if TYPE_CHECKING:
    import pandas as pd

_WIDTH = 32


@click.command("baseline", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@reading(
    "With any, bottlenecks are compared too.",
    "Column of groups that stay in one fold.",
    splits=False,
)
@click.option(
    "--cv",
    type=click.IntRange(min=2),
    default=5,
    show_default=True,
    help="Number of folds.",
)
@click.option("--words-only", is_flag=True, help="Compute no sentence vectors.")
@MODEL
@DEVICE
@LONG_TEXT
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw the table into this file (.png, .svg, .pdf).",
)
@SEED
@QUIET
@JSON
def baseline_command(
    file: Path,
    cv: int,
    words_only: bool,
    model: str,
    device: str,
    long_text: str,
    plot: Path | None,
    seed: int,
    quiet: bool,
    as_json: bool,
    **columns: Any,
) -> None:
    """Compare quick models of the texts in FILE, cheapest first.

    Every text is predicted by models that have not seen it. Lines appear as soon as
    they are there: the majority, words, sentence vectors, both; with --concept also
    bottlenecks on each, and the label from annotations alone, which is what concepts
    can reach.

    \b
    Example:
      skclif baseline reviews.csv --text review --label stars --concept food
    """  # noqa: D301 - click reads backslash-b, so this cannot be raw
    if words_only:
        _refuse_unused("model", "device", "long_text")
    if plot is not None:
        _check_plot(plot)
    console = Console(quiet, as_json)
    console.stage("read", f"Reading {file.name}")
    reviews = read_reviews(file, how_read(columns), console)
    from .._baselines.comparison import compare_baselines
    from .._text.embedder import SentenceEmbedder

    vectors: Any = False
    if not words_only:
        vectors = SentenceEmbedder(
            model, device=device, long_text=long_text, verbose=int(console.shows_bars)
        )
    lines = _Lines(console)
    with console.showing_warnings(), _in_options(columns, cv):
        comparison = compare_baselines(
            reviews.texts,
            reviews.labels,
            reviews.concepts if columns["concepts"] else None,
            cv=cv,
            vectors=vectors,
            groups=reviews.groups,
            random_state=seed,
            on_model=lines.add,
            verbose=int(console.shows_bars),
        )
    if comparison.n_repeated and reviews.groups is None:
        n_repeated = comparison.n_repeated
        console.warn(
            f"{how_many(n_repeated, 'row')} {'has' if n_repeated == 1 else 'have'} the "
            "text of an earlier row; equal texts stayed in one fold."
        )
    if plot is not None:
        comparison.plot().figure.savefig(plot)
    console.json_result(
        models=comparison.frame.to_dict(orient="records"),
        n_texts=comparison.n_samples,
        n_folds=comparison.n_folds,
        n_repeated=comparison.n_repeated,
    )


def _refuse_unused(*names: str) -> None:
    """Refuse options of sentence vectors where none are computed."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(
                f"{option} is about sentence vectors, and --words-only computes none. "
                "Leave out one of them."
            )


@contextmanager
def _in_options(columns: dict[str, Any], cv: int) -> Iterator[None]:
    """Say of labels and folds that cannot be used which option they are of."""
    try:
        yield
    except ValueError as error:
        name, _, problem = str(error).partition(" ")
        if name == f"cv={cv}":
            raise click.ClickException(f"--cv {cv}: {cv} {problem}") from error
        if name != "y":
            raise
        label = columns["label"]
        raise click.ClickException(f"The column {label!r} {problem}") from error


class _Lines:
    """The table for people, which begins with its first line.

    Parameters
    ----------
    console : Console
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.n_lines = 0

    def add(self, row: pd.Series) -> None:
        """Show the line of one model."""
        if not self.n_lines:
            head = ("accuracy", "macro F1", "log-loss", "its 95 % interval", "seconds")
            self.console.result(_line("", *head))
        self.n_lines += 1
        line = _line(
            row["model"],
            f"{row['accuracy']:.1%}",
            f"{row['macro_f1']:.3f}",
            f"{row['log_loss']:.3f}",
            f"{row['log_loss_low']:.3f} to {row['log_loss_high']:.3f}",
            f"{row['seconds']:.1f}",
        )
        self.console.result(line)


def _line(model: str, *cells: str) -> str:
    widths = (10, 10, 10, 20, 10)
    return f"{model:<{_WIDTH}}" + "".join(
        f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)
    )


def _check_plot(plot: Path) -> None:
    """Refuse a picture that could not be written, before the work."""
    if plot.suffix not in (".png", ".svg", ".pdf"):
        raise click.BadParameter(
            f"{str(plot)!r} must end in .png, .svg or .pdf.", param_hint="--plot"
        )
    if not plot.absolute().parent.is_dir():
        raise click.BadParameter(
            f"the folder of {str(plot)!r} does not exist.", param_hint="--plot"
        )
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise click.BadParameter(
            'needs matplotlib; install it with pip install "skclif[plots]".',
            param_hint="--plot",
        )
