"""What the commands say: stages, warnings, errors, and results for machines."""

from __future__ import annotations

import getpass
import json
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import click

from .._storage.tables import is_whole_text

_INTERRUPTED = (
    "Interrupted. No file is half-written, and what was finished is kept. Run the same "
    "command again to go on."
)


class Command(click.Command):
    """A command that says how to go on after Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(f"\n{_INTERRUPTED}", err=True)
            raise


class Console:
    """Progress and warnings on stderr, the result on stdout.

    Parameters
    ----------
    quiet : bool
        Whether to say nothing of progress.
    as_json : bool, default=False
        Whether the result is one JSON object, for machines.
    """

    def __init__(self, quiet: bool, as_json: bool = False):
        self.quiet, self.as_json = quiet, as_json
        self.starts: list[tuple[str, float]] = []
        self.warnings: list[str] = []

    @property
    def shows_bars(self) -> bool:
        """Whether somebody is there to look at progress bars."""
        return not self.quiet and sys.stderr.isatty()

    def begin(self, name: str, message: str) -> None:
        """Say which stage begins."""
        self.starts.append((name, time.perf_counter()))
        if not self.quiet:
            click.echo(f"{message} …", err=True)

    def warn(self, message: str) -> None:
        """Say, once, what the reader should know before trusting the numbers."""
        if message in self.warnings:
            return
        self.warnings.append(message)
        click.echo(f"Warning: {message}", err=True)

    def result(self, line: str) -> None:
        """Say in words what came out, as soon as it is so."""
        if not self.as_json:
            click.echo(line)

    def close(self, **found: Any) -> None:
        """Print what came out as JSON, if that was asked for."""
        if self.as_json:
            found["warnings"] = self.warnings
            text = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False)
            click.echo(text)

    def timings(self) -> dict[str, float]:
        """Return the seconds of every stage but the one that runs."""
        return {
            name: round(following - start, 3)
            for (name, start), (_, following) in pairwise(self.starts)
        }

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Turn errors that a user can mend into one line, and warnings into words.

        Other errors keep their traceback.
        """
        from sklearn.exceptions import ConvergenceWarning

        from ..exceptions import InfluenceWarning, TrailWarning

        ours = ConvergenceWarning | InfluenceWarning | TrailWarning
        caught: list[warnings.WarningMessage] = []
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                warnings.simplefilter("always", UserWarning)
                yield
        except (OSError, ValueError, TypeError, ImportError) as error:
            message = one_line(error) or type(error).__name__
            raise click.ClickException(message) from error
        finally:
            for one in caught:
                if issubclass(one.category, ours):
                    self.warn(str(one.message))
                else:
                    warnings.warn_explicit(
                        one.message, one.category, one.filename, one.lineno
                    )


def who(by: str | None, why: str | None) -> dict[str, str | None]:
    """Return what the trail is to say of who did it and why.

    Raises
    ------
    ClickException
        If they hold bytes that are no characters.
    """
    for option, text in (("--by", by), ("--why", why)):
        if text is not None and not is_whole_text(text):
            raise click.ClickException(
                f"{option} {text!r} holds bytes that are not in the encoding of the "
                "terminal. Write it in that."
            )
    return {"by": by or _login(), "why": why}


def _login() -> str | None:
    """Return the name of the login, None where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a list of users
        return None


def embed(console: Console, embedder, texts, advice: str):
    """Return the vectors of texts, and what was said of those that were cut.

    Parameters
    ----------
    talk : Console
    embedder : SentenceEmbedder
    texts : ndarray of shape (n_texts,)
    advice : str
        What to say to those whose texts were cut, in place of the embedder's advice.
    """
    from ..exceptions import TruncatedTextWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", TruncatedTextWarning)
        X = embedder.transform(texts)
    notes = [f"{str(one.message).partition(' Use ')[0]} {advice}" for one in caught]
    for note in notes:
        console.warn(note)
    return X, notes


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line."""
    return " ".join(str(error).split())
