"""The page of an audit, in a notebook or as a file."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .._storage.files import write_whole
from .shown import Shown, in_one_line
from .words import how_many

_HEIGHT = 760  # pixels of a page in a notebook
_NAMED = 5  # paths of which nothing was learned
MOST_SHOWN = 20_000_000  # characters of a page that a notebook would have to keep


@dataclass(frozen=True, eq=False, repr=False)
class AuditReport(Shown):
    """The page of an audit of a fitted explainer on held-out rows.

    What :meth:`ConceptInfluenceExplainer.report` returns. In a notebook it shows the
    page itself: scores, mistakes with the training rows behind them, suspects and
    suggestions. The page can run its own scripts and nothing else, and reads nothing
    from the notebook or from a network.

    Attributes
    ----------
    page : str
        The page in HTML: one file that needs no network.
    metrics : dict
        Accuracy, macro F1 and log-loss (nats) on the held-out rows: as ``label`` by
        model, as ``concepts`` by concept.
    predictions : DataFrame
        What the models say of every held-out row.
    influence : DataFrame
        Which training rows cause the errors (nats; positive = harmful).
    suspects : DataFrame
        Labels and annotations that may be wrong, the most probable first.
    suggestions : DataFrame
        Changes that would lower the mean loss of the held-out rows, the best first.
    warnings : tuple of str
        Reasons to trust the numbers less.
    nothing_learned : tuple of str
        "label" and concepts of which nothing was learned. `suspects` has no line of
        these, which :meth:`ConceptInfluenceExplainer.suspect_labels` lists: it sees no
        held-out rows.
    """

    __module__ = "skclif"

    page: str
    metrics: dict[str, Any]
    predictions: pd.DataFrame
    influence: pd.DataFrame
    suspects: pd.DataFrame
    suggestions: pd.DataFrame
    warnings: tuple[str, ...]
    nothing_learned: tuple[str, ...]
    _accepted: Callable[[Path], dict[str, Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what knows the training rows: it belongs to this process."""
        return {**vars(self), "_accepted": None}

    def as_edit(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Return what was accepted on the page as arguments of `edit`.

        Parameters
        ----------
        path : str or path-like
            The file that the page lets you download, ``decisions.csv``, or
            `suspects` or `suggestions` as a table with "accept" in the column decision.

        Returns
        -------
        arguments : dict
            With those of "y", "concepts", "sample_weight" and "drop" that change, for
            :meth:`ConceptInfluenceExplainer.edit`. Rejected and skipped lines change
            nothing, and are recorded nowhere.

        Raises
        ------
        TypeError
            If `path` is no path.
        FileNotFoundError
            If there is no such file.
        DataFileError
            If a line cannot be read, or names a row, a text or a value that is not
            there. The message names the line.
        ValueError
            If the report was loaded from a pickle.
        """
        path = _checked(path, "decisions.csv")
        if self._accepted is None:
            raise ValueError(
                "This report was loaded without its model, so decisions cannot be "
                "compared with its rows. Ask the explainer for the report again."
            )
        return self._accepted(path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page into a file, which is whole or as before.

        Parameters
        ----------
        path : str or path-like
            The file, such as "report.html". An earlier one is replaced.

        Raises
        ------
        TypeError
            If `path` is no path.
        OSError
            If the file cannot be written, for example because there is no such folder.
        """
        write_whole(_checked(path, "report.html"), self.page.encode())

    def to_frame(self) -> pd.DataFrame:
        """Return the scores of every model on the held-out rows.

        Returns
        -------
        frame : DataFrame
            Columns: model, accuracy, macro_f1, log_loss (nats). "corrected" is the
            model with concepts as people read them, "gold" a model that sees nothing
            except annotations, "black_box" one without concepts, and "majority" always
            says the most common label. The first two are there if every concept is
            annotated in some held-out row.
        """
        frame = pd.DataFrame(self.metrics["label"]).T
        return frame.rename_axis("model").reset_index()

    def _table(self) -> pd.DataFrame:
        return self.to_frame()

    def __repr__(self) -> str:
        """Return one line: rows, accuracy, and how much there is to read."""
        doubts = ""
        if self.warnings:
            doubts = f"; {how_many(len(self.warnings), 'reason')} to doubt in warnings"
        hidden = ""
        if self.nothing_learned:
            names = ", ".join(map(in_one_line, self.nothing_learned[:_NAMED]))
            names += ", …" if len(self.nothing_learned) > _NAMED else ""
            hidden = f" (none listed of {names}: nothing learned)"
        wrong = self.predictions["label"] != self.predictions["predicted"]
        n_probable = int((self.suspects["probability_wrong"] >= 0.5).sum())
        return (
            f"<AuditReport on {how_many(len(self.predictions), 'held-out row')}: "
            f"accuracy {self.metrics['label']['model']['accuracy']:.3f}, "
            f"{how_many(int(wrong.sum()), 'mistake')}; "
            f"{how_many(n_probable, 'value')} probably wrong{hidden}, "
            f"{how_many(len(self.suggestions), 'suggestion')}{doubts}>"
        )

    def _repr_html_(self) -> str:
        if len(self.page) > MOST_SHOWN:
            size = f"{len(self.page) / 1e6:.0f}"
            return (
                f"<p>{html.escape(repr(self))}</p><p>The page has {size} million "
                "characters, too many to keep in a notebook. Write it with "
                "<code>save(path)</code>, and open the file.</p>"
            )
        return (
            '<iframe title="Audit report" sandbox="allow-scripts allow-downloads" '
            f'srcdoc="{html.escape(self.page)}" width="100%" height="{_HEIGHT}" '
            'style="border: 1px solid #8886; border-radius: 6px"></iframe>'
        )


def _checked(path: Any, example: str) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"path must be a str or a path such as {example!r}, got "
            f"{type(path).__name__}."
        )
    return Path(path)
