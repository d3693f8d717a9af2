"""``skclif embed``: texts of a file to vectors in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from .._results.words import how_many, is_or_are, rate
from .command import Command
from .console import Console
from .options import DEVICE, JSON, LONG_TEXT, MODEL, QUIET, options
from .reviews import reading_columns


@click.command("embed", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to write the vectors: the name of a .npy file.",
)
@reading_columns()
@click.option(
    "--lines", is_flag=True, help="Take each line of FILE as a text, not a table."
)
@click.option(
    "--keep-incomplete",
    is_flag=True,
    help="Embed rows without a text as the empty text; otherwise they are refused.",
)
@options(MODEL, DEVICE, LONG_TEXT)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "bfloat16", "auto"]),
    default="float32",
    show_default=True,
    help="Precision of the computation; vectors are float32.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Number of texts that are computed at once.",
)
@click.option(
    "--cache",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of a store of vectors: no text that is in it is computed again.",
)
@options(QUIET, JSON)
def embed_command(
    file: Path,
    out: Path,
    text: tuple[str, ...],
    encoding: str,
    quoted: bool | None,
    sheet: str | None,
    column_names: dict[int, str],
    lines: bool,
    keep_incomplete: bool,
    model: str,
    device: str,
    long_text: str,
    dtype: str,
    batch_size: int,
    cache: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Embed the texts of FILE into a .npy file, in memory that does not grow.

    FILE is CSV, JSON Lines, Parquet, a folder of Parquet files, or with --lines a file
    with a text on each line. All of it is read and checked before a text is embedded.
    A run that was stopped, or killed, continues when the same command is run again.
    Python reads the vectors with numpy.load(FILE, mmap_mode="r").

    \b
    Example:
      skclif embed reviews.csv --text review --out vectors.npy
    """  # noqa: D301 - click reads backslash-b, so this cannot be raw
    if lines:
        _refuse_columns()
    console = Console(quiet, as_json)
    with console.showing_warnings():
        from .._text.embed_file import embed_file
        from .._text.embedder import SentenceEmbedder
        from .._text.text_file import TextFile

        embedder = SentenceEmbedder(
            model,
            device=device,
            long_text=long_text,
            dtype=dtype,
            batch_size=batch_size,
            cache_dir=cache,
            verbose=int(not quiet),
        )
        texts = TextFile.of(
            file,
            None if lines else text,
            keep_incomplete,
            encoding=encoding,
            quoted=quoted,
            sheet=sheet,
            column_names=column_names,
        )
        console.stage("embedding", f"Embedding the texts of {file.name}")
        found = embed_file(embedder, texts, out)
    record = found.record
    size = f"{out.stat().st_size / 1e6:,.1f} MB"
    about = f"{how_many(record.n_texts, 'vector')} of {record.n_features} values"
    if found.texts_a_second is None:
        console.result(f"{out} was whole before: {about}, {size}.")
    else:
        n_before = found.n_before
        before = f"{n_before:,} of them were there before; " if n_before else ""
        console.result(f"{about} {is_or_are(record.n_texts)} in {out}, {size}.")
        console.result(f"{before}{rate(found.texts_a_second)} texts a second.")
    console.json_result(
        vectors=str(out),
        n_texts=record.n_texts,
        n_features=record.n_features,
        n_before=found.n_before,
        n_truncated=record.n_truncated,
        seconds=round(found.seconds, 3),
        texts_a_second=found.texts_a_second,
        sha256=record.sha256,
    )


def _refuse_columns() -> None:
    """Refuse options of tables where there is none."""
    context = click.get_current_context()
    for name, option in _OF_TABLES.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"{option} is about tables, and --lines reads lines. Leave out one of "
                "them."
            )


_OF_TABLES: dict[str, Any] = {
    "text": "--text",
    "quoted": "--quoted",
    "sheet": "--sheet",
    "column_names": "--column",
}
