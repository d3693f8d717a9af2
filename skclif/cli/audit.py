"""``skclif audit`` and ``skclif demo``: from reviews to a model and its report."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import Command
from .console import Console, embed
from .options import AUDIT, ENCODING, WHO, Number, options, who_and_why
from .report import evaluate, show_summary, write_report
from .reviews import read_reviews

if TYPE_CHECKING:
    from sklearn.utils import Bunch

    from .._audit.folder import AuditFolder
    from .._audit.rows import Reviews

    _Parts = tuple[Reviews, Reviews]  # to train on, and held out

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
_OF_MODEL = ("C", "concept_C", "training")
_SHOWN = ("long_text", *_OF_MODEL, "method", "seed", "max_mistakes", "no_text")


@click.command("audit", cls=Command)
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
    help="Column that names the rows.  [default: row-1, row-2, …; of a --test file "
    "test-row-1, …]",
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
    type=Number(0, 1, min_open=True, max_open=True),
    default=0.25,
    show_default=True,
    help="Share of the texts to hold out.",
)
@ENCODING
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Directory for the results, made if need be. Earlier results are replaced.",
)
@options(*WHO, *AUDIT)
def audit_command(
    file: Path,
    test_file: Path | None,
    test_size: float,
    out: Path,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Audit a classifier of the texts in FILE.

    Embeds the texts, fits a concept bottleneck, compares it with a black box on a
    held-out part, traces its mistakes to training rows, and lists what may be wrong and
    what would help. FILE is CSV, TSV, JSON Lines or Parquet, with one row per text.

    \b
    DIR then holds
      audit.html         the page to read
      suspects.csv       labels and annotations that may be wrong, to decide on
      suggestions.csv    changes that would help, to decide on
      predictions.csv    every held-out row
      influence.csv      which training rows cause the errors
      run.json           numbers, options, versions, fingerprints, timings
      model.safetensors  the model
      trail.jsonl        what was done to it
      rows.safetensors   what was audited, for skclif apply
    and embeddings.sqlite, so that a second run need not embed again.

    \b
    Example:
      skclif audit reviews.csv --text review --label stars \\
          --concept food --concept service --id review_id --out report
    """  # noqa: D301 - click reads backslash-b, so this cannot be raw
    console = Console(quiet, as_json)
    files = {"training_file": file}
    if test_file is not None:
        files["test_file"] = test_file
    about: dict[str, Any] = {
        "command": "audit",
        "data": {
            "name": file.name,
            "test_name": None if test_file is None else test_file.name,
            "about": None,
        },
        "options": {
            "text": options["text"],
            "label": options["label"],
            "concepts": list(options["concepts"]),
            "id": options["id_"],
            "group": options["group"],
            "test_size": test_size if test_file is None else None,
            "encoding": options["encoding"],
        },
        "planted": None,
    }

    def read() -> _Parts:
        seed, columns = options["seed"], about["options"]
        return _load(file, test_file, test_size, seed, columns)

    _audit(console, out, f"Reading {file.name}", read, about, files, options)


@click.command("demo", cls=Command)
@click.option(
    "--data",
    type=click.Choice(["auto", "cebab", "generated"]),
    default="auto",
    show_default=True,
    help="CEBaB (real restaurant reviews), generated reviews, or CEBaB if it is "
    "available.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="demo-report",
    show_default=True,
    metavar="DIR",
    help="Directory for the results.",
)
@options(*WHO, *AUDIT)
def demo_command(
    data: str, out: Path, quiet: bool, as_json: bool, **options: Any
) -> None:
    """Show an audit: of CEBaB if it is available, otherwise of generated reviews.

    \b
    Example:
      skclif demo --data generated --out demo-report
    """  # noqa: D301
    console = Console(quiet, as_json)
    about: dict[str, Any] = {
        "command": "demo",
        "options": {"data": data},
        "planted": None,
    }

    def read() -> _Parts:
        parts, reason = None, "--data generated asks for them"
        if data != "generated":
            parts, reason = _cebab(must=data == "cebab")
        name, description = "CEBaB", _CEBAB_ABOUT
        if parts is None:
            parts, about["planted"] = _generated(options["seed"])
            name, description = "generated reviews", _GENERATED_ABOUT
        console.result(f"Data: {name}, because {reason}")
        about["data"] = {"name": name, "test_name": None, "about": description}
        return parts

    _audit(console, out, "Getting the reviews", read, about, {}, options)


# --- The one way from reviews to a report ---------------------------------------------


def _audit(
    console: Console,
    out: Path,
    reading: str,
    read: Callable[[], _Parts],
    about: dict[str, Any],
    files: dict[str, Path],
    options: dict[str, Any],
) -> None:
    from .._audit.folder import AuditFolder

    if out.exists() and not out.is_dir():
        raise click.ClickException(f"--out {out} is a file; name a directory.")
    out.mkdir(parents=True, exist_ok=True)
    folder = AuditFolder(out)
    with console.showing_warnings(), folder.to_write() as records:
        folder.check_model(records)
        _refuse_decisions(folder, records)
        console.stage("reading", reading)
        _audit_rows(console, folder, records, read(), about, files, options)


