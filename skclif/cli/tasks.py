"""``skclif tasks``: what an audit asks people, as tasks of an annotation tool."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .._results.words import how_many, is_or_are
from .command import Command
from .console import Console
from .options import FOLDER, JSON, QUIET, existing_folder, options


@click.command("tasks", cls=Command)
@FOLDER
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the tasks, a name that ends in .json. The label config is "
    "written beside it, with .xml in place of .json.",
)
@click.option(
    "--from",
    "source",
    type=click.Choice(["suspects", "suggestions", "next"]),
    default="suspects",
    show_default=True,
    help="Ask about the lines of suspects.csv or suggestions.csv; or which annotations "
    "to make next: the missing ones that suggestions.csv asks for, then those of which "
    "the model is least sure.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="The largest number of tasks, the most important first.",
)
@options(JSON, QUIET)
def tasks_command(
    folder: Path, out: Path, source: str, limit: int, as_json: bool, quiet: bool
) -> None:
    """Write what the audit in DIR asks people as tasks of Label Studio.

    Make a project in Label Studio, paste the label config under Labeling Interface,
    Code, and import the tasks. Each is one question about one text; what the model
    proposes is a prediction, with its score. Export the finished tasks as JSON and give
    them to `skclif apply`: the present value rejects the proposal, another one is
    accepted, and a skipped task stays undecided.

    \b
    Example:
      skclif tasks report --from next --limit 50 --out tasks.json
    """  # noqa: D301 - click reads backslash-b, so this cannot be raw
    console = Console(quiet, as_json)
    with console.showing_warnings():
        from .._annotation_tools.questions import label_config, tasks
        from .._audit.folder import AuditFolder
        from .._audit.tasks import ask
        from .._storage.files import write_together
        from .._version import __version__

        if out.suffix.lower() != ".json":
            raise click.ClickException(
                f"--out {str(out)!r}: Label Studio reads tasks from a file whose name "
                "ends in .json."
            )
        audit = AuditFolder(existing_folder(folder))
        console.stage("asking", f"Reading the audit in {folder}")
        asked = ask(audit, source, limit)
        if not asked.questions:
            raise click.ClickException(_nothing(source, asked.n_weights))
        found = tasks(asked.questions, f"skclif {__version__} {asked.model_version}")
        config = out.with_suffix(".xml")
        text = json.dumps(found, indent=1, ensure_ascii=False)
        contents = {
            config.name: label_config(asked.questions).encode(),
            out.name: f"{text}\n".encode(),
        }
        write_together(out.parent, contents)
        more = (
            f" {asked.n_more:,} more are left out by --limit." if asked.n_more else ""
        )
        console.result(f"{how_many(len(found), 'task')} in {out}.{more}")
        if asked.n_weights:
            console.result(
                f"{how_many(asked.n_weights, 'line')} of suggestions.csv "
                f"{is_or_are(asked.n_weights)} about the weight of a row, which is no "
                "question about its text: decide on them in the list."
            )
        console.result(f"The label config of the project is in {config}.")
        console.result(
            f"Export the finished tasks as JSON, and run: skclif apply {folder} FILE"
        )
        console.json_result(
            tasks=str(out),
            label_config=str(config),
            n_tasks=len(found),
            n_left_out=asked.n_more,
            n_weights=asked.n_weights,
        )


def _nothing(source: str, n_weights: int) -> str:
    if source == "next":
        return "There is nothing to ask: no annotation of a training row is missing."
    if n_weights:
        return (
            f"There is nothing to ask: {source}.csv proposes weights of rows and no "
            "values. Decide on them in the list."
        )
    return f"There is nothing to ask: {source}.csv has no lines."
