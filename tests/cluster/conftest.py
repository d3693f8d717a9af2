"""A cluster of two worker processes, which all tests of this folder share."""

import logging
import os
import pickle
import signal

import numpy as np
import pandas as pd
import pytest

# Workers, and those that come after a kill, are forks of a process that has imported
# what they need: a worker that imports for itself takes seconds.
PRELOADED = ["distributed", "dask.array", "dask.dataframe", "skclif._explain.explainer"]
PRELOADED += ["sentence_transformers"]


@pytest.fixture(scope="package")
def client():
    import dask
    from distributed import Client, LocalCluster
    from distributed.utils import get_mp_context

    config = {
        "distributed.worker.multiprocessing-method": "forkserver",
        "distributed.worker.memory.rebalance.measure": "managed",
        "distributed.comm.timeouts.connect": "30s",
    }
    with dask.config.set(config):
        get_mp_context().set_forkserver_preload(PRELOADED)
        with (
            LocalCluster(
                n_workers=2,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                memory_limit=0,
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client


@pytest.fixture
def brought(client, monkeypatch):
    """Return a function that returns what came to the client since, as bytes."""
    from distributed import Client

    came, gather = [], Client._gather_remote

    async def keeping(self, *args, **kwargs):
        response = await gather(self, *args, **kwargs)
        came.append(pickle.dumps(list(response["data"].values())))
        return response

    monkeypatch.setattr(Client, "_gather_remote", keeping)

    def since():
        found = came.copy()
        came.clear()
        return found

    return since


@pytest.fixture
def kill_one(client):
    """Return a function that kills the process of one worker, as out of memory."""

    def kill():
        pids = client.run(os.getpid)
        kill.killed.append(next(iter(pids.values())))
        os.kill(kill.killed[-1], signal.SIGKILL)

    kill.killed = []
    yield kill
    client.wait_for_workers(2, timeout=120)


@pytest.fixture(scope="package")
def reviews():
    """X, y, concepts (a category with gaps, three values, a number) and weights."""
    rng = np.random.default_rng(0)
    n = 240
    X = rng.normal(size=(n, 6)) @ np.diag([1, 2, 0.5, 1, 1, 1]) + 0.3
    food = np.where(X[:, 0] + rng.normal(size=n) > 0, "good", "bad").astype(object)
    food[rng.random(n) < 0.2] = None
    place = np.array(["quiet", "loud", "full"])[rng.integers(0, 3, n)]
    place = np.where(X[:, 1] > 0.5, "quiet", place)
    price = (10 * X[:, 2] + rng.normal(size=n)).round(1)
    concepts = pd.DataFrame({"food": food, "place": place, "price": price})
    score = X[:, 0] + X[:, 1] / 2 + rng.normal(size=n)
    y = np.array(["1 star", "3 stars", "5 stars"])[np.digitize(score, [-0.5, 1])]
    weights = rng.choice([0.0, 1.0, 1.0, 2.5], n)
    return X, y, concepts, weights
