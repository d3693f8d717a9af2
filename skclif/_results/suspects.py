"""Labels and annotations that may be wrong: a frame that reads like a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from ..exceptions import warn_user
from .shown import in_one_line, with_lines
from .suspect_groups import GROUPS, by_group, worst_in_words
from .words import how_many

UNKNOWN = "unknown"  # in the frame's attrs: paths whose heads know nothing
PROBABLY = 0.5  # probability of being wrong, at least
WRONG_IS_NOT_HARMFUL = (
    "Wrong is not the same as harmful: whether a correction would help, suggest_edits "
    "says."
)
_LINES = 10
_SHOWN_PATHS = 8
SHOWN = ["row", "path", "current", "proposed", "probability_wrong"]
LESS = ["loss", "margin", "self_influence", "probability_proposed", "rank"]
_RENAMED = {"suggested": "proposed", "probability": "probability_wrong"}


class SuspectFrame(pd.DataFrame):
    """A frame of suspects that shows itself as what it is about.

    It still answers to the former names of two columns. Whatever is made of it is an
    ordinary frame, without either.
    """

    __module__ = "skclif"

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return super().__getitem__(_present(key))
        if isinstance(key, list) and not _RENAMED.keys().isdisjoint(
            name for name in key if isinstance(name, str)
        ):
            found = super().__getitem__([_present(name) for name in key])
            return found.set_axis(key, axis=1)
        return super().__getitem__(key)

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(_present(name) if name in _RENAMED else name)

    def by_group(self, paths: bool = False) -> pd.DataFrame:
        """Return how often each group errs, compared with the others.

        The group comes first that makes the most errors beyond those that it would
        make if it erred as the others do.

        Parameters
        ----------
        paths : bool, default=False
            Whether there is a line for each group and path, with the confusion that
            is expected most often.

        Returns
        -------
        groups : DataFrame
            One line for each group of `suspect_labels`: group; path, if asked for;
            n_values, of which something can be said; share, how many of them are wrong
            by the rate that makes them most likely, with the ends of a 95 % interval in
            low and high; share_others, that of all other groups for the same paths;
            ratio of the two shares, 1 = as often as the others; with `paths` also
            current and proposed, the confusion. NaN if there is no other group, and
            inf if the others are never wrong.

        Raises
        ------
        ValueError
            If `suspect_labels` was called without groups.
        """
        if GROUPS not in self.attrs:
            raise ValueError(
                "Nobody is named who gave these values: call suspect_labels with "
                "groups, such as the annotator of each row."
            )
        return by_group(self.attrs[GROUPS], paths)

    def __repr__(self) -> str:
        """Return how many are probably wrong by path, and the first lines."""
        if not is_whole(self):
            return super().__repr__()
        counts = counts_by_path(self)
        named = [
            f"{in_one_line(path)} {n:,} of {of:,}"
            for path, n, of in counts[:_SHOWN_PATHS]
        ]
        if len(counts) > _SHOWN_PATHS:
            named.append("…")
        said = "; nothing can be said of any of them" if len(self) else ""
        if named:
            said = ", the most suspect of a path first; probably wrong: "
            said += ", ".join(named)
        lines = [f"<Suspects: {how_many(len(self), 'value')} judged{said}>"]
        if self.attrs.get(UNKNOWN):
            names = map(in_one_line, self.attrs[UNKNOWN])
            lines.append(f"Nothing can be said of: {', '.join(names)}.")
        if self.attrs.get(GROUPS):
            lines.append(worst_in_words(self.attrs[GROUPS]))
        lines.append(WRONG_IS_NOT_HARMFUL)
        table = told_apart(self).drop(columns=LESS, errors="ignore")
        return with_lines("\n".join(lines), table, _LINES)

    def _repr_html_(self) -> str | None:
        if not is_whole(self):
            return super()._repr_html_()
        from .._pages.notebook import html_of

        return html_of(self)


def is_whole(suspects: pd.DataFrame) -> bool:
    """Return whether nobody took away or renamed a column that a view needs."""
    return set(SHOWN) <= set(suspects.columns)


def told_apart(suspects: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of paths of which something can be said, the others left out.

    All values of such a path are alike, so none of them is the most suspect.
    """
    frame = pd.DataFrame(suspects)
    return frame[~frame["path"].isin(suspects.attrs.get(UNKNOWN, []))]


def counts_by_path(suspects: pd.DataFrame) -> list[tuple[str, int, int]]:
    """Return of every path how many values are probably wrong, and how many there are.

    The paths with the most of them come first. Nothing is counted of paths of which
    nothing can be said.
    """
    frame = told_apart(suspects)
    probable = (frame["probability_wrong"] >= PROBABLY).groupby(frame["path"])
    table = probable.agg(["sum", "size"]).sort_values("sum", ascending=False)
    return [(str(path), int(n), int(of)) for path, n, of in table.itertuples(name=None)]


def _present(name: Any) -> Any:
    """Return the present name of a column, with a warning of the former name."""
    if not isinstance(name, str) or name not in _RENAMED:
        return name
    warn_user(
        f"The column {name!r} of suspect_labels is now called {_RENAMED[name]!r}; the "
        "former name will be removed in 0.3.",
        FutureWarning,
    )
    return _RENAMED[name]
