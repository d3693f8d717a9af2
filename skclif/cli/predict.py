"""``skclif predict``: what a stored model predicts for texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._results.words import how_many
from .command import Command
from .console import Console, embed
from .options import DEVICE, MODEL_PLACE, NO_TEXT, QUIET, options
from .reviews import how_read, read_reviews, reading_texts

if TYPE_CHECKING:
    import pandas as pd


_AS_AUDITED = "The audit of this model treated long texts in the same way."


@click.command("predict", cls=Command)
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@reading_texts()
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the predictions.  [default: the standard output]",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Write JSON Lines instead of CSV."
)
@options(MODEL_PLACE, DEVICE, NO_TEXT, QUIET)
def predict_command(
    model: Path,
    file: Path,
    out: Path | None,
    as_json: bool,
    model_place: str | None,
    device: str,
    no_text: bool,
    quiet: bool,
    **columns: Any,
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
        from .._models.files import read_model
        from .._storage.cells import table_csv
        from .._storage.files import write_whole
        from ..exceptions import ModelFileError

        stored = read_model(model / MODEL if model.is_dir() else model)
        if stored.embedder is None and stored.encoder is None:
            raise ModelFileError(
                f"{model} holds a model of features, without an embedder; use "
                "skclif.load_model in Python."
            )
        console.stage("reading", f"Reading {file.name}")
        rows = read_reviews(file, how_read(columns), console)
        console.stage("embedding", f"Embedding {how_many(len(rows), 'text')}")
        embedder = stored.transformer(
            model_place, device=device, verbose=int(console.shows_bars)
        )
        assert rows.texts is not None and embedder is not None
        X, _ = embed(console, embedder, rows.texts, _AS_AUDITED)
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
