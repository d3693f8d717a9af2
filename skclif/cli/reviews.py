"""Reviews from the file of a user, read the same way by every command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._audit.rows import Reviews


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
