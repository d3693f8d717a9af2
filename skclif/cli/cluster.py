"""Workers of a cluster for a command: the option, and what is computed on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .._results.words import how_many
from .console import Console

if TYPE_CHECKING:
    from .._text.embedder import SentenceEmbedder


class Cluster(click.ParamType):  # type: ignore[type-arg]
    """A number of worker processes, or the address of a scheduler."""

    name = "cluster"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """Return the number, or the address."""
        from .._cluster.workers import number_or_address

        try:
            return number_or_address(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


CLUSTER = click.option(
    "--cluster",
    type=Cluster(),
    metavar="N|ADDRESS",
    default=None,
    help="Embed the texts on the workers of a Dask cluster: that of the scheduler at "
    "this address, such as tcp://scheduler:8786, or N worker processes on this "
    "machine. All else stays in this process. It needs the extra dask.",
)


def embed_on_cluster(
    console: Console, embedder: SentenceEmbedder, texts: Any, where: int | str
) -> None:
    """Embed on workers the texts whose vectors the embedder's folder lacks."""
    from .._cluster.workers import workers
    from .._text.on_workers import fill_store

    with workers(where) as client:
        n_workers = len(client.nthreads())
        n_texts = fill_store(embedder, texts, client)
    console.note(
        f"{how_many(n_texts, 'text')} embedded on {how_many(n_workers, 'worker')}; all "
        "others were known"
    )
