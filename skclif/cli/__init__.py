"""The command ``skclif``: audits and repairs of text classifiers, from files to files.

Whatever takes time to import is imported inside the commands, so that help is quick.
"""

import click

from .._version import __version__
from .annotate import annotate_command
from .audit import audit_command
from .baseline import baseline_command
from .demo import demo_command
from .embed import embed_command
from .predict import predict_command
from .repair import apply_command, forget_command
from .replay import replay_command
from .tasks import tasks_command

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="skclif", prog_name="skclif")
def main() -> None:
    """Text classifiers that people can audit and repair.

    `skclif baseline` says in seconds what quick models reach on your file.
    `skclif demo` shows what an audit is; `skclif audit` makes one of your own file.
    `skclif annotate` annotates texts by prompts, where people did not.
    `skclif tasks` hands its questions to annotators.
    `skclif apply` carries out what you then decide, and records it. `skclif replay`
    does everything again and compares. `skclif forget` removes rows of people.
    `skclif predict` uses the model. `skclif embed` makes vectors of many texts.

    \b
    Example:
      skclif demo --data generated --out demo-report
    """  # noqa: D301 - click reads backslash-b, so this cannot be raw


for command in (
    demo_command,
    audit_command,
    annotate_command,
    baseline_command,
    tasks_command,
    apply_command,
    forget_command,
    replay_command,
    predict_command,
    embed_command,
):
    main.add_command(command)
