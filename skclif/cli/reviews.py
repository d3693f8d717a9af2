"""Reviews from the file of a user, read the same way by every command."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .console import Console
from .options import ENCODING, SEED, TEST_SIZE, options

if TYPE_CHECKING:
    from .._audit.rows import Reviews

_F = TypeVar("_F", bound=Callable[..., Any])
# Audits that recorded no way of reading were read in an earlier one.
_READING = "the second way: cells mean the same in every format"


class Pair(click.ParamType):  # type: ignore[type-arg]
    """Two words with an equals sign between them.

    Parameters
    ----------
    numbered : bool, default=False
        Whether the first is the number of a column.
    """

    def __init__(self, numbered: bool = False) -> None:
        self.numbered = numbered
        self.name = "N=NAME" if numbered else "NAME=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, str]:
        """Return both words."""
        first, second = map(str.strip, str(value).partition("=")[::2])
        if not first or not second:
            example = "1=text" if self.numbered else "late=0"
            self.fail(f"{value!r} is not {self.name}, such as {example}.", param, ctx)
        if not self.numbered:
            return first, second
        if not first.isdecimal() or int(first) < 1:
            self.fail(
                f"{value!r} is not {self.name}: columns are numbered from 1.",
                param,
                ctx,
            )
        return int(first), second


def _each_once(
    ctx: click.Context, param: click.Parameter, pairs: tuple[tuple[Any, str], ...]
) -> dict[Any, str]:
    """Return pairs as a dict; refuse the same first word twice."""
    found = dict(pairs)
    if len(found) < len(pairs) or (
        param.name == "column_names" and len(set(found.values())) < len(found)
    ):
        raise click.BadParameter(
            f"{', '.join(f'{a}={b}' for a, b in pairs)}: each column is named once.",
            ctx,
            param,
        )
    return found


_TEXT = click.option(
    "--text",
    multiple=True,
    default=("text",),
    show_default=True,
    metavar="COLUMN",
    help="Column of the texts; repeat it to join several, with their names.",
)
_ID = click.option(
    "--id",
    "id_",
    metavar="COLUMN",
    help="Column that names the rows.  [default: row-1, row-2, …]",
)
_LABEL = click.option(
    "--label",
    default="label",
    show_default=True,
    metavar="COLUMN",
    help="Column of the labels.",
)
_VALUES = (
    click.option(
        "--missing",
        multiple=True,
        metavar="VALUE",
        help="A value that means that there is none, besides what software writes (NA, "
        "NaN, null …); repeat it for each.",
    ),
    click.option(
        "--empty",
        type=Pair(),
        multiple=True,
        callback=_each_once,
        help="What empty cells of a column mean, such as late=0 where boxes are "
        "ticked or empty; repeat it for each.",
    ),
)
_ANNOTATORS = click.option(
    "--annotators",
    type=click.Choice(["majority", "dawid_skene", "all"]),
    help="What becomes of several annotators of a text: the value that most of them "
    "chose; the most probable value, with each annotator weighed by how often he or "
    "she errs; or a row for each, with weights that add up to 1.",
)
_MAJORITY = click.option(
    "--annotators",
    type=click.Choice(["majority", "dawid_skene"]),
    help="What becomes of several annotators of a text: the value that most of them "
    "chose, or the most probable value, with each annotator weighed by how often he or "
    "she errs.",
)
_SPLITS = (
    click.option(
        "--split-by",
        metavar="COLUMN",
        help="Column, such as the author, whose rows stay together in the split.",
    ),
    click.option(
        "--time",
        metavar="COLUMN",
        help="Column of times (2026-11-29, or numbers); the latest rows are held out.",
    ),
)
_SKIP_INCOMPLETE = click.option(
    "--skip-incomplete",
    is_flag=True,
    help="Leave out rows without a text, or another value that each row needs.",
)
_TABLE = (
    click.option(
        "--quoted/--unquoted",
        default=None,
        help="Whether double quotes enclose fields.  [default: yes, except between "
        "tabs]",
    ),
    click.option("--sheet", metavar="NAME", help="Sheet of a workbook."),
    click.option(
        "--column",
        "column_names",
        type=Pair(numbered=True),
        multiple=True,
        callback=_each_once,
        help="Name of a column, in a file without a header; repeat it for each.",
    ),
)
_LAYOUT = (ENCODING, _SKIP_INCOMPLETE, *_TABLE)


def reading(concepts: str, group: str, *, splits: bool = True) -> Callable[[_F], _F]:
    """Return the options that say how a file of labelled texts is read.

    Parameters
    ----------
    concepts : str
        What concepts are for, in the help.
    group : str
        What groups are for, in the help.
    splits : bool, default=True
        Whether the command splits the rows, and weighs them.
    """
    concept = click.option(
        "--concept",
        "concepts",
        multiple=True,
        metavar="COLUMN",
        help="Column of a concept's annotations; repeat it for each. Empty cells are "
        f"not annotated. {concepts}",
    )
    groups = click.option("--group", metavar="COLUMN", help=group)
    more = (_ANNOTATORS, *_SPLITS) if splits else (_MAJORITY,)
    return options(_TEXT, _LABEL, concept, groups, *more, *_VALUES, *_LAYOUT)


def reading_texts() -> Callable[[_F], _F]:
    """Return the options that say how a file of texts without labels is read."""
    return options(_TEXT, _ID, *_LAYOUT)


def reading_columns() -> Callable[[_F], _F]:
    """Return the options that say how texts are read of which each row has one."""
    return options(_TEXT, ENCODING, *_TABLE)


def reading_annotations() -> Callable[[_F], _F]:
    """Return the options that say how texts are read that people annotated in part."""
    concept = click.option(
        "--concept",
        "concepts",
        multiple=True,
        metavar="COLUMN",
        help="Column with annotations of people; repeat it for each. Its name is that "
        "of a concept with prompts. Empty cells are not annotated.",
    )
    label = click.option(
        "--label",
        metavar="COLUMN",
        help="Column of the labels, if there are any. next.csv then has first what is "
        "expected to make a bottleneck of these labels better, and the texts are named "
        "that skclif audit holds out.",
    )
    splits = (*_SPLITS, TEST_SIZE, SEED)
    return options(_TEXT, _ID, label, concept, _MAJORITY, *splits, *_VALUES, *_LAYOUT)


def how_read(options: dict[str, Any]) -> dict[str, Any]:
    """Return how a file is read, by the names that reports and trails keep."""
    text = list(options["text"])
    return {
        "text": text[0] if len(text) == 1 else text,
        "label": options.get("label"),
        "concepts": list(options.get("concepts", ())),
        "id": options.get("id_"),
        "group": options.get("group"),
        "encoding": options["encoding"],
        "missing": list(options.get("missing", ())),
        "empty": dict(options.get("empty", {})),
        "split_by": options.get("split_by"),
        "time": options.get("time"),
        "skip_incomplete": options["skip_incomplete"],
        "quoted": options["quoted"],
        "sheet": options["sheet"],
        # JSON has no numbers as names.
        "annotators": options.get("annotators"),
        "columns": {str(n): name for n, name in options["column_names"].items()},
        "reading": _READING,
    }


def read_reviews(
    file: Path,
    options: dict[str, Any],
    console: Console | None = None,
    prompted: Collection[str] = (),
) -> Reviews:
    """Return the rows of a file.

    Parameters
    ----------
    file : Path
    options : dict
        As `how_read` returns them; those of earlier audits lack some.
    console : Console, default=None
        Shows how the file was read.
    prompted : collection of str, default=()
        Concepts of prompts: a column of that name that is not read is worth a warning.
    """
    from .._audit.rows import Reviews

    load = _load if "reading" in options else _as_before
    if console is None:
        found = load(file, options)
    else:
        with console.showing_warnings():
            found = load(file, options)
        for line in found.get("reading", ()):
            console.note(line)
        for name in found.get("unread", ()):
            if name in prompted:
                console.warn(
                    f"{file.name} has a column {name!r}, which is not read. If it "
                    "holds annotations of people, give --concept "
                    f"{shlex.quote(name)}."
                )
    labels = [0] * len(found.ids) if found.target is None else found.target
    more = {
        name: found[name]
        for name in ("split_groups", "times", "weights")
        if found.get(name) is not None
    }
    return Reviews.from_parts(
        found.ids, found.data, labels, found.concepts, found.groups, **more
    )


def _load(file: Path, options: dict[str, Any]) -> Any:
    from ..datasets import load_reviews
    from ..datasets._reviews import NA_VALUES

    return load_reviews(
        file,
        text=options["text"],
        label=options["label"],
        concepts=options["concepts"] or None,
        id=options["id"],
        group=options["group"],
        encoding=options["encoding"],
        na_values=[*NA_VALUES, *options["missing"]],
        split_by=options["split_by"],
        time=options["time"],
        empty=options["empty"],
        incomplete="skip" if options["skip_incomplete"] else "raise",
        quoted=options["quoted"],
        sheet=options["sheet"],
        column_names={int(n): name for n, name in options["columns"].items()},
        annotators=options.get("annotators"),  # which earlier audits lack
    )


def _as_before(file: Path, options: dict[str, Any]) -> Any:
    from ..datasets._before import reviews_as_before

    names = ("text", "label", "concepts", "id", "group", "encoding")
    return reviews_as_before(file, **{name: options[name] for name in names})
