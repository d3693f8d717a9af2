"""Comments of NHS patients: sentiment and themes by hand, and where meanings drift."""

import csv
import hashlib
import io
import os
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from .._inputs.sklearn import StrOptions, validate_params
from ._official import FETCHING, OfficialFile, named_folder

_COMMIT = "ba6c0a2f10ca9bb3b964b72afe6047b463095c75"
_REPOSITORY = "https://github.com/The-Strategy-Unit/pxtextmining"
_FILE_NAME = "v6framework_230831.csv"
_FILE = OfficialFile(
    _FILE_NAME,
    f"{_REPOSITORY}/raw/{_COMMIT}/datasets/{_FILE_NAME}",
    "6c90cc740f2c486a17ef89be852f13f8ca434da4e2a06254a43288de7dc39567",
)
# The parts as they are written down once prepared, in a folder of this name.
_FOLDER = "nhs_feedback"
_PARTS = {
    "train": "37baa1706ac76b0e5cc7f7deecf7589cf90bd4659d8cca9544b422a32bfbc08b",
    "dev": "25ba4fd601dd18f182dff35d08c5a044cfd0ed20fbe66666d2a402fc25a1b21a",
    "test": "cf2983a50982e4994c89a7bf771803939043cca1d31e17c34956e08856f72d13",
}
_SHARES = {"train": 0.6, "dev": 0.8, "test": 1.0}  # where each part ends

_LABELS = ("positive", "positive", "neutral or mixed", "negative", "negative")
# At least 100 comments have each of them; of dissatisfaction there are 73.
_THEMES = {
    "gratitude": "Positive experience & gratitude",
    "dissatisfaction": "Negative experience & dissatisfaction",
    "staff manner": "Staff manner & personal attributes",
    "listening": "Staff listening, understanding & involving patients",
    "responsiveness": "Staff responsiveness",
    "staff numbers": "Number & deployment of staff",
    "competence": "Competence & training",
    "information from staff": "Information directly from staff during care",
    "kept informed": "Being kept informed, clarity & consistency of information",
    "timeliness": "Timeliness of care",
    "contacting": "Contacting services",
    "appointments": "Appointment arrangements",
    "continuity": "Referals & continuity of care",
    "diagnosis": "Diagnosis & triage",
    "transport": "Transport to/ from services",
    "impact of care": "Impact of treatment/ care",
    "activities": "Activities & access to fresh air",
    "food and drink": "Food & drink provision & facilities",
}
_QUESTIONS = {
    "FFT Why?": "why",
    "How could we improve?": "improve",
    "What could we do better?": "improve",
    "What was good?": "good",
}
_OTHER_QUESTION = "satisfied or not"
_METADATA = ("trust", "service", "question", "quarter", "patient_rating", "sentiment")
_WORST_RATING = 5  # greater codes are answers such as "don't know"
# Answers that say nothing, spelled as pandas spells a missing value.
_NO_ANSWERS = {
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-NaN",
    "-nan",
    "<NA>",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "None",
    "n/a",
    "nan",
    "null",
}
_NAME = re.compile(r"\b(Mr|Mrs|Ms|Miss|Dr|Doctor|Nurse|Sister)\.? [A-Z][a-z]+")

