"""CEBaB: restaurant reviews annotated and edited by people (Abraham et al., 2022)."""

import io
import json
import os
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from .._inputs.sklearn import StrOptions, validate_params
from ._official import FETCHING, OfficialFile

_FILE_NAME = "CEBaB-v1.1.zip"
_COMMIT = "2a5d2896bd18a5cc30b95e89a45095241954577d"
_FILE = OfficialFile(
    _FILE_NAME,
    f"https://github.com/CEBaBing/CEBaB/raw/{_COMMIT}/{_FILE_NAME}",
    "afe8ebcb5d18f33297512cd5c7e05f1590b82fb0683367042454c3eda7d5c6ae",
)

_CONCEPTS = ("food", "ambiance", "service", "noise")
_VALUES = ("Negative", "Positive", "unknown")
_STARS = (1, 2, 3, 4, 5)
_NO_MAJORITY = "no majority"
_EDIT_COLUMNS = (
    "original_id",
    "edit_id",
    "is_original",
    "edit_type",
    "edit_goal",
    "edit_worker",
)

_Record = dict[str, Any]  # of the official file

_DESCR = f"""CEBaB v1.1: OpenTable reviews with human concept annotations

15,090 short restaurant reviews in English. 2,299 are originals from 2010; the others
are edits, written by crowd workers to change one aspect of an original (food, ambiance,
service or noise) to a goal (Negative, Positive or unknown). Five workers rated each
review from 1 to 5 stars and five judged each aspect that was asked about; a label or an
annotation is the value that at least three of them chose.

subset                rows    labelled   with a majority label; the others are dropped
train_exclusive       1,755      1,463   one review of each original, mostly an edit
train_inclusive      11,728      9,848   all training originals with all their edits
train_observational   1,755      1,495   the training originals alone
dev                   1,673      1,673   originals with all their edits
test                  1,689      1,689   originals with all their edits

An aspect that nobody was asked about, or on which no three workers agreed, is not
annotated: NaN. "unknown" is an annotation: the review does not judge that aspect.
A few texts are in more than one of train, dev and test.

Licence: Creative Commons Attribution 4.0 International (CC BY 4.0),
https://creativecommons.org/licenses/by/4.0/

Source: https://github.com/CEBaBing/CEBaB, the file {_FILE_NAME}
at commit {_COMMIT}, SHA-256
{_FILE.sha256}

Please cite: Eldar David Abraham, Karel D'Oosterlinck, Amir Feder, Yair Gat, Atticus
Geiger, Christopher Potts, Roi Reichart and Zhengxuan Wu. CEBaB: Estimating the causal
effects of real-world concepts on NLP model behavior. 2022. arXiv:2205.14140.
"""


