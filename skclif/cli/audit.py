"""``skclif audit``: from reviews to a model and its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._results.words import how_many
from .cluster import CLUSTER, embed_on_cluster
from .command import Command
from .console import Console, embed
from .options import (
    AUDIT,
    CORRECTIONS,
    MIN_CONFIDENCE,
    TEST_SIZE,
    WHO,
    ConceptKind,
    only_one,
    options,
    who_and_why,
)
from .prompts import (
    annotate_reviews,
    confidence_of,
    correction_files,
    read_people,
)
from .report import evaluate, show_summary, write_report
from .reviews import how_read, read_reviews, reading

if TYPE_CHECKING:
    from .._audit.findings import Audit
    from .._audit.folder import AuditFolder
    from .._audit.rows import Reviews
    from .._text.embedder import SentenceEmbedder

    Parts = tuple[Reviews, Reviews]  # to train on, and held out
    _Records = list[dict[str, Any]]  # of the trail

_OF_MODEL = ("C", "concept_C", "training")
_SHOWN = (
    "long_text",
    *_OF_MODEL,
    "residual_C",
    "method",
    "seed",
    "max_mistakes",
    "no_text",
)
_SPLITS = {"split_by": "--split-by", "time": "--time"}


@click.command("audit", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@reading(
    "Without any, the black box itself is audited.",
    "Column of groups to report on separately.",
)
@click.option(
    "--id",
    "id_",
    metavar="COLUMN",
    help="Column that names the rows.  [default: row-1, row-2, …; of a --test file "
    "test-row-1, …]",
)
@click.option(
    "--test",
    "test_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Evaluate on this file, with the same columns, instead of on a part held out.",
)
@TEST_SIZE
@click.option(
    "--concept-kind",
    "concept_kinds",
    multiple=True,
    type=ConceptKind(),
    metavar="NAME=KIND",
    help="Take a concept as categorical (each value is one of a few) or continuous "
    "(amounts); repeat it for each.  [default: continuous if it has many numbers, some "
    "of them not whole]",
)
@click.option(
    "--ordinal",
    multiple=True,
    metavar="NAME",
    help='The numbers of a concept, or of "label", are grades, and wrong ones are next '
    "to the right one, such as 4 for 5; repeat it for each. Grades that are not whole "
    "are taken so anyway.",
)
@click.option(
    "--prompts",
    multiple=True,
    callback=only_one,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Prompts that describe concepts, in YAML or JSON: annotate the texts to train "
    "on by them. Columns of --concept with the names of these concepts hold what "
    "people annotated.",
)
@MIN_CONFIDENCE
@CORRECTIONS
@CLUSTER
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
    concept_kinds: tuple[tuple[str, str], ...],
    ordinal: tuple[str, ...],
    prompts: Path | None,
    corrections: tuple[Path, ...],
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Audit a classifier of the texts in FILE.

    Embeds the texts, fits a concept bottleneck, compares it with a black box on a
    held-out part, traces its mistakes to training rows, and lists what may be wrong and
    what would help. FILE is CSV, TSV, JSON, Excel or Parquet, or a folder of Parquet
    files, with one row per text.

    \b
    DIR then holds
      audit.html         the page to read
      suspects.csv       labels and annotations that may be wrong, to decide on
      suggestions.csv    changes that would help, to decide on
      machine.csv        with --prompts: annotations that nobody has read
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
        _refuse_splits(options)
    if prompts is not None:
        _refuse_cluster(options["cluster"])
        corrections = correction_files(corrections)
        files["prompts_file"] = prompts
        names = map("corrections_file_{}".format, range(1, len(corrections) + 1))
        files |= dict(zip(names, corrections, strict=True))
    else:
        _refuse_without_prompts(options["min_confidence"], corrections)
    kinds = _kinds_by_name(concept_kinds)
    about: dict[str, Any] = {
        "command": "audit",
        "data": {
            "name": file.name,
            "test_name": None if test_file is None else test_file.name,
            "about": None,
            "time": None,
        },
        "options": {
            **how_read(options),
            "test_size": test_size if test_file is None else None,
        },
        "truth": None,
    }

    def read() -> Parts:
        seed, columns = options["seed"], about["options"]
        asked = _Prompts(console, prompts, corrections, columns["encoding"])
        parts = _load(console, file, test_file, test_size, seed, columns, asked)
        about["data"]["time"] = _first_time(console, parts[1], columns["time"])
        if asked.file is None:
            return parts
        asked.say_where(*parts)
        train, about["prompts"] = asked.annotated(parts[0], out, options)
        return train, parts[1]

    options |= {"concept_kinds": kinds, "ordinal": ordinal}
    run_audit(console, out, f"Reading {file.name}", read, about, files, options)


def _kinds_by_name(given: tuple[tuple[str, str], ...]) -> dict[str, str]:
    kinds = dict(given)
    for name, kind in given:
        if kinds[name] != kind:
            raise click.UsageError(
                f"--concept-kind says that {name!r} is {kind}, and that it is "
                f"{kinds[name]}. Give one of them."
            )
    return kinds


def _refuse_without_prompts(
    confidence: float | None, corrections: tuple[Path, ...]
) -> None:
    """Refuse options about annotations by prompts where there are no prompts."""
    said = "--corrections" if corrections else "--min-confidence"
    if corrections or confidence is not None:
        raise click.UsageError(
            f"{said} is about annotations by prompts, and there are none. Name a file "
            "of prompts with --prompts, or leave it out. (skclif apply takes decisions "
            "on an audit that is there.)"
        )


def _refuse_cluster(cluster: int | str | None) -> None:
    if cluster is not None:
        raise click.UsageError(
            "--cluster embeds whole texts, and --prompts needs vectors of their "
            "sentences, which are made in this process. Give one of them."
        )


class _Prompts:
    """Annotations by prompts, if any are asked for.

    Parameters
    ----------
    console : Console
    path : Path or None
        The file of prompts; None for no prompts.
    corrections : sequence of Path
    encoding : str
        Of corrections that are not in UTF-8.
    """

    def __init__(
        self,
        console: Console,
        path: Path | None,
        corrections: tuple[Path, ...],
        encoding: str,
    ) -> None:
        from .._audit.prompt_corrections import Correction
        from .._audit.prompt_file import PromptFile

        self.console, self.paths, self.encoding = console, corrections, encoding
        self.file = None if path is None else PromptFile.read(path)
        self.corrections: list[Correction] = []

    @property
    def names(self) -> list[str]:
        """The concepts that prompts describe."""
        return [] if self.file is None else list(self.file.concepts)

    def with_people(self, reviews: Reviews) -> Reviews:
        """Return reviews with what people said of the concepts."""
        if self.file is None:
            return reviews
        reviews, found, _ = read_people(
            self.console,
            reviews,
            self.file,
            self.paths,
            encoding=self.encoding,
        )
        self.corrections += found
        self.paths = ()  # which are about the first file, not about that of --test
        return reviews

    def say_where(self, train: Reviews, held_out: Reviews) -> None:
        """Say how many corrections are of texts to train on, and of held-out ones."""
        from .._audit.prompt_corrections import about_rows

        n_train, n_held = (
            len(about_rows(part, self.corrections)) for part in (train, held_out)
        )
        if self.corrections:
            self.console.note(
                f"{n_train:,} of them of texts to train on, {n_held:,} held out"
            )

    def annotated(
        self, train: Reviews, out: Path, options: dict[str, Any]
    ) -> tuple[Reviews, dict[str, Any]]:
        """Return the texts to train on with annotations, and how they were made."""
        from dataclasses import replace

        from .._audit.prompted import words_on_unsure
        from .._audit.prompts_kept import described
        from ..exceptions import DataFileError

        assert self.file is not None
        found = annotate_reviews(
            self.console, out, train, self.file, self.corrections, options
        )
        confidence = confidence_of(options)
        unsure = words_on_unsure(found, self.file, confidence)
        if unsure is not None:
            raise DataFileError(unsure)
        concepts = train.concepts.assign(**found.concepts)
        about = described(self.file, confidence, train, found, self.corrections)
        return replace(train, concepts=concepts), about


def _refuse_splits(options: dict[str, Any]) -> None:
    """Refuse options about a split where a file says what is held out."""
    for name, option in _SPLITS.items():
        if options.get(name) is not None:
            raise click.UsageError(
                f"{option} says which rows of FILE are held out, and --test names a "
                "file that is held out. Give one of them."
            )


# --- The one way from reviews to a report ---------------------------------------------


def run_audit(
    console: Console,
    out: Path,
    reading: str,
    read: Callable[[], Parts],
    about: dict[str, Any],
    files: dict[str, Path],
    options: dict[str, Any],
    earlier: Callable[[AuditFolder, _Records], _Records] = lambda _, records: records,
) -> Audit:
    """Make an audit in a folder, and say what it found.

    Parameters
    ----------
    console : Console
    out : Path
    reading : str
        What to say while the rows are read.
    read : callable
        Returns the rows; may complete `about`.
    about : dict
        How the rows were made, as `AuditedRows` keeps it.
    files : dict of str to Path
        What was read.
    options : dict
        Of the command.
    earlier : callable
        Takes the folder and its records; returns the records that this audit continues,
        by default all of them. Without any, the trail begins again.
    """
    from .._audit.folder import AuditFolder
    from .._storage.files import folder_to_fill

    if out.exists() and not out.is_dir():
        raise click.ClickException(f"--out {out} is a file; name a directory.")
    folder = AuditFolder(out)
    with (
        console.showing_warnings(),
        folder_to_fill(out),
        folder.to_write() as records,
    ):
        folder.check_model(records)
        records = earlier(folder, records)
        _refuse_decisions(folder, records)
        console.stage("reading", reading)
        return _audit_rows(console, folder, records, read(), about, files, options)


def _audit_rows(
    console: Console,
    folder: AuditFolder,
    records: list[dict[str, Any]],
    parts: Parts,
    about: dict[str, Any],
    files: dict[str, Path],
    options: dict[str, Any],
) -> Audit:
    from .._audit.folder import AuditedRows
    from .._audit.kinds import choose_kinds, ordered_paths
    from .._audit.models import fit_models
    from .._audit.prompts_kept import prompt_notes, prompted_concepts, recorded
    from .._audit.revisions import Place, Revision, fit_content
    from .._audit.rows import check_parts, same_kinds
    from .._inputs.devices import same_threads
    from .._storage.sources import digest_of

    who = who_and_why(options["by"], options["why"])
    train, held_out = same_kinds(*parts)
    tables = train.concepts, held_out.concepts
    kinds = choose_kinds(tables, options.get("concept_kinds", {}))
    asked = options.get("ordinal", ())
    ordinal = ordered_paths(train.labels, train.concepts, kinds, asked)
    notes = check_parts(train, held_out, kinds, prompted_concepts(about))
    notes += prompt_notes(about)
    residual_C = options["residual_C"]
    if residual_C is not None and not train.concepts.shape[1]:
        raise click.UsageError(
            f"--residual-C {residual_C:g} is for what the concepts do not hold, and "
            "there are none. Name them with --concept, or leave --residual-C out."
        )
    for note in notes:
        console.warn(note)
    digests = {name: digest_of(file) for name, file in files.items()}
    embedder = _embedder(console, folder.path, options)
    train, held_out, cut, about_embedder = _embed(
        console, train, held_out, embedder, options, kinds
    )
    if options["no_text"]:
        train, held_out = train.without_texts(), held_out.without_texts()
    console.stage("fitting", f"Fitting on {how_many(len(train), 'text')}")
    parameters = {name: options[name] for name in _OF_MODEL}
    if kinds:
        parameters["concept_kinds"] = kinds
    if residual_C is not None:
        parameters["residual_C"] = residual_C
    place = Place.here(options["device"])
    with same_threads(place.threads):
        models = fit_models(
            train,
            **parameters,
            method=options["method"],
            device=place.device,
            verbose=int(console.shows_bars),
        )
    about = {
        **about,
        "options": {
            **about["options"],
            "model": about_embedder["model"],
            "device": options["device"],
            **{name: options[name] for name in _SHOWN},
            "concept_kinds": kinds,
            "ordinal": ordinal,
        },
        "cut": cut,
        "files": digests,
        "embedder": about_embedder,
    }
    # The default may be another in a later version.
    parameters["intervention_prob"] = models.model.intervention_prob_
    rows = AuditedRows(train, held_out, about)
    found = evaluate(console, models, train, rows, records, embedder)
    revision = Revision(models.model, train)
    content = fit_content(
        revision,
        held_out,
        parameters,
        place,
        embedder=about_embedder,
        source=digests,
        **recorded(about),
    )
    if not folder.holds(records, revision, rows):
        if not records:
            folder.begin_again()
        records = folder.commit("fit", content, revision, rows, **who)
    run = write_report(console, folder, records, found, rows, notes)
    page = folder.page if about["truth"] is None else folder.keep_page()
    show_summary(console, found, run, page)
    return found


def _refuse_decisions(folder: AuditFolder, records: list[dict[str, Any]]) -> None:
    done = [record for record in records if record["kind"] in ("edit", "forget")]
    if done:
        kinds = {record["kind"] for record in done}
        what = " and ".join(
            words
            for kind, words in (
                ("edit", "a model that was repaired"),
                ("forget", "an audit whose rows were forgotten"),
            )
            if kind in kinds
        )
        raise click.ClickException(
            f"{folder.path} holds {what} ({which_records(done)} of "
            f"{folder.trail.path}). An audit would begin again without that: name "
            "another --out, or continue with skclif apply."
        )


def which_records(records: list[dict[str, Any]]) -> str:
    """Return the numbers of records of the trail, in words."""
    *most, last = (str(record["number"]) for record in records)
    if not most:
        return f"record {last}"
    return f"records {', '.join(most)} and {last}"


def _embedder(console: Console, out: Path, options: dict[str, Any]) -> SentenceEmbedder:
    """Return the embedder that was asked for; it keeps its vectors in the folder."""
    from .._text.embedder import SentenceEmbedder

    return SentenceEmbedder(
        options["model"],
        device=options["device"],
        long_text=options["long_text"],
        cache_dir=out,
        verbose=int(console.shows_bars),
    )


def _embed(
    console: Console,
    train: Reviews,
    held_out: Reviews,
    embedder: SentenceEmbedder,
    options: dict[str, Any],
    kinds: dict[str, str],
) -> tuple[Reviews, Reviews, list[str], dict[str, Any]]:
    """Return both parts with vectors, warnings, and a description of the embedder."""
    import numpy as np

    from .._audit.costs import cost_note
    from .._inputs.devices import resolve_device
    from .._models.files import describe_embedder

    resolve_device(options["device"])  # refuse it before hours of embedding
    console.stage(
        "embedding", f"Embedding {how_many(len(train) + len(held_out), 'text')}"
    )
    texts = np.concatenate([train.texts, held_out.texts])

    def n_features() -> int:
        return len(embedder.fit(texts).get_feature_names_out())

    residual = options["residual_C"] is not None
    note = cost_note(train, kinds, n_features, residual=residual)
    if note is not None:
        console.note(note)
    if options.get("cluster") is not None:
        embed_on_cluster(console, embedder, texts, options["cluster"])
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
    console: Console,
    file: Path,
    test_file: Path | None,
    test_size: float,
    seed: int,
    options: dict[str, Any],
    prompts: _Prompts,
) -> Parts:
    from .._audit.splits import hold_out

    def read(path: Path) -> Reviews:
        reviews = read_reviews(path, options, console, prompts.names)
        return prompts.with_people(reviews)

    reviews = read(file)
    if test_file is None:
        return hold_out(reviews, test_size, seed)
    held_out = read(test_file)
    if options["id"] is None:  # the rows of both files are numbered from 1
        held_out = held_out.renamed([f"test-{i}" for i in held_out.ids])
    return reviews, held_out


def _first_time(
    console: Console, held_out: Reviews, column: str | None
) -> dict[str, str] | None:
    """Say when held-out rows begin; None if they were not held out by time."""
    from .._audit.splits import held_out_from

    first = held_out_from(held_out)
    if column is None or first is None:
        return None
    console.note(f"Held out: the latest texts, from {first} on by {column!r}.")
    return {"column": column, "from": first}
