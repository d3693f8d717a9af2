"""Embedding more texts than fit into memory: rate, memory, and a kill on the way.

Texts are streamed from a CSV file to a .npy file. MiniLM embeds reviews of CEBaB, each
with a sentence of its own, on the CPU; a hashing embedder, which costs next to nothing,
shows what a million texts take beside the model. Memory is measured from outside.

    python -m benchmarks.embedding_scale [--texts 40000] [--hashed 1000000]
"""

import csv
import json
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from skclif import SentenceEmbedder
from skclif.datasets import fetch_cebab, make_concept_reviews

from .results import ROOT, BenchmarkParser, write_table

WIDTH = 384  # values of MiniLM
_INTERVAL = 0.02  # seconds between two looks at the memory
# Reads what to do from its arguments, and prints what a user of the command sees.
_CHILD = """
import json, sys, time
import numpy as np
from pathlib import Path
from benchmarks.embedding_scale import make_embedder
from skclif._text.embed_file import embed_file
from skclif._text.text_file import TextFile

name, way, file, out = sys.argv[1:]
embedder = make_embedder(name, Path(out).parent)
texts = TextFile.of(file, "text", False, quoted=True)
if way == "in memory":
    (block,) = [[text for part in texts.blocks(0, 2**31) for text in part]]
    embedder.transform(block[:1])  # loads the weights
    start = time.perf_counter()
    np.save(out, embedder.transform(block))
    rate = len(block) / (time.perf_counter() - start)
    print(json.dumps({"rate": rate}))
else:
    found = embed_file(embedder, texts, Path(out))
    rate, digest = found.texts_a_second, found.record.sha256
    print(json.dumps({"rate": rate, "sha256": digest}))
"""


class HashingEmbedder(SentenceEmbedder):
    """Word counts, hashed into as many values as a vector of MiniLM has."""

    def _encoder(self):
        return _Hashing()

    def _fingerprint(self, folder):
        return "hashing"


class _Hashing:
    def readout(self, *options):
        return None

    def n_features(self, readout):
        return WIDTH

    def blocks(self, texts, batch_size, long_text, readout):
        count = HashingVectorizer(n_features=WIDTH, dtype=np.float32)
        vectors = count.transform(texts).toarray()
        yield range(len(texts)), vectors, [None] * len(texts)


def make_embedder(name, folder):
    """Return the embedder of a name in the table."""
    if name == "MiniLM":
        return SentenceEmbedder()
    # What passes for the files of a model, which nobody reads.
    (folder / "modules.json").write_text("[]")
    (folder / "model.safetensors").write_bytes(b"")
    return HashingEmbedder(folder)


def texts_of(reviews):
    """Yield reviews for ever, each with a sentence that makes it another text."""
    number = 0
    while True:
        for review in reviews:
            number += 1
            yield f"{review} We had table {number}, and the bill was number {number}."


def write_texts(path, reviews, n_texts):
    """Write a table of texts."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "text"])
        writer.writerows(enumerate(islice(texts_of(reviews), n_texts)))


def anonymous_bytes(process):
    """Return the memory of a process that is no page of a file; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("RssAnon")]
    return 1024 * int(lines[0].split()[1]) if lines else 0


def run(name, way, file, out, *, kill_at=None):
    """Embed in a process of its own; kill it when some rows are on disk.

    Returns
    -------
    said : dict
        What it printed; empty if it was killed.
    seconds : float
        From its start to its end.
    peak : int
        The most bytes of anonymous memory that were seen.
    """
    start, peak = time.perf_counter(), 0
    arguments = [name, way, str(file), str(out)]
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    record = out.with_name(f"{out.name}.json")
    while process.poll() is None:
        peak = max(peak, anonymous_bytes(process))
        n_done = 0
        if kill_at and record.exists():
            n_done = json.loads(record.read_bytes())["n_done"]
        if kill_at and n_done >= kill_at:
            process.kill()
            process.communicate()
            return {}, time.perf_counter() - start, peak
        time.sleep(_INTERVAL)
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{name}, {way}: the process ended with an error.")
    return json.loads(said), time.perf_counter() - start, peak


