"""Reviews from the file of a user, read the same way by every command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .options import ENCODING, options

if TYPE_CHECKING:
    from .._audit.rows import Reviews

_F = TypeVar("_F", bound=Callable[..., Any])
_NAMES = ("text", "label", "concepts", "id", "group", "encoding")

TEXT = click.option(
    "--text", default="text", show_default=True, help="Column of the texts."
)
_LABEL = click.option(
    "--label", default="label", show_default=True, help="Column of the labels."
)


def reading(concepts: str, group: str) -> Callable[[_F], _F]:
    """Return the options that say how a file is read.

    Parameters
    ----------
    concepts : str
        What concepts are for, in the help.
    group : str
        What groups are for, in the help.
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
    return options(TEXT, _LABEL, concept, groups, ENCODING)


def how_read(options: dict[str, Any]) -> dict[str, Any]:
    """Return how a file is read, by the names that reports and trails keep."""
    given = {name: options.get(name) for name in _NAMES}
    return {**given, "concepts": list(options["concepts"]), "id": options.get("id_")}


def read_reviews(file: Path, options: dict[str, Any]) -> Reviews:
    """Return the rows of a file.

    Parameters
    ----------
    file : Path
    options : dict
        The columns, text, label, concepts, id and group, and the encoding.
    """
    from .._audit.rows import Reviews
    from ..datasets import load_reviews

    found = load_reviews(
        file,
        text=options["text"],
        label=options["label"],
        concepts=options["concepts"] or None,
        id=options["id"],
        group=options["group"],
        encoding=options["encoding"],
    )
    return Reviews.from_parts(
        found.ids, found.data, found.target, found.concepts, found.groups
    )
