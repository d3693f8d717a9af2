"""What all commands have in common: Ctrl-C, errors in one line, and ``--traceback``.

An error that the user of a command can mend is one line. Any other error is a fault of
skclif and keeps its traceback, so that it can be reported. `is_mendable` decides.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import click

from .._audit.option_names import in_options
from ..exceptions import for_command

_PACKAGE = Path(__file__).parent.parent
_INTERRUPTED = (
    "Interrupted. No file is half-written, and what was finished is kept. Run the same "
    "command again to continue."
)


class Command(click.Command):
    """A command that shows errors in one line, or whole with ``--traceback``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        option = click.Option(
            ["--traceback"],
            is_flag=True,
            help="Show where in the code an error comes from.",
        )
        self.params.append(option)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        shows_traceback = ctx.params.pop("traceback")
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(f"\n{_INTERRUPTED}", err=True)
            raise
        except Exception as error:
            if not is_mendable(error):
                raise
            if shows_traceback:
                click.echo("".join(traceback.format_exception(error)), err=True)
            if isinstance(error, click.ClickException):
                raise
            said = in_options(for_command(error))
            message = " ".join(said.split()) or type(error).__name__
            raise click.ClickException(message) from error


def is_mendable(error: Exception) -> bool:
    """Return whether the user of a command can mend the cause of an error.

    Three kinds of errors are mendable:

    - errors of the command line itself (`click.ClickException`);
    - errors of files, disks, networks and other processes (`OSError`);
    - a `ValueError` or an `ImportError` that a check of skclif raises, because its
      message is written for the user: data, models, options, a missing extra. The
      subclasses in `skclif.exceptions` are among them. One that comes out of NumPy, or
      out of Python itself, is not: there, skclif did something wrong.
    """
    if isinstance(error, click.ClickException | OSError):
        return True
    return isinstance(error, ValueError | ImportError) and _is_from_a_check(error)


def _is_from_a_check(error: Exception) -> bool:
    """Return whether a statement ``raise`` of skclif is where an error begins."""
    (last,) = traceback.extract_tb(error.__traceback__, limit=-1)
    is_ours = Path(last.filename).is_relative_to(_PACKAGE)
    return is_ours and (last.line or "").startswith("raise ")