_DESCR = f"""Comments of NHS patients, with sentiment and themes by hand

5,311 answers to the NHS England Friends and Family Test from two trusts that agreed to
their publication: NEAS (ambulances, 111, patient transport) and NHFT (mental health,
community and forensic care), 2021 and 2022. One labeller a comment, in the project
Patient Experience Qualitative Data Categorisation, funded by NHS England.

subset    rows   positive   neutral or mixed   negative
train    3,142      1,846                376        920
dev      1,052        626                120        306
test     1,117        680                122        315

Of the file, empty answers, answers without a sentiment or marked as impossible to
label, and repeated texts (but for case and punctuation) are left out, as are the ids of
comments and respondents; a name that follows a title is replaced by [name]. The text
alone decides in which part a row is.

A theme says what a comment is about, not whether it praises: the true themes tell the
label in part only, and a bottleneck that beats them leaks. What a theme means for the
label depends on the question that was asked, and on the trust. Some sources never have
some themes.

Source: {_REPOSITORY}, the file
datasets/{_FILE_NAME} at commit
{_COMMIT}, SHA-256
{_FILE.sha256}

MIT License

Copyright (c) 2021 NHS England

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


@validate_params(
    {"subset": [StrOptions({"train", "dev", "test", "all"})], **FETCHING},
    prefer_skip_nested_validation=True,
)
def fetch_patient_feedback(
    subset: str = "train",
    *,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    as_frame: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Bunch | tuple[Any, Any]:
    """Load comments of NHS patients, with sentiment and 18 annotated themes.

    Each comment has a label (positive, neutral or mixed, negative) and a "yes" or "no"
    for each theme, by one labeller. `metadata` says where and when a comment comes
    from: what a theme means for the label differs between questions and trusts, so the
    set shows what drift does.

    The file is looked for in the folder that the environment variable `SKCLIF_DATA`
    names, then in `data_home`, and is downloaded (1.7 MB) as a last resort. Its SHA-256
    is checked each time before it is read. In place of the file, `SKCLIF_DATA` may
    have a folder "nhs_feedback" with the parts as prepared, whose SHA-256 is checked
    too.

    Parameters
    ----------
    subset : {"train", "dev", "test", "all"}, default="train"
        The part of the data to load: 60, 20 and 20 % of the texts, which the text alone
        decides. "all" has them below each other.

    data_home : str or path-like, default=None
        The folder whose subfolder "skclif" keeps the downloaded file. None is
        scikit-learn's own, see :func:`sklearn.datasets.get_data_home`.

    download_if_missing : bool, default=True
        If False, raise an OSError where the file would have to be downloaded.

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
    comments : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with these fields. The rows of all of them are the same,
        and the index of every Series and DataFrame is `ids`.

        data : Series or ndarray of shape (n_samples,)
            The texts.
        target : Series or ndarray of shape (n_samples,)
            "positive", "neutral or mixed" or "negative".
        concepts : DataFrame or ndarray of shape (n_samples, 18)
            "yes" or "no" for each theme. None is missing: what the labeller did not
            name is "no".
        frame : DataFrame of shape (n_samples, 20) or None
            The columns "text" and "label" and those of `concepts`.
        ids : Index of shape (n_samples,)
            12 hexadecimal digits, made of the text. The ids of the file are of people.
        concept_names : list of str
            The names of the themes.
        metadata : DataFrame
            Not to train on. "trust", "service", "question" ("why", "good", "improve" or
            "satisfied or not"), "quarter" (such as "2021Q3"; NaN = unknown),
            "patient_rating" (the patient's own, 1 very good to 5 very poor; NA =
            unknown) and "sentiment" (the labeller's, 1 very positive to 5 very
            negative; mixed is 3).
        DESCR : str
            Description, source, and the licence (MIT) that has to stay with the data.

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
    fetch_cebab : Restaurant reviews with four concepts.

    Examples
    --------
    >>> from skclif.datasets import fetch_patient_feedback
    >>> comments = fetch_patient_feedback("dev")  # doctest: +SKIP
    >>> comments.concepts.shape  # doctest: +SKIP
    (1052, 18)
    """
    parts = [*_PARTS] if subset == "all" else [subset]
    rows = _prepared(parts)
    if rows is None:
        content = _FILE.read(data_home, download_if_missing, n_retries, delay)
        rows = _prepare(content, parts)
    rows = rows.set_index(pd.Index(rows["text"].map(_digits), name="id"))
    data, target = rows["text"], rows["label"]
    concepts, metadata = rows[[*_THEMES]], rows[[*_METADATA]]
    frame = pd.concat([data, target, concepts], axis=1)
    if not as_frame:
        data, target = data.to_numpy(dtype=object), target.to_numpy(dtype=object)
        concepts, frame = concepts.to_numpy(dtype=object), None
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        concepts=concepts,
        frame=frame,
        ids=rows.index,
        concept_names=[*_THEMES],
        metadata=metadata,
        DESCR=_DESCR,
    )


fetch_patient_feedback.__module__ = "skclif.datasets"


def _prepared(parts: list[str]) -> pd.DataFrame | None:
    """Return the rows of parts that somebody prepared, or None if they are not there.

    Either all parts are read from files or none is.
    """
    folder = named_folder()
    if folder is None:
        return None
    paths = [folder / _FOLDER / f"{part}.csv" for part in parts]
    if not all(path.is_file() for path in paths):
        return None
    tables = []
    for part, path in zip(parts, paths, strict=True):
        file = OfficialFile(f"{part}.csv of {_FOLDER}", _FILE.url, _PARTS[part])
        content = file.checked(
            path.read_bytes(), path, f"Remove it, and put {_FILE_NAME} in its place"
        )
        tables.append(_table(csv.DictReader(io.StringIO(content.decode()))))
    return pd.concat(tables, ignore_index=True)


def _prepare(content: bytes, parts: list[str]) -> pd.DataFrame:
    """Return rows of the official file."""
    by_part: dict[str, list[dict[str, str]]] = {part: [] for part in _PARTS}
    seen = set()
    for record in csv.DictReader(io.StringIO(content.decode())):
        row = _row(record)
        if row is None or (key := _key(row["text"])) in seen:
            continue
        seen.add(key)
        by_part[_part(row["text"])].append(row)
    return _table(row for part in parts for row in by_part[part])


def _row(record: dict[str, str]) -> dict[str, str] | None:
    """Return what is kept of a record of the official file, None if it is left out."""
    answer = record["FFT answer"]
    text = _NAME.sub(r"\1 [name]", " ".join(answer.split()))
    sentiment = record["Comment sentiment"]
    if not _key(text) or answer in _NO_ANSWERS or text == "Did not answer":
        return None
    if not sentiment or record["Labelling not possible"]:
        return None
    grade = int(float(sentiment))
    rating = record["FFT categorical answer"]
    is_rating = rating and float(rating) <= _WORST_RATING
    question = _QUESTIONS.get(record["FFT question"].strip(), _OTHER_QUESTION)
    themes = {n: "yes" if record[theme] else "no" for n, theme in _THEMES.items()}
    return {
        "text": text,
        "label": _LABELS[grade - 1],
        **themes,
        "trust": record["Trust"],
        "service": re.sub(r"\s+-\s*", " - ", record["Service type 1"]) or "Unknown",
        "question": question,
        "quarter": _quarter(record["Date"]),
        "patient_rating": str(int(float(rating))) if is_rating else "",
        "sentiment": str(grade),
    }


def _table(rows: Iterator[dict[str, str]]) -> pd.DataFrame:
    """Return rows of strings as a frame; an empty string is a missing value."""
    frame = pd.DataFrame(rows)
    frame["quarter"] = frame["quarter"].replace("", np.nan)
    rating = pd.to_numeric(frame["patient_rating"])
    frame["patient_rating"] = rating.astype("Int64")
    return frame.astype({"sentiment": int})


def _quarter(date: str) -> str:
    """Return the quarter of a date, "" if it is none."""
    try:
        day = datetime.strptime(date, "%d/%m/%Y")
    except ValueError:
        return ""
    return f"{day.year}Q{(day.month + 2) // 3}"


def _key(text: str) -> str:
    """Return what two texts share that differ in case and punctuation alone."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


def _digits(text: str) -> str:
    return hashlib.sha256(f"nhs{_key(text)}".encode()).hexdigest()[:12]


def _part(text: str) -> str:
    """Return the part of a text: the text alone decides."""
    place = int(_digits(text), 16) / 16**12
    return next(part for part, end in _SHARES.items() if place < end)
