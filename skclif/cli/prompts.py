"""Annotations by prompts, for the commands that make them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._results.words import how_many, is_or_are
from .console import Console

if TYPE_CHECKING:
    from .._audit.prompt_corrections import Correction
    from .._audit.prompt_file import PromptFile
    from .._audit.prompted import Prompted
    from .._audit.rows import Reviews

MIN_CONFIDENCE = 0.7  # by default


def read_people(
    console: Console,
    reviews: Reviews,
    file: PromptFile,
    paths: Sequence[Path],
    earlier: Sequence[Correction] = (),
    encoding: str = "utf-8",
) -> tuple[Reviews, list[Correction], list[Correction]]:
    """Return reviews with what people said, and corrections.

    Parameters
    ----------
    console : Console
    reviews : Reviews
    file : PromptFile
    paths : sequence of Path
        Files of decisions; of two about the same, the later counts.
    earlier : sequence of Correction
        Of earlier runs.
    encoding : str, default="utf-8"
        Of files that are not in UTF-8.

    Returns
    -------
    reviews : Reviews
    fitting : list of Correction
        Those of texts that are there, by the ids that they have now.
    every : list of Correction
        All of them as they were given, to be remembered; the last ones last.
    """
    from .._audit.prompt_corrections import corrected, placed
    from .._audit.prompt_file import with_people

    reviews = with_people(reviews, file)
    corrections = {(one.id, one.path): one for one in earlier}
    for path in paths:
        found = _corrections(console, path, reviews, file, encoding)
        corrections |= {(one.id, one.path): one for one in found}
    every = [*corrections.values()]
    fitting, n_left = placed(reviews, file, every)
    if n_left:
        console.warn(
            f"{how_many(n_left, 'earlier correction')} {is_or_are(n_left)} about "
            "texts, concepts or values that are not in the files now, and "
            f"{is_or_are(n_left)} left out."
        )
    return corrected(reviews, fitting), fitting, every


def _corrections(
    console: Console, path: Path, reviews: Reviews, file: PromptFile, encoding: str
) -> list[Correction]:
    """Return what people say in a file, and tell what is left out of it."""
    from .._audit.prompt_corrections import RECORD, read_corrections, read_record

    if path.name == RECORD:
        found, n_others, n_unsaid = read_record(path), 0, 0
    else:
        found, n_others, n_unsaid = read_corrections(path, reviews, file, encoding)
    said = f"{how_many(len(found), 'annotation')} of people in {path.name}"
    if not found:
        console.warn(f"{said}: it has no line that is accepted or rejected.")
    else:
        console.note(said)
    if n_unsaid:
        console.warn(
            f"{path}: {how_many(n_unsaid, 'line')} {_has_or_have(n_unsaid)} a value in "
            "proposed and nothing in decision, and "
            f"{_does_or_do(n_unsaid)} not count. Write accept into decision."
        )
    if n_others:
        console.warn(
            f"{path}: {how_many(n_others, 'accepted line')} {is_or_are(n_others)} "
            "about labels or rows, and not about annotations; they are left out. "
            "skclif apply carries them out in the folder of an audit."
        )
    return found


def _has_or_have(n: int) -> str:
    return "has" if n == 1 else "have"


def _does_or_do(n: int) -> str:
    return "does" if n == 1 else "do"


def correction_files(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return files of corrections; for a folder of skclif annotate, its record."""
    from .._audit.prompt_corrections import RECORD
    from ..exceptions import DataFileError

    for path in paths:
        if path.is_dir() and not (path / RECORD).exists():
            raise DataFileError(
                f"--corrections {path}: this folder has no {RECORD}, which skclif "
                "annotate writes. Name its folder, or a file of decisions."
            )
    return tuple(path / RECORD if path.is_dir() else path for path in paths)


def confidence_of(options: dict[str, Any]) -> float:
    """Return how sure prompts have to be of an annotation."""
    asked = options["min_confidence"]
    return MIN_CONFIDENCE if asked is None else float(asked)


def annotate_reviews(
    console: Console,
    out: Path,
    reviews: Reviews,
    file: PromptFile,
    corrections: Sequence[Correction],
    options: dict[str, Any],
) -> Prompted:
    """Return what prompts and people say of texts, and keep vectors in a folder."""
    from .._audit.prompted import annotate, words_on_few, words_on_values
    from .._inputs.devices import resolve_device
    from .._text.embedder import SentenceEmbedder

    resolve_device(options["device"])
    console.stage(
        "annotating", f"Annotating {how_many(len(reviews), 'text')} by {file.name}"
    )
    embedder = SentenceEmbedder(
        options["model"],
        device=options["device"],
        layers=None,
        long_text="mean",
        cache_dir=out,
        verbose=int(console.shows_bars),
    )
    found = annotate(reviews, file, embedder, confidence_of(options), corrections)
    for words in (words_on_few(reviews), words_on_values(found, file)):
        if words is not None:
            console.warn(words)
    return found