def _audit_rows(
    console: Console,
    folder: AuditFolder,
    records: list[dict[str, Any]],
    parts: _Parts,
    about: dict[str, Any],
    files: dict[str, Path],
    options: dict[str, Any],
) -> None:
    from .._audit.findings import fit_models
    from .._audit.folder import AuditedRows, sha256
    from .._audit.revisions import Place, Revision, fit_content
    from .._audit.rows import check_parts, same_kinds
    from .._inputs.devices import same_threads

    who = who_and_why(options["by"], options["why"])
    train, held_out = same_kinds(*parts)
    notes = check_parts(train, held_out)
    for note in notes:
        console.warn(note)
    digests = {name: sha256(file.read_bytes()) for name, file in files.items()}
    train, held_out, cut, embedder = _embed(
        console, train, held_out, folder.path, options
    )
    if options["no_text"]:
        train, held_out = train.without_texts(), held_out.without_texts()
    console.stage("fitting", f"Fitting on {len(train):,} texts")
    parameters = {name: options[name] for name in _OF_MODEL}
    place = Place.here(options["device"])
    with same_threads(place.threads):
        models = fit_models(
            train,
            **parameters,
            method=options["method"],
            device=place.device,
        )
    about = {
        **about,
        "options": {
            **about["options"],
            "model": embedder["model"],
            "device": options["device"],
            **{name: options[name] for name in _SHOWN},
        },
        "cut": cut,
        "files": digests,
        "embedder": embedder,
    }
    # The default may be another in a later version.
    parameters["intervention_prob"] = models.model.intervention_prob_
    rows = AuditedRows(train, held_out, about)
    found = evaluate(console, models, train, rows)
    revision = Revision(models.model, train)
    content = fit_content(
        revision, held_out, parameters, place, embedder=embedder, source=digests
    )
    if not folder.holds(records, revision, rows):
        records = folder.commit("fit", content, revision, rows, **who)
    run = write_report(console, folder, records, found, rows, notes)
    show_summary(console, folder, found, run)


def _refuse_decisions(folder: AuditFolder, records: list[dict[str, Any]]) -> None:
    done = [record for record in records if record["kind"] != "fit"]
    if done:
        raise click.ClickException(
            f"{folder.path} holds a model that was repaired (records "
            f"{done[0]['number']} to {done[-1]['number']} of {folder.trail.path}). An "
            "audit would begin again without these repairs: name another --out, or "
            "continue with skclif apply."
        )


def _embed(
    console: Console,
    train: Reviews,
    held_out: Reviews,
    out: Path,
    options: dict[str, Any],
) -> tuple[Reviews, Reviews, list[str], dict[str, Any]]:
    """Return both parts with vectors, warnings, and a description of the embedder."""
    import numpy as np

    from .._inputs.devices import resolve_device
    from .._models.files import describe_embedder
    from .._text.embedder import SentenceEmbedder

    resolve_device(options["device"])  # refuse it before hours of embedding
    console.stage("embedding", f"Embedding {len(train) + len(held_out):,} texts")
    embedder = SentenceEmbedder(
        options["model"],
        device=options["device"],
        long_text=options["long_text"],
        cache_dir=out,
        verbose=int(console.shows_bars),
    )
    texts = np.concatenate([train.texts, held_out.texts])
    advice = "Use --long-text mean to embed such texts in chunks."
    X, notes = embed(console, embedder, texts, advice)
    about = describe_embedder(embedder)
    if Path(options["model"]).is_dir():  # the path is private
        about["model"] = Path(options["model"]).resolve().name
    train, held_out = (
        train.embedded(X[: len(train)]),
        held_out.embedded(X[len(train) :]),
    )
    return train, held_out, notes, about


# --- Reading --------------------------------------------------------------------------


def _load(
    file: Path,
    test_file: Path | None,
    test_size: float,
    seed: int,
    options: dict[str, Any],
) -> _Parts:
    from .._audit.rows import hold_out

    reviews = read_reviews(file, options)
    if test_file is None:
        return hold_out(reviews, test_size, seed)
    held_out = read_reviews(test_file, options)
    if options["id"] is None:  # the rows of both files are numbered from 1
        held_out = held_out.renamed([f"test-{i}" for i in held_out.ids])
    return reviews, held_out


def _cebab(*, must: bool) -> tuple[_Parts | None, str]:
    """Return the parts, or None if they are not available, and the reason."""
    from .._audit.rows import Reviews
    from ..datasets import fetch_cebab
    from ..exceptions import DataFileError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            n_retries = 3 if must else 0
            train = fetch_cebab("train_exclusive", n_retries=n_retries)
            held_out = fetch_cebab("test", n_retries=n_retries)
    except (OSError, DataFileError) as error:
        if must:
            raise
        return None, f"CEBaB is not available: {error}"

    def part(found: Bunch) -> Reviews:
        return Reviews.from_parts(found.ids, found.data, found.target, found.concepts)

    return (part(train), part(held_out)), "the official file is on this machine"


def _generated(seed: int) -> tuple[_Parts, dict[str, str]]:
    """Return noisy reviews to train on, clean ones to evaluate on, and the errors."""
    import numpy as np
    import pandas as pd

    from .._audit.rows import Reviews
    from ..datasets import make_concept_reviews

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
    return (noisy.take(~is_held), clean.take(is_held)), planted
