"""An audit whose texts are embedded on workers."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from distributed import KilledWorker

from skclif import SentenceEmbedder
from skclif._cluster import workers as opening
from skclif._text import on_workers
from skclif._text.encoder import Encoder
from skclif.exceptions import DataFileError

from .. import folders

TRIMS = "MALLOC_TRIM_THRESHOLD_"
TEXTS = ["soup " * n for n in range(5, 34)] + ["cold soup", "cold soup"]


@pytest.fixture
def address(client):
    return client.scheduler.address


def test_an_audit_of_parquet_files_is_that_without_workers(
    audited, address, tmp_path, tiny_encoder, monkeypatch
):
    """To the same bits; and no text is embedded in this process."""
    (tmp_path / "parts").mkdir()
    table = pd.read_csv(audited.file, dtype=str, keep_default_na=False)
    for i, rows in enumerate((slice(50), slice(50, None))):
        table[rows].to_parquet(tmp_path / "parts" / f"{i}.parquet", index=False)
    monkeypatch.setattr(Encoder, "blocks", None)
    asked = ["audit", tmp_path / "parts", *folders.COLUMNS, *folders.OPTIONS]
    asked += ["--model", tiny_encoder, "--out", tmp_path / "out", "--cluster", address]
    asked.remove("--quiet")
    said = folders.done(*asked).output
    n = table["review"].nunique()
    assert f"{n} texts embedded on 2 workers; all others were known" in said
    for name in ("suspects.csv", "predictions.csv", "influence.csv"):
        expected = (audited.out / name).read_bytes()
        assert (tmp_path / "out" / name).read_bytes() == expected
    assert "0 texts embedded on 2 workers" in folders.done(*asked).output


def test_what_is_stored_is_not_embedded_again(
    client, tiny_encoder, tmp_path, monkeypatch
):
    here = SentenceEmbedder(tiny_encoder, share_vectors=False).transform(TEXTS)
    embedder = SentenceEmbedder(tiny_encoder, batch_size=1, cache_dir=tmp_path)
    monkeypatch.setattr(on_workers, "at_once", lambda batch_size: 4)
    finished = on_workers._finished

    def stopped(client, futures):
        stopped.n += 1
        if stopped.n == 2:
            raise KeyboardInterrupt
        return finished(client, futures)

    stopped.n = 0
    monkeypatch.setattr(on_workers, "_finished", stopped)
    with pytest.raises(KeyboardInterrupt):
        on_workers.fill_store(embedder, TEXTS, client)
    n_left = on_workers.fill_store(embedder, TEXTS, client)
    assert 0 < n_left < 30
    assert on_workers.fill_store(embedder, TEXTS, client) == 0
    monkeypatch.setattr(Encoder, "blocks", None)
    with pytest.warns(UserWarning, match="longer than the 32 tokens"):
        found = embedder.transform(TEXTS)
    np.testing.assert_allclose(found, here, rtol=0, atol=1e-5)


def test_a_model_that_workers_lack_or_have_otherwise(client, tiny_encoder, tmp_path):
    shutil.copytree(tiny_encoder, tmp_path / "model")
    run = on_workers._EmbedOnWorker(SentenceEmbedder(str(tmp_path / "model")))
    assert Path(run.embedder.model).is_absolute()
    run.fingerprint += "0"
    with pytest.raises(DataFileError, match="A worker has another model by the name"):
        list(on_workers._computed(client, run, ["soup"], [[0]]))
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(OSError, match="a worker cannot use the model .*on all workers"):
        list(on_workers._computed(client, run, ["soup"], [[0]]))


def test_workers_that_are_not_there(client, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(opening, "TO_ANSWER", 0.2)
    with (
        pytest.raises(OSError, match="no Dask scheduler answers at tcp://127.0.0.1:9 "),
        opening.workers("tcp://127.0.0.1:9"),
    ):
        pass
    monkeypatch.setattr(opening, "TO_ANSWER", 30)
    monkeypatch.setattr(opening, "TO_JOIN", 0.2)
    with (
        LocalCluster(n_workers=0, dashboard_address=":0") as nobody,
        pytest.raises(OSError, match="had no worker for 0.2 seconds. Start some by"),
        opening.workers(nobody.scheduler_address),
    ):
        pass


def test_workers_that_die_are_told(client, monkeypatch):
    class Lost:
        error = KilledWorker("task", None, 3)

        def result(self):
            raise self.error

    with pytest.raises(OSError, match="most often they lack memory"):
        on_workers._result(Lost(), "model")
    Lost.error = RuntimeError("Error during deserialization of the task graph. This")
    with pytest.raises(OSError, match="the Dask scheduler cannot read the tasks: it"):
        on_workers._result(Lost(), "model")
    Lost.error = RuntimeError("of a model")
    with pytest.raises(RuntimeError, match="of a model"):
        on_workers._result(Lost(), "model")
    monkeypatch.setattr(on_workers, "_PATIENCE", 0.01)
    monkeypatch.setattr(client, "scheduler_info", lambda: {"workers": {}})
    waiting = client.submit(pow, 2, 2, workers=["tcp://127.0.0.1:9"])
    with pytest.raises(OSError, match="all workers of the cluster are gone. What was"):
        on_workers._finished(client, {waiting: []})


def test_new_processes_are_workers_of_one_thread(client, monkeypatch):
    monkeypatch.delenv(TRIMS, raising=False)  # the cluster of the tests has set it
    with opening.workers(1) as own:
        assert list(own.nthreads().values()) == [1]
        assert own.submit(pow, 2, 3).result() == 8
        # glibc keeps memory for the next block of rows.
        assert own.submit(os.environ.get, TRIMS).result() is None


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(ImportError, match='pip install "skclif\\[dask\\]"'),
        opening.workers(2),
    ):
        pass


@pytest.mark.parametrize("where", ["0", "-1", "workers", "tcp://host", "1.5"])
def test_what_is_no_cluster_is_refused(where, tmp_path):
    result = folders.run("audit", "a.csv", "--out", tmp_path / "o", "--cluster", where)
    assert result.exit_code == 2
    assert "is neither a number of processes, such as 4, nor" in result.stderr


def test_prompts_need_vectors_of_sentences(tmp_path):
    (tmp_path / "p.yaml").write_text("food: {good: [Good.], bad: [Bad.]}")
    asked = ["audit", "a.csv", "--out", tmp_path / "o", "--cluster", "2"]
    result = folders.run(*asked, "--prompts", tmp_path / "p.yaml")
    assert result.exit_code == 2
    assert "--cluster embeds whole texts, and --prompts needs vectors" in result.stderr
