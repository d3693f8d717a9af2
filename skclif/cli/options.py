"""Options that several commands have."""

from __future__ import annotations

import getpass
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import click

from .._storage.tables import is_whole_text
from .._text.weights import DEFAULT_MODEL

_F = TypeVar("_F", bound=Callable[..., Any])


def only_one(
    ctx: click.Context, param: click.Parameter, values: tuple[Path, ...]
) -> Path | None:
    """Return a file; refuse several, of which others would be dropped in silence."""
    if len(values) > 1:
        raise click.BadParameter(
            f"{', '.join(map(str, values))}: name one file, with all concepts in it.",
            ctx,
            param,
        )
    return values[0] if values else None


class Number(click.FloatRange):
    """A finite number in a range; to click, nan is in every range, and inf in many."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        try:
            value = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number; give one such as 0.1.", param, ctx)
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class ConceptKind(click.ParamType):  # type: ignore[type-arg]
    """The name of a concept and its kind, such as rating=continuous."""

    name = "name=kind"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return name and kind."""
        if isinstance(value, tuple):
            return value
        name, equals, kind = str(value).rpartition("=")
        kind = kind.strip().casefold()
        if not equals or not name or kind not in ("categorical", "continuous"):
            self.fail(
                f"{value!r} is not NAME=KIND, with a concept and its kind, categorical "
                "or continuous: --concept-kind rating=continuous.",
                param,
                ctx,
            )
        return name, kind


class Penalty(click.ParamType):  # type: ignore[type-arg]
    """A finite number above 0, or the word auto, in any capitals."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str:
        """Return the number, or "auto"."""
        if str(value).strip().casefold() == "auto":
            return "auto"
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            self.fail(
                f"{value!r} is neither a finite number above 0 nor auto.", param, ctx
            )
        return number


FOLDER = click.argument(
    "folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False)
)
QUIET = click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON, for machines."
)
DEVICE = click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="Where to compute: cpu, cuda, cuda:N or auto.",
)
ENCODING = click.option(
    "--encoding", default="utf-8", show_default=True, help="Encoding of the files."
)
MODEL = click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    help="Embedding model: a local directory, a name on the Hub, or multilingual.",
)
LONG_TEXT = click.option(
    "--long-text",
    type=click.Choice(["truncate", "mean"]),
    default="truncate",
    show_default=True,
    help="Texts longer than the model reads: read their beginning only, or "
    "average over chunks.",
)
SEED = click.option(
    "--seed",
    type=click.IntRange(min=0, max=2**32 - 1),
    default=0,
    show_default=True,
    help="Of every random choice.",
)
TEST_SIZE = click.option(
    "--test-size",
    type=Number(0, 1, min_open=True, max_open=True),
    default=0.25,
    show_default=True,
    help="Share of the texts to hold out.",
)
MIN_CONFIDENCE = click.option(
    "--min-confidence",
    type=Number(0, 1),
    metavar="NUMBER",
    default=None,
    help="How sure the prompts have to be of an annotation, from 0 to 1; otherwise it "
    "is missing.  [default: 0.7]",
)
CORRECTIONS = click.option(
    "--corrections",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What people say of annotations: the folder of skclif annotate, or decisions, "
    "such as its lists, those of an audit, what a page exports, or finished tasks; "
    "repeat it for each.",
)
NO_TEXT = click.option(
    "--no-text", is_flag=True, help="Keep texts out of every file written."
)
WHO = (
    click.option(
        "--by",
        metavar="NAME",
        help="Who does it, for the trail.  [default: the name of the login]",
    ),
    click.option("--why", metavar="TEXT", help="The reason, for the trail."),
)
MODEL_PLACE = click.option(
    "--model",
    "model_place",
    metavar="PLACE",
    help="Where the embedding model is now: a local directory, a name on the Hub, or "
    "multilingual.  [default: what it was called]",
)
AUDIT = (
    MODEL,
    DEVICE,
    LONG_TEXT,
    click.option(
        "--training",
        type=click.Choice(["mixed", "sequential", "independent"]),
        default="mixed",
        show_default=True,
        help="Train the label on predicted and annotated concepts, on predicted "
        "concepts alone, or on annotated concepts alone.",
    ),
    click.option(
        "--C",
        "C",
        type=Penalty(),
        metavar="NUMBER|auto",
        default="auto",
        show_default=True,
        help="Inverse penalty of the label's model and of the black box. auto chooses "
        "by leave-one-out log-loss, for each of the two.",
    ),
    click.option(
        "--residual-C",
        "residual_C",
        type=Number(0, min_open=True),
        metavar="NUMBER",
        default=None,
        help="Let the label depend on the texts past the concepts too, with this "
        "inverse penalty: the smaller, the less. The report says how much.  "
        "[default: not]",
    ),
    click.option(
        "--concept-C",
        "concept_C",
        type=Penalty(),
        metavar="NUMBER|auto",
        default="auto",
        show_default=True,
        help="Inverse penalty of the concepts' models. auto chooses for each.",
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
    SEED,
    click.option(
        "--max-mistakes",
        type=click.IntRange(min=0),
        default=None,
        help="How many mistakes, the worst first, to trace to the training rows behind "
        "them.  [default: up to 500, as many as take hardly longer than one]",
    ),
    NO_TEXT,
    JSON,
    QUIET,
)


def options(*decorators: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Return one decorator for several, the first of them first in the help."""

    def decorate(function: _F) -> _F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def existing_folder(folder: Path) -> Path:
    """Return a folder; refuse it if it is not there."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(folder)!r}. Make an audit with skclif audit."
        )
    return folder


class Who(TypedDict):
    """What a record of the trail says of who decided, and why."""

    by: str | None
    why: str | None


def who_and_why(by: str | None, why: str | None) -> Who:
    """Return who decided, by default the login, and why.

    Raises
    ------
    ClickException
        If they hold bytes that are no characters.
    """
    for option, text in (("--by", by), ("--why", why)):
        if text is not None and not is_whole_text(text):
            raise click.ClickException(
                f"{option} {text!r} holds bytes that are not in the encoding of the "
                "terminal. Write it in that encoding."
            )
    return {"by": by or _login(), "why": why}


def _login() -> str | None:
    """Return the name of the login, None where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a list of users
        return None