@validate_params(
    {
        "subset": [
            StrOptions(
                {
                    "train",
                    "train_exclusive",
                    "train_inclusive",
                    "train_observational",
                    "dev",
                    "test",
                }
            )
        ],
        "drop_no_majority": ["boolean"],
        **FETCHING,
    },
    prefer_skip_nested_validation=True,
)
def fetch_cebab(
    subset: str = "train",
    *,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    drop_no_majority: bool = True,
    as_frame: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Bunch | tuple[Any, Any]:
    """Load CEBaB, restaurant reviews with stars and four annotated concepts.

    Each review has a label (1 to 5 stars) and annotations of its food, ambiance,
    service and noise, made by five people each. Most reviews are edits of another one
    in which a person changed one aspect and nothing else.

    The file is looked for in the folder that the environment variable `SKCLIF_DATA`
    names, then in `data_home`, and is downloaded (2.2 MB) as a last resort. Its SHA-256
    is checked each time before it is read.

    Parameters
    ----------
    subset : {"train", "train_exclusive", "train_inclusive", "train_observational", \
            "dev", "test"}, default="train"
        The part of the data to load. "train" is "train_exclusive": one review for each
        original, either itself or one of its edits. "train_inclusive" has the originals
        with all their edits, "train_observational" the originals alone. "dev" and
        "test" are made from other originals, with all their edits.

    data_home : str or path-like, default=None
        The folder whose subfolder "skclif" keeps the downloaded file. None is
        scikit-learn's own, see :func:`sklearn.datasets.get_data_home`.

    download_if_missing : bool, default=True
        If False, raise an OSError where the file would have to be downloaded.

    drop_no_majority : bool, default=True
        Leave out the reviews on whose stars no three people agreed. If False, they are
        kept, their label is NaN and `target` is of dtype float64.

    as_frame : bool, default=True
        If True, `data` and `target` are Series and `concepts` is a DataFrame. If
        False, they are arrays and `frame` is None.

    return_X_y : bool, default=False
        If True, return `(data, target)` instead of a Bunch.

    n_retries : int, default=3
        Number of new attempts after a failed download.

    delay : float, default=1.0
        Seconds between attempts.

    Returns
    -------
    reviews : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with these fields. The rows of all of them are the same,
        and the index of every Series and DataFrame (except `edit_pairs`) is `ids`.

        data : Series or ndarray of shape (n_samples,)
            The texts.
        target : Series or ndarray of shape (n_samples,)
            The labels, integers from 1 to 5.
        concepts : DataFrame or ndarray of shape (n_samples, 4)
            "Negative", "Positive" or "unknown" for "food", "ambiance", "service" and
            "noise"; NaN = not annotated (nobody was asked, or no three people agreed).
        frame : DataFrame of shape (n_samples, 6) or None
            The columns "text" and "label" and those of `concepts`.
        ids : Index of shape (n_samples,)
            The identifiers of CEBaB, strings.
        concept_names : list of str
            The names of the concepts.
        annotator_shares : dict of str to DataFrame
            For "label" and for each concept the share of annotators who chose each
            value, from 0 to 1; a row of NaN where nobody was asked.
        soft_concepts : DataFrame of shape (n_samples, 12)
            The shares of the concepts as soft annotations, in columns such as
            "food=Positive": what ``fit(X, y, concepts=...)`` takes in the place of
            `concepts`. NaN where nobody was asked.
        edit_pairs : DataFrame
            One row for each edit whose original is in this subset: the positions
            "original" and "edited", the "concept" that was edited and its "goal".
        metadata : DataFrame
            "original_id", "is_original", "edit_type", "edit_goal" and so on, and what
            OpenTable tells about the restaurant and the visit. The columns "rating_*"
            are the guest's own stars: do not feed them to a model of the label.
        DESCR : str
            Description, licence (CC BY 4.0), source and citation.

    data, target : tuple
        If `return_X_y` is True.

    Raises
    ------
    OSError
        If the file is not on this machine and cannot, or must not, be downloaded.

    DataFileError
        If the SHA-256 of the file is not that of the official release.

    See Also
    --------
    make_concept_reviews : Generated reviews with the same four concepts.
    load_reviews : Reviews from a file of your own.

    References
    ----------
    .. [1] E. D. Abraham, K. D'Oosterlinck, A. Feder, Y. Gat, A. Geiger, C. Potts,
       R. Reichart and Z. Wu, "CEBaB: Estimating the causal effects of real-world
       concepts on NLP model behavior", 2022, arXiv:2205.14140.

    Examples
    --------
    >>> from skclif.datasets import fetch_cebab
    >>> reviews = fetch_cebab("dev")  # doctest: +SKIP
    >>> reviews.concepts.shape  # doctest: +SKIP
    (1673, 4)
    """
    archive = _FILE.read(data_home, download_if_missing, n_retries, delay)
    records = _records(archive, "train_exclusive" if subset == "train" else subset)
    if drop_no_majority:
        records = [r for r in records if r["review_majority"] != _NO_MAJORITY]
    ids = pd.Index([record["id"] for record in records], name="id")

    data = pd.Series([r["description"] for r in records], index=ids, name="text")
    target = pd.Series([_stars(r) for r in records], index=ids, name="label")
    concepts = pd.DataFrame(
        {name: [_annotation(r, name) for r in records] for name in _CONCEPTS},
        index=ids,
    )
    frame = pd.concat([data, target, concepts], axis=1)
    if not as_frame:
        data, target = data.to_numpy(dtype=object), target.to_numpy()
        concepts, frame = concepts.to_numpy(dtype=object), None
    if return_X_y:
        return data, target
    shares = _annotator_shares(records, ids)
    return Bunch(
        data=data,
        target=target,
        concepts=concepts,
        frame=frame,
        ids=ids,
        concept_names=[*_CONCEPTS],
        annotator_shares=shares,
        soft_concepts=_soft_concepts(shares),
        edit_pairs=_edit_pairs(records),
        metadata=_metadata(records, ids),
        DESCR=_DESCR,
    )


fetch_cebab.__module__ = "skclif.datasets"


def _records(archive: bytes, subset: str) -> list[_Record]:
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        records: list[_Record] = json.loads(files.read(f"CEBaB-v1.1/{subset}.json"))
    return records


def _stars(record: _Record) -> float:
    stars = record["review_majority"]
    return np.nan if stars == _NO_MAJORITY else int(stars)


def _annotation(record: _Record, concept: str) -> Any:
    value = record[f"{concept}_aspect_majority"]
    return np.nan if value in ("", _NO_MAJORITY) else value


def _annotator_shares(
    records: Sequence[_Record], ids: pd.Index
) -> dict[str, pd.DataFrame]:
    shares = {"label": _shares(records, "review_label_distribution", _STARS, ids)}
    for name in _CONCEPTS:
        key = f"{name}_aspect_label_distribution"
        shares[name] = _shares(records, key, _VALUES, ids)
    return shares


def _shares(
    records: Sequence[_Record], key: str, values: Sequence[Any], ids: pd.Index
) -> pd.DataFrame:
    counts = np.array(
        [[(r[key] or {}).get(str(value), 0) for value in values] for r in records],
        dtype=float,
    )
    total = counts.sum(axis=1, keepdims=True)
    total[total == 0] = np.nan
    return pd.DataFrame(counts / total, index=ids, columns=[*values])


def _soft_concepts(shares: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the shares of all concepts side by side, as a bottleneck takes them."""
    return pd.concat(
        [shares[name].add_prefix(f"{name}=") for name in _CONCEPTS], axis=1
    )


def _edit_pairs(records: Sequence[_Record]) -> pd.DataFrame:
    originals = {r["original_id"]: i for i, r in enumerate(records) if r["is_original"]}
    pairs = [
        (originals[r["original_id"]], i, r["edit_type"], r["edit_goal"])
        for i, r in enumerate(records)
        if not r["is_original"] and r["original_id"] in originals
    ]
    return pd.DataFrame(pairs, columns=["original", "edited", "concept", "goal"])


def _metadata(records: Sequence[_Record], ids: pd.Index) -> pd.DataFrame:
    rows = [
        {**{name: r[name] for name in _EDIT_COLUMNS}, **r["opentable_metadata"]}
        for r in records
    ]
    return pd.DataFrame(rows, index=ids)
