"""Who gave the labels and annotations of the training rows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import torch

from .._inputs.checks import error_context, refuse_masked
from .requests import check_groups


@dataclass(frozen=True, eq=False)
class Sources:
    """The source of every label and annotation, such as an annotator.

    Attributes
    ----------
    codes : dict of str to ndarray of shape (n_samples,)
        By path; -1 where no source is named. A path without codes has one source.
    names : ndarray of shape (n_sources,)
    """

    codes: dict[str, np.ndarray]
    names: np.ndarray

    def of_terms(self, path: str, rows: torch.Tensor) -> torch.Tensor | None:
        """Return the codes of all rows for a path; refuse a term without a source.

        Parameters
        ----------
        path : str
        rows : Tensor of shape (n_terms,)
            The rows that have a value and a weight.
        """
        if path not in self.codes:
            return None
        codes = torch.from_numpy(self.codes[path]).to(rows.device)
        nobody = codes[rows] < 0
        if nobody.any():
            raise ValueError(
                f"groups has no value for {path!r} in training row "
                f"{int(rows[nobody][0])}, which has a value of {path!r} "
                f"({int(nobody.sum())} of {len(rows)} such values are nobody's). Name "
                "a group for each of them, such as 'unknown'."
            )
        return codes

    def of_lines(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the source of every line, by its row and path; None without one."""
        found = np.full(len(frame), None, dtype=object)
        for path, codes in self.codes.items():
            is_path = (frame["path"] == path).to_numpy()
            of_path = codes[frame["row"].to_numpy()[is_path]]
            found[is_path] = self.names.astype(object)[of_path]
        return found


def check_sources(
    groups: Any, n_samples: int, paths: Collection[str]
) -> Sources | None:
    """Return the sources of the training rows; None if there is one source.

    Parameters
    ----------
    groups
        One group for each row, or a DataFrame with a column for some of the paths.
    n_samples : int
    paths : collection of str
    """
    if groups is None:
        return None
    table = nw.from_native(groups, pass_through=True, eager_only=True)
    is_table = isinstance(table, nw.DataFrame)
    if not is_table or (len(table.columns) == 1 and table.columns[0] not in paths):
        codes, names = check_groups(groups, n_samples)
        return Sources(dict.fromkeys(paths, codes), names)
    refuse_masked("groups", groups)
    for name in table.columns:
        if name not in paths:
            raise ValueError(
                f"groups has the column {name!r}, and a table has columns of paths: "
                f"{', '.join(map(repr, paths))}. Pass one column, if all labels and "
                "annotations of a row have the same group."
            )
    if len(table) != n_samples:
        raise ValueError(
            f"groups has {len(table)} rows, but there are {n_samples} training rows; "
            "it needs one for each."
        )
    with error_context("groups", "one group for each training row"):
        columns = [pd.Series(table[c].to_list(), dtype=object) for c in table.columns]
        codes, names = pd.factorize(pd.concat(columns, ignore_index=True), sort=True)
    parts = codes.reshape(len(columns), n_samples)
    return Sources(dict(zip(table.columns, parts, strict=True)), np.asarray(names))
