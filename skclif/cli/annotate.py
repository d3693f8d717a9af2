"""``skclif annotate``: annotations by prompts, and what people should annotate next."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._results.words import how_many, is_or_are
from .command import Command
from .console import Console
from .options import (
    CORRECTIONS,
    DEVICE,
    JSON,
    MIN_CONFIDENCE,
    MODEL,
    NO_TEXT,
    QUIET,
    only_one,
    options,
)
from .prompts import (
    annotate_reviews,
    confidence_of,
    correction_files,
    read_people,
)
from .reviews import how_read, read_reviews, reading_annotations

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from .._audit.prompt_file import PromptFile
    from .._audit.prompted import Prompted
    from .._audit.rows import Reviews

PAGE = "annotate.html"


@click.command("annotate", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--prompts",
    required=True,
    multiple=True,
    callback=only_one,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Prompts that describe concepts, in YAML or JSON.",
)
@reading_annotations()
@MIN_CONFIDENCE
@CORRECTIONS
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="The largest number of lines of next.csv, and of held-out.csv.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Directory for the results, made if need be. Earlier results are replaced; "
    "what people corrected is kept.",
)
@options(MODEL, DEVICE, NO_TEXT, JSON, QUIET)
def annotate_command(
    file: Path,
    prompts: Path,
    corrections: tuple[Path, ...],
    limit: int,
    out: Path,
    no_text: bool,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> None:
    """Annotate the texts in FILE by prompts, and by what people said of them.

    Each concept is described by short prompts, such as "The food was delicious." for
    the value Positive of food. A text gets the value whose prompts it is most like, if
    that is sure enough. Annotations of people stay as they are, and correct the others.

    \b
    DIR then holds
      annotations.csv    every text: values, how sure, and whether people or prompts
                         said so
      next.csv           what people should annotate next, to write into and give back
                         with --corrections
      held-out.csv       with --label: what people should annotate of the texts that
                         skclif audit holds out, where no machine annotates
      annotate.html      a page to read and to decide on these lists
      annotations.json   how it was made, and what people corrected
    and embeddings.sqlite, so that a second run need not embed again.

    \b
    The file of prompts, where one value may have none:
      food:
        good: [The food was delicious., I loved the soup.]
        bad: [The food was terrible., The soup was cold.]
        not mentioned: []

    \b
    Example:
      skclif annotate reviews.csv --text review --id review_id --label stars \\
          --prompts concepts.yaml --out annotated
    """  # noqa: D301 - click reads backslash-b, so this cannot be raw
    console = Console(quiet, as_json)
    _refuse_without_label(click.get_current_context())
    with console.showing_warnings():
        from .._audit.asking import (
            ANNOTATIONS,
            HELD_OUT_LIST,
            NEXT,
            keep_written,
            tables_of,
        )
        from .._audit.prompt_corrections import RECORD, read_record
        from .._audit.prompt_file import PromptFile
        from .._audit.prompted import words_on_unsure
        from .._pages.annotate_page import Annotated, annotate_html
        from .._storage.cells import table_csv
        from .._storage.files import folder_to_fill, sole_writer, write_together

        source = PromptFile.read(prompts)
        for name in asked["concepts"]:
            if name.partition("=")[0] in source.concepts and "=" in name:
                raise click.ClickException(
                    f"--concept {name!r}: shares in columns such as {name!r} are read "
                    "by ConceptAnnotator in Python, and not here. Name a column with "
                    "one value for each text."
                )
            if name not in source.concepts:
                raise click.ClickException(
                    f"--concept {name!r}: {source.name} has no such concept, but "
                    f"{', '.join(source.concepts)}. Leave it out, or name the column "
                    "as the concept."
                )
        with folder_to_fill(out), sole_writer(out):
            record_path = out / RECORD
            earlier = read_record(record_path) if record_path.exists() else []
            console.stage("reading", f"Reading {file.name}")
            reviews = read_reviews(file, how_read(asked), console, source.concepts)
            is_held = _held_out(reviews, asked)
            reviews, people, every = read_people(
                *(console, reviews, source, correction_files(corrections), earlier),
                asked["encoding"],
            )
            found = annotate_reviews(console, out, reviews, source, people, asked)
            unsure = words_on_unsure(found, source, confidence_of(asked))
            if unsure is not None:
                console.warn(unsure)
            gains = None
            if is_held is not None:
                known = replace(reviews, concepts=found.concepts)
                gains = _gains(console, out, known, is_held, limit, asked)
            if no_text:
                reviews = reviews.without_texts()
            tables = tables_of(reviews, found, is_held, gains, asked["seed"], limit)
            ordered_by = list(dict.fromkeys(tables[NEXT]["ordered_by"]))
            record = {
                "prompts": {"file": source.name, "sha256": source.sha256},
                "confidence": confidence_of(asked),
                "counts": found.counts(),
                "values": found.values(source.concepts),
                "next_ordered_by": ordered_by,
                "held_out": _about_held_out(is_held, asked),
                "corrections": [one.plain() for one in every],
            }
            contents = {name: table_csv(table) for name, table in tables.items()}
            made = Annotated(
                *(file.name, reviews, found, source, confidence_of(asked)),
                *(tables, is_held, console.warnings),
            )
            contents[PAGE] = annotate_html(made).encode()
            contents[RECORD] = _record_bytes(record)
            for name in (NEXT, HELD_OUT_LIST):
                kept = keep_written(out / name)
                if kept is not None:
                    console.note(f"{out / name} was written into, and is {kept} now.")
            write_together(out, contents)
            if HELD_OUT_LIST not in tables:  # that of an earlier run is of no use now
                (out / HELD_OUT_LIST).unlink(missing_ok=True)
    for line in _words_on_counts(found, source):
        console.result(line)
    console.result(f"The annotations are in {out / ANNOTATIONS}")
    console.result(f"The page to read and decide on is {out / PAGE}")
    if is_held is not None:
        n_lines = len(tables[HELD_OUT_LIST])
        console.result(_words_on_held_out(is_held, n_lines, out / HELD_OUT_LIST))
    console.result(
        f"{how_many(len(tables[NEXT]), 'line')} in {out / NEXT}, ordered by "
        f"{', then '.join(ordered_by) or 'nothing'}: write what is true into proposed "
        "and accept into decision, and give the file back with --corrections."
    )
    console.json_result(
        annotations=str(out / ANNOTATIONS),
        page=str(out / PAGE),
        next=str(out / NEXT),
        next_ordered_by=ordered_by,
        held_out=None if is_held is None else str(out / HELD_OUT_LIST),
        counts=found.counts(),
        values=found.values(source.concepts),
    )


def _words_on_counts(found: Prompted, source: PromptFile) -> list[str]:
    """Return who annotated how many texts, and with which values, by concept."""
    values = found.values(source.concepts)
    return [
        f"{name}: {n['prompts']:,} by prompts, {n['people']:,} by people, "
        f"{n['nobody']:,} without an annotation "
        f"({', '.join(f'{value} {k:,}' for value, k in values[name].items())})."
        for name, n in found.counts().items()
    ]


_ABOUT_SPLITS = {
    "split_by": "--split-by",
    "time": "--time",
    "test_size": "--test-size",
    "seed": "--seed",
}


def _refuse_without_label(context: click.Context) -> None:
    """Refuse options about held-out texts where there are no labels."""
    given = click.core.ParameterSource.DEFAULT
    for name, option in _ABOUT_SPLITS.items():
        if context.params["label"] is None and (
            context.get_parameter_source(name) is not given
        ):
            raise click.UsageError(
                f"{option} is about the texts that skclif audit holds out, which "
                "depends on their labels, and there are none. Name their column with "
                "--label, or leave the option out."
            )


def _held_out(reviews: Reviews, asked: dict[str, Any]) -> np.ndarray | None:
    """Return which texts an audit with the same options holds out; None without labels.

    Without labels, nothing is known of that.
    """
    from .._audit.splits import is_held_out

    if asked["label"] is None:
        return None
    return is_held_out(reviews, asked["test_size"], asked["seed"])


def _gains(
    console: Console,
    out: Path,
    reviews: Reviews,
    is_held: np.ndarray,
    limit: int,
    asked: dict[str, Any],
) -> pd.DataFrame | None:
    """Return which missing annotations are expected to help."""
    from .._audit.asking import gains_of_texts
    from .._text.embedder import SentenceEmbedder

    assert reviews.texts is not None
    console.stage("choosing", "Choosing what to annotate next")
    embedder = SentenceEmbedder(
        asked["model"],
        device=asked["device"],
        long_text="mean",
        cache_dir=out,
        verbose=int(console.shows_bars),
    )
    reviews = reviews.embedded(embedder.transform(reviews.texts))
    return gains_of_texts(reviews, is_held, limit, asked["device"])


def _about_held_out(
    is_held: np.ndarray | None, asked: dict[str, Any]
) -> dict[str, Any] | None:
    """Return what annotations.json says of held-out texts."""
    if is_held is None:
        return None
    about = {name: asked[name] for name in ("label", *_ABOUT_SPLITS)}
    return {"texts": int(is_held.sum()), **about}


def _words_on_held_out(is_held: np.ndarray, n_lines: int, path: Path) -> str:
    n = int(is_held.sum())
    it = "it" if n == 1 else "them"
    return (
        f"{how_many(n, 'text')} {is_or_are(n)} held out by skclif audit with the same "
        f"options, and no machine annotates {it} there: "
        f"{how_many(n_lines, 'line')} in {path}, for people to annotate first."
    )


def _record_bytes(record: dict[str, Any]) -> bytes:
    from .._audit.prompt_corrections import FORMAT_VERSION
    from .._version import __version__

    content = {
        "skclif_version": __version__,
        "format_version": FORMAT_VERSION,
        **record,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()
