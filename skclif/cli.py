"""The command ``skclif``: audits of text classifiers, from a file to a page.

Whatever takes time to import is imported inside the commands, so that help is quick.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import __version__
from ._embedding_models import DEFAULT_MODEL

if TYPE_CHECKING:
    from ._audit import Audit
    from ._audit_data import Reviews

FORMAT_VERSION = 1

_PACKAGES = (
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "sentence-transformers",
    "torch",
    "transformers",
)
_CEBAB_ABOUT = (
    "The reviews are CEBaB's (Abraham et al., 2022, arXiv 2205.14140; CC BY 4.0): "
    "training on its exclusive training split, evaluation on its test split."
)
_GENERATED_ABOUT = (
    "The reviews are generated. In the training part, one label and one annotation in "
    "ten are wrong on purpose; the held-out part is clean."
)
_N_GENERATED = 2400
_PLANTED_SHARE = 0.1
_MISSING_SHARE = 0.2


def _model_options(command):
    """Add the options that both commands have."""
    options = [
        click.option(
            "--model",
            default=DEFAULT_MODEL,
            show_default=True,
            help="Embedding model: a local directory, or a name on the Hub.",
        ),
        click.option(
            "--device",
            default="cpu",
            show_default=True,
            help="Where to compute: cpu, cuda, cuda:N or auto.",
        ),
        click.option(
            "--long-text",
            type=click.Choice(["truncate", "mean"]),
            default="truncate",
            show_default=True,
            help="Texts longer than the model reads: read their beginning only, or "
            "average over chunks.",
        ),
        click.option(
            "--training",
            type=click.Choice(["sequential", "independent"]),
            default="sequential",
            show_default=True,
            help="Train the label on predicted concepts, or on annotated ones.",
        ),
        click.option(
            "--C",
            "C",
            type=click.FloatRange(min=0, min_open=True),
            default=1.0,
            show_default=True,
            help="Inverse penalty of the label's model and of the black box.",
        ),
        click.option(
            "--concept-C",
            "concept_C",
            type=click.FloatRange(min=0, min_open=True),
            default=1.0,
            show_default=True,
            help="Inverse penalty of the concepts' models.",
        ),
        click.option(
            "--method",
            type=click.Choice(["auto", "newton", "leverage", "first_order"]),
            default="auto",
            show_default=True,
            help="How influence is computed: newton is closest to retraining, "
            "first_order fastest. auto takes newton for up to some thousand texts to "
            "train on, then leverage.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(min=0, max=2**32 - 1),
            default=0,
            show_default=True,
            help="Of every random choice.",
        ),
        click.option(
            "--max-mistakes",
            type=click.IntRange(min=0),
            default=10,
            show_default=True,
            help="For how many mistakes, the worst first, to name culprits.",
        ),
        click.option(
            "--no-text", is_flag=True, help="Keep texts out of every file written."
        ),
        click.option("--quiet", "-q", is_flag=True, help="Show no progress."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="skclif", prog_name="skclif")
def main():
    """Text classifiers that people can audit and repair.

    `skclif demo` shows what an audit is; `skclif audit` makes one of your own file.
    """


@main.command("audit")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--text", default="text", show_default=True, help="Column of the texts.")
@click.option(
    "--label", default="label", show_default=True, help="Column of the labels."
)
@click.option(
    "--concept",
    "concepts",
    multiple=True,
    metavar="COLUMN",
    help="Column of a concept's annotations; repeat it for each. Empty cells are not "
    "annotated. Without any, the black box itself is audited.",
)
@click.option(
    "--id",
    "id_",
    metavar="COLUMN",
    help="Column that names the rows.  [default: row-1, row-2, …]",
)
@click.option(
    "--group", metavar="COLUMN", help="Column of groups to report on separately."
)
@click.option(
    "--test",
    "test_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Evaluate on this file, with the same columns, instead of on a part held out.",
)
@click.option(
    "--test-size",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.25,
    show_default=True,
    help="Share of the texts to hold out.",
)
@click.option(
    "--encoding",
    default="utf-8",
    show_default=True,
    help="Encoding of the files.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Directory for the results; made if need be, earlier results replaced.",
)
@_model_options
def audit_command(file, test_file, test_size, out, quiet, **options):
    """Audit a classifier of the texts in FILE.

    Embeds the texts, fits a concept bottleneck, evaluates it on a held-out part beside
    a black box, and traces its mistakes to training rows. FILE is CSV, TSV, JSON Lines
    or Parquet, with one row a text.

    \b
    DIR then holds
      audit.html       the page to read
      predictions.csv  every held-out row
      influence.csv    which training rows stand behind the errors
      run.json         numbers, options, versions, fingerprints, timings
    and embeddings.sqlite, so that a second run need not embed again.

    \b
    Example:
      skclif audit reviews.csv --text review --label stars \\
          --concept food --concept service --id review_id --out report
    """  # noqa: D301 - click reads backslash-b, so this cannot be raw
    stages = _Stages(quiet)
    with _expected_errors():
        _make_folder(out)
        stages.begin("reading", f"Reading {file.name}")
        train, held_out = _load(file, test_file, test_size, options)
    files = {"training_file": file}
    if test_file is not None:
        files["test_file"] = test_file
    data = {
        "name": file.name,
        "test_name": None if test_file is None else test_file.name,
        "about": None,
    }
    shown = {
        "text": options["text"],
        "label": options["label"],
        "concepts": list(options["concepts"]),
        "id": options["id_"],
        "group": options["group"],
        "test_size": test_size if test_file is None else None,
        "encoding": options["encoding"],
    }
    run = {"command": "audit", "data": data, "options": shown}
    _audit_and_write(stages, train, held_out, out, run, files, options)


@main.command("demo")
@click.option(
    "--data",
    type=click.Choice(["auto", "cebab", "generated"]),
    default="auto",
    show_default=True,
    help="CEBaB (real restaurant reviews), generated reviews, or CEBaB if it can be "
    "had.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="demo-report",
    show_default=True,
    metavar="DIR",
    help="Directory for the results.",
)
@_model_options
def demo_command(data, out, quiet, **options):
    """Show an audit: of CEBaB where it can be had, otherwise of generated reviews."""
    stages = _Stages(quiet)
    parts, reason = None, "--data generated asks for them"
    with _expected_errors():
        _make_folder(out)
        stages.begin("reading", "Getting the reviews")
        if data != "generated":
            parts, reason = _cebab(must=data == "cebab")
    if parts is not None:
        (train, held_out), planted = parts, None
        name, about = "CEBaB", _CEBAB_ABOUT
    else:
        train, held_out, planted = _generated(options["seed"])
        name, about = "generated reviews", _GENERATED_ABOUT
    click.echo(f"Data: {name}, because {reason}")
    run = {
        "command": "demo",
        "data": {"name": name, "test_name": None, "about": about},
        "options": {"data": data},
    }
    _audit_and_write(stages, train, held_out, out, run, {}, options, planted)


# --- The one way from reviews to files ------------------------------------------------


def _audit_and_write(
    stages: _Stages,
    train: Reviews,
    held_out: Reviews,
    out: Path,
    run: dict,
    files: dict[str, Path],
    options: dict,
    planted: dict[str, str] | None = None,
):
    from ._audit import audit, fit_models
    from ._audit_data import check_parts, same_kinds
    from .report import audit_html

    with _expected_errors():
        train, held_out = same_kinds(train, held_out)
        notes = check_parts(train, held_out)
        for note in notes:
            stages.warn(note)
        digests = {name: _sha256(file) for name, file in files.items()}
        X_train, X_held_out, cut = _embed(stages, train, held_out, out, options)
    for note in cut:
        stages.warn(note)
    stages.begin("fitting", f"Fitting on {len(train):,} texts")
    with _expected_errors():
        models = fit_models(
            train,
            X_train,
            **{
                name: options[name]
                for name in ("C", "concept_C", "training", "method", "device")
            },
        )
    for note in models.warnings:
        stages.warn(note)
    stages.begin("influence", f"Tracing the mistakes in {len(held_out):,} texts")
    found = audit(
        models,
        train,
        held_out,
        X_held_out,
        max_mistakes=options["max_mistakes"],
        keep_text=not options["no_text"],
    )
    for note in found.warnings[len(models.warnings) :]:
        stages.warn(note)
    stages.begin("writing", "Writing the report")
    run = _run_record(run, found, options, digests, [*notes, *cut, *found.warnings])
    if planted is not None:
        run["planted"] = _planted_counts(found, planted)
    run["timings"] = stages.timings()
    page = audit_html(found, run, planted)
    with _expected_errors():
        _write_files(
            out,
            {
                "predictions.csv": _csv(found.predictions),
                "influence.csv": _csv(found.influence),
                "run.json": json.dumps(
                    run, indent=2, ensure_ascii=False, allow_nan=False
                ),
                "audit.html": page,
            },
        )
    _close(found, run, out)


def _embed(
    stages: _Stages, train: Reviews, held_out: Reviews, out: Path, options: dict
):
    """Return vectors of both parts, and what the embedder warned of."""
    import numpy as np

    from . import SentenceEmbedder
    from ._devices import resolve_device
    from .exceptions import TruncatedTextWarning

    resolve_device(options["device"])  # refuse it before hours of embedding
    stages.begin("embedding", f"Embedding {len(train) + len(held_out):,} texts")
    embedder = SentenceEmbedder(
        options["model"],
        device=options["device"],
        long_text=options["long_text"],
        cache_dir=out,
        verbose=int(stages.shows_bars),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", TruncatedTextWarning)
        X = embedder.transform(np.concatenate([train.texts, held_out.texts]))
    advice = ("Use long_text='mean' to", "Use --long-text mean to")
    notes = [str(warning.message).replace(*advice) for warning in caught]
    return X[: len(train)], X[len(train) :], notes


def _run_record(
    run: dict, found: Audit, options: dict, digests: dict, notes: list[str]
) -> dict:
    model = options["model"]
    names = ("long_text", "training", "C", "concept_C", "method", "seed")
    names += ("max_mistakes",)
    return {
        "skclif_version": __version__,
        "format_version": FORMAT_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": run["command"],
        "data": run["data"],
        "classes": list(found.classes),
        "concepts": list(found.concepts),
        "options": {
            **run["options"],
            "model": Path(model).resolve().name if Path(model).is_dir() else model,
            "device": options["device"],
            **{name: options[name] for name in names},
            "no_text": options["no_text"],
        },
        "influence": {"method": found.method},
        "counts": found.counts,
        "metrics": found.metrics,
        "warnings": notes,
        "fingerprints": {**digests, **found.fingerprints},
        "versions": {
            "python": ".".join(map(str, sys.version_info[:3])),
            **{name: version(name) for name in _PACKAGES},
        },
    }


def _close(found: Audit, run: dict, out: Path):
    quality = found.metrics["label"]
    who = "The bottleneck" if found.concepts else "The black box"
    beside = [f"always the majority {quality['majority']['accuracy']:.1%}"]
    if found.concepts:
        beside.insert(0, f"the black box {quality['black_box']['accuracy']:.1%}")
    click.echo(
        f"{who} gets {quality['model']['accuracy']:.1%} of "
        f"{found.counts['held_out_rows']:,} held-out texts right "
        f"({', '.join(beside)})."
    )
    if "planted" in run:
        planted = run["planted"]
        click.echo(
            f"Of the {planted['top_rows']} most harmful training rows, "
            f"{planted['planted_in_top']} carry a planted error; of all training "
            f"rows, {planted['share_of_training_rows']:.0%} do."
        )
    click.echo(f"The report is in {out / 'audit.html'}")


def _planted_counts(found: Audit, planted: dict[str, str]) -> dict:
    from .report import N_HARMFUL

    overall = found.influence[found.influence["target"] == "all"]
    top = overall[overall["influence"] > 0].head(N_HARMFUL)
    return {
        "top_rows": len(top),
        "planted_in_top": int(top["train_id"].isin(list(planted)).sum()),
        "share_of_training_rows": len(planted) / len(overall),
    }


# --- Reading --------------------------------------------------------------------------


def _load(file: Path, test_file: Path | None, test_size: float, options: dict):
    from ._audit_data import hold_out

    reviews = _load_file(file, options)
    if test_file is None:
        return hold_out(reviews, test_size, options["seed"])
    return reviews, _load_file(test_file, options)


def _load_file(file: Path, options: dict) -> Reviews:
    from ._audit_data import Reviews
    from .datasets import load_reviews

    found = load_reviews(
        file,
        text=options["text"],
        label=options["label"],
        concepts=list(options["concepts"]) or None,
        id=options["id_"],
        group=options["group"],
        encoding=options["encoding"],
    )
    return Reviews.from_parts(
        found.ids, found.data, found.target, found.concepts, found.groups
    )


def _cebab(*, must: bool):
    """Return the parts, or None where they cannot be had, and why."""
    from ._audit_data import Reviews
    from .datasets import fetch_cebab

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = [
                fetch_cebab(subset, n_retries=3 if must else 0)
                for subset in ("train_exclusive", "test")
            ]
    except (OSError, ValueError) as error:
        if must:
            raise
        return None, f"CEBaB cannot be had: {error}"
    parts = [Reviews.from_parts(b.ids, b.data, b.target, b.concepts) for b in found]
    return parts, "the official file is at hand"


def _generated(seed: int):
    """Return noisy reviews to train on, clean ones to evaluate on, and the errors."""
    import numpy as np
    import pandas as pd

    from ._audit_data import Reviews
    from .datasets import make_concept_reviews

    found = make_concept_reviews(
        _N_GENERATED,
        label_noise=_PLANTED_SHARE,
        annotation_noise=_PLANTED_SHARE,
        missing=_MISSING_SHARE,
        random_state=seed,
    )
    ids = [f"row-{number}" for number in range(1, _N_GENERATED + 1)]
    is_held = np.arange(_N_GENERATED) >= 3 * _N_GENERATED // 4
    clean_concepts = found.clean_concepts.mask(found.annotation_missing)
    noisy = Reviews.from_parts(ids, found.data, found.target, found.concepts)
    clean = Reviews.from_parts(ids, found.data, found.clean_target, clean_concepts)
    wrong = pd.concat(
        [found.label_flipped.rename("label"), found.annotation_flipped], axis=1
    )
    given = pd.concat([found.target, found.concepts], axis=1)
    true = pd.concat([found.clean_target, found.clean_concepts], axis=1)
    planted = {}
    for row in np.flatnonzero(wrong.any(axis=1) & ~is_held):
        planted[ids[row]] = ", ".join(
            f"{name} {given[name].iloc[row]} instead of {true[name].iloc[row]}"
            for name in wrong.columns[wrong.iloc[row]]
        )
    return noisy.take(~is_held), clean.take(is_held), planted


# --- Writing --------------------------------------------------------------------------


def _make_folder(out: Path):
    if out.exists() and not out.is_dir():
        raise click.ClickException(f"--out {out} is a file; name a directory.")
    out.mkdir(parents=True, exist_ok=True)


def _csv(table) -> str:
    """Return a table as CSV: floats in full, every other cell in quotes."""
    return table.to_csv(index=False, quoting=2, lineterminator="\n")


def _write_files(folder: Path, contents: dict[str, str]):
    """Write all files or, if one cannot be written, none of them."""
    parts = {name: folder / f".{name}.{os.getpid()}.part" for name in contents}
    try:
        for name, content in contents.items():
            parts[name].write_text(content, encoding="utf-8", newline="")
        for name, part in parts.items():
            os.replace(part, folder / name)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --- Talking --------------------------------------------------------------------------


class _Stages:
    """Progress on stderr, and how long each stage took."""

    def __init__(self, quiet: bool):
        self.quiet = quiet
        self.starts: list[tuple[str, float]] = []

    @property
    def shows_bars(self) -> bool:
        return not self.quiet and sys.stderr.isatty()

    def begin(self, name: str, message: str):
        self.starts.append((name, time.perf_counter()))
        self.say(f"{message} …")

    def say(self, message: str):
        if not self.quiet:
            click.echo(message, err=True)

    def warn(self, message: str):
        click.echo(f"Warning: {message}", err=True)

    def timings(self) -> dict[str, float]:
        """Return the seconds of every stage but the one that runs."""
        return {
            name: round(following - start, 3)
            for (name, start), (_, following) in pairwise(self.starts)
        }


@contextmanager
def _expected_errors() -> Iterator[None]:
    """Turn errors that a user can mend into one line; others keep their traceback."""
    try:
        yield
    except (OSError, ValueError, TypeError, ImportError) as error:
        message = " ".join(str(error).split())
        raise click.ClickException(message or type(error).__name__) from error