def measure(name, way, n_texts, reviews, folder):
    """Return one line of the table."""
    file, out = folder / "texts.csv", folder / "vectors.npy"
    write_texts(file, reviews, n_texts)
    said, seconds, peak = run(name, way, file, out)
    size = out.stat().st_size
    line = [name, way, n_texts, round(said["rate"]), round(seconds, 1)]
    line += [round(peak / 1e6), round(size / 1e6, 1)]
    print(*line, sep="  ", flush=True)
    digest = said.get("sha256")
    clear(folder)
    return line, digest


def killed(name, n_texts, reviews, folder, digest):
    """Return the line of a run that is killed at half of its texts, and continued."""
    file, out = folder / "texts.csv", folder / "vectors.npy"
    write_texts(file, reviews, n_texts)
    _, first, peak = run(name, "streamed", file, out, kill_at=n_texts // 2)
    if out.exists():
        raise RuntimeError(f"{name}: the run ended before it was killed.")
    said, second, other = run(name, "streamed", file, out)
    if said["sha256"] != digest:
        raise RuntimeError(f"{name}: other bytes after a kill.")
    way = "streamed, killed at half and continued"
    line = [name, way, n_texts, None, round(first + second, 1)]
    line += [round(max(peak, other) / 1e6), round(out.stat().st_size / 1e6, 1)]
    print(*line, sep="  ", flush=True)
    clear(folder)
    return line


def clear(folder):
    """Remove the files of one run; a million vectors take 1.5 GB."""
    for path in folder.iterdir():
        path.unlink()


def main(argv=None):
    parser = BenchmarkParser("embedding_scale", __doc__, texts=0, hashed=8_000)
    parser.add_argument(
        "--texts", type=int, default=40_000, help="for MiniLM; 0 for none"
    )
    parser.add_argument("--hashed", type=int, default=1_000_000, help="texts to hash")
    options = parser.parse_args(argv)
    if options.small:
        reviews, source = list(make_concept_reviews(40).data), "made-up reviews"
    else:
        reviews, source = list(fetch_cebab("train").data), "reviews of CEBaB"
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.texts:
            few = options.texts // 4
            line, _ = measure("MiniLM", "in memory", few, reviews, folder)
            lines.append(line)
            line, digest = measure("MiniLM", "streamed", few, reviews, folder)
            lines.append(line)
            lines.append(killed("MiniLM", few, reviews, folder, digest))
            line, _ = measure("MiniLM", "streamed", options.texts, reviews, folder)
            lines.append(line)
        few = options.hashed // 10
        lines.append(measure("hashing", "streamed", few, reviews, folder)[0])
        line, digest = measure("hashing", "streamed", options.hashed, reviews, folder)
        lines.append(line)
        lines.append(killed("hashing", options.hashed, reviews, folder, digest))
    write_table(
        "embedding_scale",
        f"Streams of texts to vectors of {WIDTH} values in a file ({source}, CPU)",
        [
            *("embedder", "run", "texts", "texts a second", "seconds"),
            *("peak of anonymous memory, MB", "file, MB"),
        ],
        lines,
        [
            "Texts a second as the command reports them: without the start of the "
            "process, the loading of the model and the reading before, which are in "
            "the seconds. In memory is one call of transform, which sorts all texts by "
            "their length; streamed sorts blocks of 2,048.",
            "Memory is RssAnon of the process, looked at from outside every "
            f"{1000 * _INTERVAL:.0f} ms. Hashing stands for a model that costs "
            "nothing: its rate is that of reading, checking, storing and hashing.",
            "A run that was killed with SIGKILL and continued gave the bytes of a run "
            "that was not.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
