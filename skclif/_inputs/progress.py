"""Progress on stderr, with the time left, for work of more than two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from .._results.words import rate
from ..numerics.steps import Advance, unseen

_Item = TypeVar("_Item")

# Seconds before a bar appears, and between two of its updates.
DELAY, INTERVAL = 2.0, 0.1
_WITH_END = (
    "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]"
)
_WITH_RATE = _WITH_END.replace("]", ", {rate_noinv_fmt}]")
_WITHOUT_END = "{desc}: {n_fmt} {unit} [{elapsed}]"


class Progress:
    """The bars of a piece of work, one for each of its stages.

    They appear when the whole work takes more than two seconds, and each is removed at
    the end of its stage. Where nothing can be drawn again, such as in a file, a stage
    is one line at its end instead.

    Parameters
    ----------
    verbose : int or bool
        Whether to show anything.
    """

    def __init__(self, verbose: Any) -> None:
        self._start = time.monotonic() if verbose else None

    @contextmanager
    def stage(
        self,
        doing: str,
        total: int | None = None,
        unit: str = "steps",
        *,
        n_known: int = 0,
        with_rate: bool = False,
    ) -> Iterator[Advance]:
        """Show how far a stage is.

        Parameters
        ----------
        doing : str
            What is done, as in "Retraining".
        total : int, default=None
            Number of steps. None if nobody knows it: then steps are counted, and no
            time left is shown.
        unit : str, default="steps"
            What is counted, in the plural.
        n_known : int, default=0
            Number of steps that were made before, which take no time.
        with_rate : bool, default=False
            Whether to show the steps of a second, also when the stage has ended.

        Yields
        ------
        advance : callable
            To be called with the number of steps that were made.
        """
        if self._start is None or sys.stderr is None:
            yield unseen
            return
        if not can_draw_again(sys.stderr):
            with self._line(doing, unit, with_rate) as advance:
                yield advance
            return
        with_end = _WITH_RATE if with_rate else _WITH_END
        with tqdm(
            desc=doing,
            total=total,
            initial=n_known,
            unit=f" {unit}" if with_rate else unit,
            bar_format=_WITHOUT_END if total is None else with_end,
            delay=max(0.0, DELAY - (time.monotonic() - self._start)),
            mininterval=INTERVAL,
            miniters=1,  # the last block of rows may be a small one
            leave=with_rate,
        ) as bar:
            yield bar.update

    @contextmanager
    def _line(self, doing: str, unit: str, with_rate: bool) -> Iterator[Advance]:
        """Say in a line at the end of a stage what was done, and how long it took."""
        steps, start = [0], time.monotonic()

        def advance(n_steps: int) -> None:
            steps[0] += n_steps

        yield advance
        now = time.monotonic()
        assert self._start is not None
        if now - self._start > DELAY:
            took = tqdm.format_interval(now - start)
            each = f", {rate(steps[0] / max(now - start, 1e-9))} {unit} a second"
            each = each if with_rate else ""
            sys.stderr.write(f"{doing}: {steps[0]:,} {unit} in {took}{each}\n")
            sys.stderr.flush()


def can_draw_again(stream: Any) -> bool:
    """Return whether a line can be drawn again: at a terminal, and in a notebook."""
    if stream is None:
        return False
    return stream.isatty() or type(stream).__module__.startswith("ipykernel.")


SILENT = Progress(0)


def counted(items: Iterable[_Item], advance: Advance) -> Iterator[_Item]:
    """Yield items; each is a step, made when the next one is asked for."""
    for item in items:
        yield item
        advance(1)


def check_verbose(verbose: Any) -> None:
    """Refuse what does not say whether to show progress, as scikit-learn does."""
    if not isinstance(verbose, Integral | np.bool_) or verbose < 0:
        raise ValueError(
            f"verbose={verbose!r} must be True, False or a whole number, 0 or more: "
            "whether to show progress."
        )
