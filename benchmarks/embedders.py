"""Embedders: what the label and concepts lose with quicker ones, and in what language.

The same heads on the vectors of each: logistic regressions, whose penalty the log-loss
on the development part chooses, for the label and for every concept. The test part is
read once. Time is that of the processor, on one thread, with weights loaded before.

    python -m benchmarks.embedders [--tasks cebab-published yelp] [--peers wordllama]
"""

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from skclif import ConceptBottleneckClassifier, SentenceEmbedder
from skclif.datasets import make_concept_reviews

from ._peers import peers_python
from ._translations import ENGLISH, TRANSLATED
from .results import ROOT, BenchmarkParser, write_table
from .tasks import read_task

PENALTIES = [float(C) for C in np.logspace(-2, 2, 9)]
PARTS = ("train", "dev", "test")
REFERENCE = "SentenceEmbedder()"
LAST = "SentenceEmbedder(layers=None)"
MULTILINGUAL = 'SentenceEmbedder("multilingual")'
WORDLLAMA = "static vectors of wordllama"
_CACHE = ROOT / ".cache" / "embeddings"
_PEERS = ROOT / ".cache" / "peers-embedders"
_REQUIREMENTS = {"wordllama": "wordllama==0.4.0.post1\n"}


# --- Embedders ------------------------------------------------------------------------


def words():
    """Return vectors of words alone, which training texts teach."""
    return make_pipeline(
        TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=(1, 2)),
        TruncatedSVD(256, random_state=0),
    )


def embedders(static=None):
    """Return embedders by name; times are compared with that of the first.

    Parameters
    ----------
    static : path-like, default=None
        Folder of a model of static vectors.
    """
    found = {
        REFERENCE: SentenceEmbedder(share_vectors=False),
        LAST: SentenceEmbedder(layers=None, share_vectors=False),
        MULTILINGUAL: SentenceEmbedder("multilingual", share_vectors=False),
        "TfidfVectorizer and TruncatedSVD": words(),
    }
    if static is not None:
        found[WORDLLAMA] = SentenceEmbedder(static, normalize=True, share_vectors=False)
    return found


def static_model(folder):
    """Write the vectors in the package wordllama as a model that is a folder.

    Its own function to load them asks the network for the tokeniser that lies beside
    them; findings/wordllama_offline.sh shows it.
    """
    from safetensors.numpy import load_file
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer

    python = peers_python(_PEERS, _REQUIREMENTS["wordllama"])
    code = "import importlib.util as u; print(u.find_spec('wordllama').origin)"
    asked = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True
    )
    package = Path(asked.stdout.strip()).parent
    weights = load_file(package / "weights" / "l2_supercat_256.safetensors")
    rows = weights["embedding.weight"].astype(np.float32)
    name = "l2_supercat_tokenizer_config.json"
    tokenizer = Tokenizer.from_file(str(package / "tokenizers" / name))
    module = StaticEmbedding(tokenizer, embedding_weights=rows)
    SentenceTransformer(modules=[module], device="cpu").save_pretrained(str(folder))
    return folder


# --- Measuring ------------------------------------------------------------------------


def milliseconds(embedder, texts, repeat):
    """Return the median over runs of the milliseconds for each text, nothing kept."""
    if isinstance(embedder, SentenceEmbedder):
        embedder.set_params(cache_dir=None)
    embedder.transform(texts[:1])  # loads the weights
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        embedder.transform(texts)
        seconds.append(time.process_time() - start)
    return 1000 * statistics.median(seconds) / len(texts)


def vectors(embedder, parts, cache_dir):
    """Return the vectors of all parts; what is learned is learned of the first."""
    if isinstance(embedder, SentenceEmbedder):
        embedder.set_params(cache_dir=cache_dir)
    embedder.fit(parts["train"][0])
    found = {name: embedder.transform(parts[name][0]) for name in PARTS}
    return {name: X.astype(np.float64) for name, X in found.items()}


def label_scores(X, parts, penalties):
    """Return accuracy and log-loss on test, with C by the log-loss on dev."""
    y = {name: np.asarray(parts[name][1]) for name in PARTS}
    fitted = [
        LogisticRegression(C=C, max_iter=5000).fit(X["train"], y["train"])
        for C in penalties
    ]
    losses = [_loss(m.classes_, y["dev"], m.predict_proba(X["dev"])) for m in fitted]
    best = fitted[int(np.argmin(losses))]
    proba = best.predict_proba(X["test"])
    return best.score(X["test"], y["test"]), _loss(best.classes_, y["test"], proba)


