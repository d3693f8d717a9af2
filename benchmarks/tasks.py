"""The real tasks that benchmarks and tests share, as embeddings with annotations.

``cebab-masked`` comes from the official release, where an aspect without a majority is
not annotated. ``cebab-published`` and ``yelp`` are the tables of Tan et al. (2023),
which write "not annotated" as "unknown". ``nhs`` are comments of patients with themes,
"yes" or "no", and the sentiment as label; ``nhs-by-time`` are the same with a split by
quarters, the latest to test. ``generated`` is made up, for small sizes. A name that
ends in ``.csv`` is a file of yours.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from skclif import SentenceEmbedder
from skclif.datasets import fetch_cebab, fetch_patient_feedback, load_reviews

CONCEPTS = [
    "food",
    "ambiance",
    "service",
    "noise",
    "cleanliness",
    "price",
    "location",
    "menu variety",
    "waiting time",
    "waiting area",
]
TASKS = ["cebab-masked", "cebab-published", "yelp"]
_GENERATED = {"train": 200, "dev": 160, "test": 100}  # rows
_CACHE = Path(__file__).parent.parent / ".cache" / "embeddings"


@dataclass(frozen=True)
class Part:
    """One part of a task: texts, features (n, 384), labels, annotations."""

    texts: pd.Series
    X: np.ndarray
    y: np.ndarray
    concepts: pd.DataFrame


def load_task(name: str, part: str, n_concepts: int = 10, **how) -> Part:
    """Return the "train", "dev" or "test" part of a task, embedded by `embed`.

    `how` says how texts are embedded, if not as always.
    """
    if name == "generated":
        return _generate(part, n_concepts)
    texts, y, concepts = read_task(name, part, n_concepts)
    return Part(texts, embed(texts, **how), np.asarray(y), concepts)


def embed(texts, **how):
    """Return vectors in float64, stored: by default those that MiniLM itself gives.

    `SentenceEmbedder` reads other layers by default. Tables of influence, noise and
    repair keep the vectors that they began with, so that they can be compared over
    time; `python -m benchmarks.readout` compares the vectors.
    """
    how = {"layers": None} | how
    return SentenceEmbedder(cache_dir=_CACHE, **how).transform(texts).astype(float)


def read_task(
    name: str, part: str, n_concepts: int = 10
) -> tuple[pd.Series, pd.Series, pd.DataFrame]:
    """Return texts, labels and annotations of a part of a task, not embedded."""
    if name.endswith(".csv"):
        return _own(name, part)
    if name == "cebab-masked":
        bunch = fetch_cebab(part)
        return bunch.data, bunch.target, bunch.concepts
    if name == "nhs":
        bunch = fetch_patient_feedback(part)
        return bunch.data, bunch.target, bunch.concepts
    if name == "nhs-by-time":
        bunch = fetch_patient_feedback("all")
        rows = in_order_of_time(bunch.metadata["quarter"])[part]
        tables = bunch.data, bunch.target, bunch.concepts
        return tuple(table.iloc[rows] for table in tables)
    if name not in TASKS:
        known = ", ".join([*TASKS, "nhs", "nhs-by-time", "generated"])
        raise SystemExit(
            f"There is no task {name!r}; the tasks are {known}, or the name of a file "
            "that ends in .csv."
        )
    frame = _published(name, part)
    concepts = frame[CONCEPTS[:n_concepts]]
    return frame["description"], frame["review_majority"].astype(int), concepts


def in_order_of_time(times: pd.Series) -> dict[str, np.ndarray]:
    """Return the rows of each part: the earliest 60 %, the next 20, and the latest.

    Rows of one time stay together, so that shares are as near to these as that allows.
    Rows without a time are in no part.
    """
    counts = times.value_counts().sort_index()
    shares = counts.cumsum() / counts.sum()
    ends = [int((shares - share).abs().argmin()) for share in (0.6, 0.8)]
    if len({*ends, len(counts) - 1}) < 3:
        raise ValueError(
            f"Of {len(counts)} different times, too few are late enough to hold out "
            "two parts; rows of one time stay together."
        )
    codes = counts.index.get_indexer(times)
    of_rows = np.where(codes < 0, -1, np.searchsorted(ends, codes))
    return {part: np.flatnonzero(of_rows == k) for k, part in enumerate(_GENERATED)}


def _generate(part: str, n_concepts: int) -> Part:
    """Return concepts that 16 features tell, and stars that go by all concepts."""
    directions = np.random.default_rng(0).normal(size=(16, len(CONCEPTS))) / 4
    seed, n_rows = 1 + list(_GENERATED).index(part), _GENERATED[part]
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 16))
    scores = X @ directions + 0.5 * rng.normal(size=(n_rows, len(CONCEPTS)))
    values = np.array(["Negative", "unknown", "Positive"], dtype=object)
    concepts = pd.DataFrame(values[np.digitize(scores, [-0.5, 0.5])], columns=CONCEPTS)
    y = 1 + np.digitize(scores.sum(axis=1), [-4, -1, 1, 4])
    texts = pd.Series([f"{part} {row} word{row % 10}" for row in range(n_rows)])
    return Part(texts, X, y, concepts[CONCEPTS[:n_concepts]])


def _own(path: str, part: str) -> tuple[pd.Series, pd.Series, pd.DataFrame]:
    """Return texts, labels and annotations of a part: 60, 20 and 20 % of the rows.

    Columns are text, label, and concepts, and "time" if the split is by time, the
    latest to test. "unknown" stands for what is not annotated.
    """
    columns = list(pd.read_csv(path, nrows=0).columns)
    concepts = [name for name in columns if name not in ("text", "label", "time")]
    time = "time" if "time" in columns else None
    rows = load_reviews(path, concepts=concepts, time=time)
    if time is None:
        order = np.random.default_rng(0).permutation(len(rows.data))
        ends = [int(share * len(order)) for share in (0.6, 0.8)]
        chosen = np.split(order, ends)[list(_GENERATED).index(part)]
    else:
        chosen = in_order_of_time(rows.times)[part]
    annotations = rows.concepts.astype(object).fillna("unknown")
    return tuple(
        table.iloc[chosen].reset_index(drop=True)
        for table in (rows.data, rows.target, annotations)
    )


def _published(name: str, part: str) -> pd.DataFrame:
    stem = "cebab" if name == "cebab-published" else "yelp"
    folder = _data("concept_reviews")
    frame = pd.read_csv(folder / f"{stem}_{part}.csv", keep_default_na=False, dtype=str)
    frame = frame.rename(columns=lambda column: column.removesuffix("_aspect_majority"))
    frame = frame[frame["review_majority"] != "no majority"].reset_index(drop=True)
    return frame.replace(
        dict.fromkeys(CONCEPTS, {"no majority": "unknown", "": "unknown"})
    )


def _data(folder: str) -> Path:
    if "SKCLIF_DATA" not in os.environ:
        raise SystemExit(f"Set SKCLIF_DATA to the folder that holds {folder}/.")
    return Path(os.environ["SKCLIF_DATA"]) / folder
