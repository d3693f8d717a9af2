"""What a command shows: stages and warnings, and results for people or programs."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import numpy as np

    from .._text.embedder import SentenceEmbedder
    from .._text.finetune import ConceptEncoder


class Console:
    """Stages and warnings on stderr, the result on stdout.

    Parameters
    ----------
    quiet : bool
        Whether to show no stages and no progress bars.
    as_json : bool, default=False
        Whether the result is one JSON object, for programs.
    """

    def __init__(self, quiet: bool, as_json: bool = False) -> None:
        self.quiet, self.as_json = quiet, as_json
        self.starts: list[tuple[str, float]] = []
        self.warnings: list[str] = []

    @property
    def shows_bars(self) -> bool:
        """Whether to show progress bars: only to a person at a terminal."""
        return not self.quiet and sys.stderr.isatty()

    def stage(self, name: str, message: str) -> None:
        """Show which stage begins, and note the time."""
        self.starts.append((name, time.perf_counter()))
        if not self.quiet:
            click.echo(f"{message} …", err=True)

    def note(self, message: str) -> None:
        """Show a line on what was read, unless quiet."""
        if not self.quiet:
            click.echo(f"  {message}", err=True)

    def timings(self) -> dict[str, float]:
        """Return the seconds of every stage except the one that is running."""
        seconds: dict[str, float] = {}
        for (name, start), (_, following) in pairwise(self.starts):
            seconds[name] = round(seconds.get(name, 0.0) + following - start, 3)
        return seconds

    def warn(self, message: str) -> None:
        """Show a warning once: what the reader should know before using the numbers."""
        if message in self.warnings:
            return
        self.warnings.append(message)
        click.echo(f"Warning: {message}", err=True)

    @contextmanager
    def showing_warnings(self) -> Iterator[None]:
        """Show Python warnings that are meant for the user as warnings of the command.

        Others are given on to Python.
        """
        from sklearn.exceptions import ConvergenceWarning

        from ..exceptions import (
            DataFileWarning,
            InfluenceWarning,
            InterventionWarning,
            PenaltyWarning,
            RepeatedTextWarning,
            TrailWarning,
            TruncatedTextWarning,
            for_command,
        )

        for_users = ConvergenceWarning | InfluenceWarning | InterventionWarning
        for_users |= PenaltyWarning | RepeatedTextWarning | TrailWarning
        for_users |= TruncatedTextWarning | DataFileWarning
        caught: list[warnings.WarningMessage] = []
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                warnings.simplefilter("always", UserWarning)
                yield
        finally:
            for warning in caught:
                if issubclass(warning.category, for_users):
                    from .._audit.option_names import in_options

                    said = for_command(warning.message)
                    self.warn(in_options(said))
                else:
                    warnings.warn_explicit(
                        warning.message,
                        warning.category,
                        warning.filename,
                        warning.lineno,
                    )

    def result(self, line: str) -> None:
        """Print one line of the result for people, as soon as it is known."""
        if not self.as_json:
            click.echo(line)

    def json_result(self, **found: Any) -> None:
        """Print the whole result for programs, at the end of the command."""
        if self.as_json:
            found["warnings"] = self.warnings
            text = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False)
            click.echo(text)


def embed(
    console: Console,
    embedder: SentenceEmbedder | ConceptEncoder,
    texts: np.ndarray,
    advice: str,
) -> tuple[np.ndarray, list[str]]:
    """Return the vectors of texts, and warnings about texts that were cut.

    Parameters
    ----------
    console : Console
        Shows the warnings.
    embedder : SentenceEmbedder or ConceptEncoder
    texts : ndarray of shape (n_texts,)
    advice : str
        What to tell users whose texts were cut, in place of the embedder's advice.
    """
    from ..exceptions import TruncatedTextWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", TruncatedTextWarning)
        X = embedder.transform(texts)
    notes = [f"{str(w.message).partition(' Use ')[0]} {advice}" for w in caught]
    for note in notes:
        console.warn(note)
    return X, notes