def concept_f1(X, parts, penalties):
    """Return the mean over concepts of macro F1 on test, each with its own C."""
    y, concepts = parts["train"][1], parts["train"][2]
    fitted = [
        ConceptBottleneckClassifier(training="sequential", concept_C=C).fit(
            X["train"], np.asarray(y), concepts=concepts
        )
        for C in penalties
    ]
    dev = [model.predict_concept_proba(X["dev"]) for model in fitted]
    says = [model.predict_concepts(X["test"]) for model in fitted]
    scores = []
    for j, name in enumerate(concepts):
        values = fitted[0].concept_classes_[j]
        known = parts["dev"][2][name]
        rows = known.isin(values).to_numpy()
        losses = [_loss(values, known[rows], proba[name][rows]) for proba in dev]
        truth = parts["test"][2][name]
        rows = truth.notna().to_numpy()
        best = says[int(np.argmin(losses))][name]
        scores.append(f1_score(truth[rows], best[rows], average="macro"))
    return float(np.mean(scores))


def _loss(classes, truth, proba):
    return float(log_loss(truth, proba, labels=classes))


def measure(task, parts, found, n_timed, repeat, penalties):
    """Return a row for every embedder."""
    texts = list(dict.fromkeys(parts["train"][0]))
    texts = [texts[i] for i in np.linspace(0, len(texts) - 1, n_timed).astype(int)]
    rows, reference = [], None
    for name, embedder in found.items():
        X = vectors(embedder, parts, None if task == "generated" else _CACHE)
        needed = milliseconds(embedder, texts, repeat)
        reference = reference or needed
        accuracy, loss = label_scores(X, parts, penalties)
        rows.append([task, name, X["train"].shape[1], needed, needed / reference])
        rows[-1] += [accuracy, loss, concept_f1(X, parts, penalties)]
    return rows


def languages(found, translated):
    """Return, for every language, how many translations are nearest to their own."""
    rows = [[language] for language in translated]
    for embedder in found:
        english = normalize(embedder.transform(ENGLISH))
        for row, texts in zip(rows, translated.values(), strict=True):
            nearest = (embedder.transform(texts) @ english.T).argmax(axis=1)
            row.append(int((nearest == np.arange(len(ENGLISH))).sum()))
    return rows


def parts_of(task):
    """Return texts, labels and annotations of every part."""
    if task != "generated":
        return {part: read_task(task, part) for part in PARTS}
    found, parts = make_concept_reviews(60, random_state=0), {}
    for part, rows in zip(PARTS, np.split(np.arange(60), [30, 45]), strict=True):
        tables = (found.data, found.target, found.concepts)
        parts[part] = tuple(table.iloc[rows] for table in tables)
    return parts


def main(argv=None):
    parser = BenchmarkParser(
        "embedders",
        __doc__,
        tasks=["generated"],
        peers=[],
        texts=5,
        repeat=1,
        penalties=[0.1, 1.0],
    )
    parser.add_argument("--tasks", nargs="+", default=["cebab-published", "yelp"])
    parser.add_argument(
        "--peers", nargs="*", choices=_REQUIREMENTS, default=["wordllama"]
    )
    parser.add_argument("--texts", type=int, default=300, help="to measure time on")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--penalties", type=json.loads, default=PENALTIES)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = []
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        static = static_model(folder) if "wordllama" in options.peers else None
        found = embedders(static)
        for task in options.tasks:
            rows += measure(
                task,
                parts_of(task),
                found,
                options.texts,
                options.repeat,
                options.penalties,
            )
        known = dict(list(TRANSLATED.items())[: 2 if options.small else None])
        neighbours = languages([found[name] for name in (LAST, MULTILINGUAL)], known)
    write_tables(rows, neighbours, options)


def write_tables(rows, neighbours, options):
    write_table(
        "embedders",
        "The same heads on the vectors of different embedders",
        ["task", "embedder", "values", "ms a text", "time over the first"]
        + ["accuracy", "log-loss", "macro F1 of concepts"],
        rows,
        [
            "Label and concepts by logistic regressions, whose penalty the log-loss on "
            "the development part chooses among nine; scores are those of the test "
            'part. Macro F1 is the mean over concepts, "unknown" counts as a value.',
            "SentenceEmbedder() reads the upper layers of all-MiniLM-L6-v2, and with "
            "layers=None the last one, as sentence-transformers does.",
            f"Time is that of the processor for {options.texts} training texts, one "
            f"thread, weights loaded before, median of {options.repeat} runs; that of "
            "TfidfVectorizer and TruncatedSVD is without their fit.",
            "TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=(1, 2)) and "
            "TruncatedSVD(256) are fitted to the training texts. The static vectors "
            "are those in the package wordllama 0.4.0, scaled to length 1.",
        ],
        options=options,
    )
    write_table(
        "embedders_languages",
        f"Of {len(ENGLISH)} sentences, those whose translation is the nearest",
        ["language", LAST, MULTILINGUAL],
        neighbours,
        [
            f"{len(ENGLISH)} sentences on restaurants, translated for this benchmark: "
            "each is compared with all sentences in English by the cosine of their "
            "vectors. By chance one is right. It is a look, not a measurement.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
