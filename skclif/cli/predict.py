"""``skclif predict``: what a stored model predicts for texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .._results.words import how_many
from .command import Command
from .console import Console, embed
from .options import DEVICE, ENCODING, MODEL_PLACE, NO_TEXT, QUIET, options
from .reviews import TEXT

if TYPE_CHECKING:
    import pandas as pd


_AS_AUDITED = "The audit of this model treated long texts in the same way."


@click.command("predict", cls=Command)
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@TEXT
@click.option(
    "--id",
    "id_",
    metavar="COLUMN",
    help="Column that names the rows.  [default: row-1, row-2, …]",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the predictions.  [default: the standard output]",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Write JSON Lines instead of CSV."
)
@options(MODEL_PLACE, DEVICE, ENCODING, NO_TEXT, QUIET)
def predict_command(
    model: Path,
    file: Path,
    text: str,
    id_: str | None,
    out: Path | None,
    as_json: bool,
    model_place: str | None,
    device: str,
    encoding: str,
    no_text: bool,
    quiet: bool,
) -> None:
    """Predict label and concepts of the texts in FILE with a stored MODEL.

    MODEL is a file model.safetensors, or the folder of an audit with this file in it.
    Each text has one line: id, text_hash, text, the predicted label, the probability of
    every label, and the predicted concepts.

    \b
    Example:
      skclif predict report new.csv --text review --id review_id --out predicted.csv
    """  # noqa: D301 - click reads backslash-b, so this cannot be raw
    console = Console(quiet)
    with console.showing_warnings():
        from .._audit.folder import MODEL
        from .._audit.predictions import predicted_table
        from .._audit.rows import Reviews
        from .._models.files import embedder_of, read_model
        from .._storage.cells import table_csv
        from .._storage.files import write_whole
        from ..datasets import load_reviews
        from ..exceptions import ModelFileError

        stored = read_model(model / MODEL if model.is_dir() else model)
        if stored.embedder is None:
            raise ModelFileError(
                f"{model} holds a model of features, without an embedder; use "
                "skclif.load_model in Python."
            )
        console.stage("reading", f"Reading {file.name}")
        found = load_reviews(file, text=text, label=None, id=id_, encoding=encoding)
        rows = Reviews.from_parts(found.ids, found.data, [0] * len(found.ids))
        console.stage("embedding", f"Embedding {how_many(len(rows), 'text')}")
        embedder = embedder_of(
            stored.embedder, model_place, device=device, verbose=int(console.shows_bars)
        )
        X, _ = embed(console, embedder, found.data.to_numpy(object), _AS_AUDITED)
        rows = rows.embedded(X)
        table = predicted_table(
            stored.classifier, rows.without_texts() if no_text else rows
        )
        content = _json_lines(table) if as_json else table_csv(table)
        if out is None:
            click.echo(content, nl=False)
        else:
            write_whole(out, content)
            click.echo(f"The predictions are in {out}")


def _json_lines(table: pd.DataFrame) -> bytes:
    lines = [json.dumps(line, ensure_ascii=False) for line in table.to_dict("records")]
    return "".join(f"{line}\n" for line in lines).encode()
