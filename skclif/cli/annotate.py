"""``skclif annotate``: annotations by prompts, and what people should annotate next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._results.words import how_many
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
    options,
)
from .prompts import annotate_reviews, confidence_of, read_people
from .reviews import how_read, read_reviews, reading_annotations

if TYPE_CHECKING:
    from .._audit.prompted import Correction

ANNOTATIONS, NEXT, RECORD = "annotations.csv", "next.csv", "annotations.json"
FORMAT_VERSION = 1


@click.command("annotate", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--prompts",
    required=True,
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
    help="The largest number of lines of next.csv.",
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
      annotations.json   how it was made, and what people corrected
    and embeddings.sqlite, so that a second run need not embed again.

    \b
    Example:
      skclif annotate reviews.csv --text review --id review_id \\
          --prompts concepts.yaml --out annotated
    """  # noqa: D301 - click reads backslash-b, so this cannot be raw
    console = Console(quiet, as_json)
    with console.showing_warnings():
        from .._audit.prompted import PromptFile, annotations_table, next_table
        from .._storage.cells import table_csv
        from .._storage.files import sole_writer, write_together

        source = PromptFile.read(prompts)
        for name in asked["concepts"]:
            if name not in source.concepts:
                raise click.ClickException(
                    f"--concept {name!r}: {source.name} has no such concept, but "
                    f"{', '.join(source.concepts)}. Leave it out, or name the column "
                    "as the concept."
                )
        out.mkdir(parents=True, exist_ok=True)
        with sole_writer(out):
            earlier = _earlier(out / RECORD)
            console.stage("reading", f"Reading {file.name}")
            reviews = read_reviews(file, how_read(asked), console)
            reviews, people = read_people(
                console, reviews, source, corrections, earlier
            )
            found = annotate_reviews(console, out, reviews, source, people, asked)
            if no_text:
                reviews = reviews.without_texts()
            tables = {
                ANNOTATIONS: annotations_table(reviews, found),
                NEXT: next_table(reviews, found, limit),
            }
            record = {
                "prompts": {"file": source.name, "sha256": source.sha256},
                "confidence": confidence_of(asked),
                "counts": found.counts(),
                "corrections": [one.plain() for one in people],
            }
            contents = {name: table_csv(table) for name, table in tables.items()}
            contents[RECORD] = _record_bytes(record)
            write_together(out, contents)
    for name, counts in found.counts().items():
        console.result(
            f"{name}: {counts['prompts']:,} by prompts, {counts['people']:,} by "
            f"people, {counts['nobody']:,} without an annotation."
        )
    console.result(f"The annotations are in {out / ANNOTATIONS}")
    console.result(
        f"{how_many(len(tables[NEXT]), 'line')} in {out / NEXT}: write what is true "
        "into proposed and accept into decision, and give the file back with "
        "--corrections."
    )
    console.json_result(
        annotations=str(out / ANNOTATIONS), next=str(out / NEXT), counts=found.counts()
    )


def _record_bytes(record: dict[str, Any]) -> bytes:
    from .._version import __version__

    content = {
        "skclif_version": __version__,
        "format_version": FORMAT_VERSION,
        **record,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _earlier(path: Path) -> list[Correction]:
    """Return what people corrected in earlier runs."""
    from .._audit.prompted import Correction
    from ..exceptions import DataFileError

    if not path.exists():
        return []
    try:
        record = json.loads(path.read_bytes())
        version = record["format_version"]
        found = [Correction(*one) for one in record["corrections"]]
    except (ValueError, LookupError, TypeError) as error:
        raise DataFileError(
            f"{path} is not the file that skclif annotate wrote ({error}). Restore it, "
            "or delete it: then only corrections that are given again count."
        ) from error
    if version != FORMAT_VERSION:
        raise DataFileError(
            f"{path} has format version {version!r}, and this skclif reads "
            f"{FORMAT_VERSION}. Name another --out."
        )
    return found
