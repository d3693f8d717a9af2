"""Quick baselines beside SetFit, skrub and plain recipes of scikit-learn.

Models are fitted to the training part of CEBaB (*masked*), Yelp and the NHS feedback,
and measured on the test part, each in a process of its own on one thread. Peers get an
environment of their own in ``.cache/peers-baselines``, and the sentence encoder that
ours have. Bottlenecks are compared with the label from annotations alone, and the time
to the first lines of ``skclif baseline`` is taken.

    python -m benchmarks.baselines [--part dev]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from skclif import (
    ConceptBottleneckClassifier,
    SentenceEmbedder,
    make_text_pipeline,
)
from skclif._inputs.indicators import Indicators
from skclif._text.weights import DEFAULT_MODEL, find_model
from skclif.datasets import make_concept_reviews

from ._peers import peers_python
from .results import ROOT, BenchmarkParser, interval, write_table
from .tasks import read_task

REQUIREMENTS = """\
torch==2.13.0
setfit==1.2.0
skrub==0.11.0
scikit-learn==1.9.1
"""
PEERS = {  # what each is called
    "tfidf": "TF-IDF, LogisticRegression",
    "tfidf_tuned": "TF-IDF of words and characters, tuned C",
    "svc": "TF-IDF of words and characters, calibrated LinearSVC",
    "tabular": "skrub's tabular_pipeline",
    "string_encoder": "skrub's StringEncoder(200), tuned C",
    "text_encoder": "skrub's TextEncoder(MiniLM), LogisticRegression",
    "text_encoder_tuned": "skrub's TextEncoder(MiniLM, all), tuned C",
    "both_encoders": "both encoders of skrub side by side, tuned C",
    "setfit": "SetFit, 8 texts a class",
}
BEST = "vectors and words"  # make_text_pipeline(); the best on every development part
FEATURES = {
    "words": {"vectors": False},
    "vectors": {"words": False},
    BEST: {},
}
BOTTLENECKS = {
    f"bottleneck on {sees}, {training}": (sees, training)
    for sees in ("vectors", BEST)
    for training in ("mixed", "sequential")
}
GOLD = "label from annotations"
_PEERS = ROOT / ".cache" / "peers-baselines"
_NAMES = {"cebab-masked": "CEBaB", "nhs": "NHS feedback", "yelp": "Yelp"}
_COLUMNS = ["task", "model", "library", "accuracy", "macro F1", "log-loss"]
_COLUMNS += ["log-loss minus ours", "seconds"]


# --- Tasks ----------------------------------------------------------------------------


def problem(task, part):
    """Return what a model gets: texts and labels to train on, and texts to predict."""
    (texts, y, concepts), (test, y_test, test_concepts) = _parts(task, part)
    return {
        "folder": str(find_model(DEFAULT_MODEL)),
        "train": list(texts),
        "labels": [str(label) for label in y],
        "concepts": _plain(concepts),
        "test": list(test),
        "test_labels": [str(label) for label in y_test],
        "test_concepts": _plain(test_concepts),
    }


def _parts(task, part):
    if task != "generated":
        return [read_task(task, name) for name in ("train", part)]
    found = make_concept_reviews(300, random_state=0)
    rows = np.split(np.arange(300), [200])
    tables = (found.data, found.target, found.concepts)
    return [[table.iloc[some] for table in tables] for some in rows]


def _plain(concepts):
    concepts = concepts.astype(object).where(concepts.notna(), None)
    return {name: column.tolist() for name, column in concepts.items()}


# --- One answer in a process ----------------------------------------------------------


def answers(problem, folder):
    """Fit our models, write their probabilities, and print what else is known.

    Texts are embedded once; its seconds are added to those of all models that see it.
    """
    given = json.loads(Path(problem).read_text(encoding="utf-8"))
    texts, test = (np.asarray(given[name], dtype=object) for name in ("train", "test"))
    y = np.asarray(given["labels"])
    concepts, test_concepts = (
        pd.DataFrame(given[name], dtype=object)
        for name in ("concepts", "test_concepts")
    )
    start = time.process_time()
    for part in (texts, test):
        SentenceEmbedder().transform(part)  # and their vectors stay in memory
    embedding = time.process_time() - start

    def done(model, proba, start, sees, **more):
        seconds = time.process_time() - start + embedding * (sees in ("vectors", BEST))
        np.save(Path(folder) / f"{model}.npy", proba)
        print(json.dumps({"model": model, "seconds": seconds, **more}), flush=True)

    for sees, parts in FEATURES.items():
        start = time.process_time()
        pipeline = make_text_pipeline(**parts).fit(texts, y)
        done(sees, pipeline.predict_proba(test), start, sees)
    for model, (sees, training) in BOTTLENECKS.items():
        start = time.process_time()
        pipeline = make_text_pipeline(**FEATURES[sees])
        pipeline.set_params(classifier__training=training)
        pipeline.fit(texts, y, classifier__concepts=concepts)
        says = pipeline[-1].predict_concepts(pipeline[:-1].transform(test))
        f1 = _concept_f1(test_concepts, says)
        done(model, pipeline.predict_proba(test), start, sees, concept_f1=f1)
    start = time.process_time()
    indicators = Indicators.learn(concepts)
    gold = ConceptBottleneckClassifier(C="auto").fit(indicators.encode(concepts), y)
    done(GOLD, gold.predict_proba(indicators.encode(test_concepts)), start, GOLD)


def _concept_f1(known, predicted):
    """Return the mean over concepts of macro-F1, over rows that are annotated."""
    scores = []
    for name in known:
        rows = known[name].notna().to_numpy()
        truth, says = known[name].to_numpy()[rows], predicted[name].to_numpy()[rows]
        scores.append(f1_score(truth.astype(str), says.astype(str), average="macro"))
    return float(np.mean(scores))


def run(command, *arguments):
    """Return what a process on one thread prints, line by line, as it comes."""
    threads = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
    environment = {**os.environ, **dict.fromkeys(threads, "1")}
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [str(part) for part in (*command, *arguments)]
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        yield from process.stdout
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:3])} … failed.")


# --- Tables ---------------------------------------------------------------------------


def measure(task, part, peers):
    """Return every model's probabilities and what it printed, and what it was given."""
    given, found = problem(task, part), {}
    with tempfile.TemporaryDirectory(prefix="skclif-baselines-") as folder:
        path = Path(folder, "problem.json")
        path.write_text(json.dumps(given), encoding="utf-8")
        ours = [sys.executable, "-m", "benchmarks.baselines", "--answers"]
        commands = [(*ours, path, folder)]
        if peers:
            program = Path(__file__).with_name("_baseline_peers.py")
            commands.append(
                (peers_python(_PEERS, REQUIREMENTS), program, path, folder, *peers)
            )
        for command in commands:
            for line in run(command):
                if not line.startswith('{"model"'):
                    continue  # what libraries print
                about = json.loads(line)
                model = about["model"]
                print(f"{task}: {model}, {about['seconds']:.0f} s", file=sys.stderr)
                proba = np.load(Path(folder, f"{model}.npy"))
                found[PEERS.get(model, model)] = proba, about
    return found, given


def scores(proba, given):
    """Return accuracy, macro-F1 and the log-loss of every row."""
    classes, codes = np.unique(given["labels"]), np.asarray(given["test_labels"])
    codes = np.searchsorted(classes, codes)
    predicted = proba.argmax(axis=1)
    least = np.finfo(float).tiny
    losses = -np.log(np.maximum(proba[np.arange(len(codes)), codes], least))
    macro = float(f1_score(codes, predicted, average="macro"))
    return float((predicted == codes).mean()), macro, losses


def rows_of_models(name, found, given):
    """Return a row for each model that gives probabilities of the label."""
    ours = scores(found[BEST][0], given)[2]
    rows = []
    for model, (proba, about) in found.items():
        if BOTTLENECKS.get(model, ("", ""))[1] == "sequential":
            continue  # it is in the other table
        accuracy, macro, losses = scores(proba, given)
        difference = "-" if model == BEST else interval(losses - ours)
        rows.append(
            [name, model, _library(model), accuracy, macro, float(losses.mean())]
            + [difference, about["seconds"]]
        )
    return rows


def _library(model):
    if model == PEERS["setfit"]:
        return "peer, tunes the encoder"
    return "peer" if model in PEERS.values() else "skclif"


def rows_of_bottlenecks(name, found, given):
    """Return a row for each bottleneck beside what its concepts can reach."""
    rows = []
    for model, (sees, training) in BOTTLENECKS.items():
        three = [scores(found[one][0], given) for one in (model, GOLD, sees)]
        rows.append(
            [name, sees, training, found[model][1]["concept_f1"]]
            + [one[0] for one in three]
            + [float(one[2].mean()) for one in three]
        )
    return rows


def first_lines(task, repeat):
    """Return seconds from start to the first line and to the next, of every run."""
    (texts, y, concepts), _ = _parts(task, "test")
    table = concepts.assign(text=list(texts), label=list(y))
    with tempfile.TemporaryDirectory(prefix="skclif-baselines-") as folder:
        path = Path(folder) / "texts.csv"
        table.to_csv(path, index=False)
        return [_timed_lines(path, list(concepts)) for _ in range(repeat)]


def _timed_lines(path, concepts):
    start_command = "from skclif.cli import main; main()"
    command = [sys.executable, "-c", start_command, "baseline", str(path), "--quiet"]
    command += [part for name in concepts for part in ("--concept", name)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    start, seconds = time.perf_counter(), []
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith(("majority", "words")):
                seconds.append(time.perf_counter() - start)
            if len(seconds) == 2:
                process.kill()
                break
    return seconds


def main(argv=None):
    parser = BenchmarkParser(
        "baselines", __doc__, tasks=["generated"], peers=[], repeat=1
    )
    parser.add_argument("--tasks", nargs="+", default=list(_NAMES))
    parser.add_argument(
        "--part", default="test", choices=["dev", "test"], help="to measure on"
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs to a first line")
    parser.add_argument("--answers", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    options = parser.parse_args(argv)
    if options.answers:
        warnings.simplefilter("ignore")
        answers(*options.answers)
        return
    if options.peers:
        peers_python(_PEERS, REQUIREMENTS)  # now, not after minutes
    lines = first_lines(options.tasks[0], options.repeat)
    write_table(
        "baselines_first",
        "Seconds to the first lines of skclif baseline",
        ["line", "median seconds", "longest"],
        [
            [line, median(seconds), max(seconds)]
            for line, seconds in zip(
                ("the first: majority", "the second: words"),
                zip(*lines, strict=True),
                strict=True,
            )
        ],
        [
            f"{options.repeat} runs on the training part of "
            f"{_NAMES.get(options.tasks[0], 'made-up reviews')}, from the start of the "
            "process, imports included, one thread."
        ],
        options=options,
    )
    models, bottlenecks = [], []
    for task in options.tasks:
        found, given = measure(task, options.part, options.peers)
        name = _NAMES.get(task, task)
        models += rows_of_models(name, found, given)
        bottlenecks += rows_of_bottlenecks(name, found, given)
        write_tables(models, bottlenecks, options)  # a later task may fail


def write_tables(models, bottlenecks, options):
    """Write the tables of the tasks that are done."""
    write_table(
        "baselines",
        f"Baselines and peers on the {options.part} part",
        _COLUMNS,
        models,
        [
            "Fitted to the training part. Differences of log-loss (nats) are paired, "
            f"with 95 % t intervals; ours is {BEST!r}, which make_text_pipeline() "
            "returns. Below 0 the other is better.",
            "Seconds are those of the processor, from texts to probabilities, with the "
            "sentence encoder and without imports, on one thread, one run. skrub's "
            "TextEncoder has the default 30 components, or all 384 values of MiniLM.",
            "Tuned C: LogisticRegressionCV by log-loss, five folds (three on word "
            "counts), seven values from 0.1 to 100.",
            "SetFit: 8 texts of each class, 2 right and 2 wrong pairs of each, one "
            "epoch; its logistic regression sees the same texts. It is given little, "
            "because it tunes the encoder on one thread.",
        ],
        options=options,
    )
    write_table(
        "baselines_bottlenecks",
        f"Bottlenecks beside what annotations alone reach, on the {options.part} part",
        ["task", "sees", "training", "macro F1 of concepts"]
        + ["accuracy", "from annotations", "black box"]
        + ["log-loss", "log-loss from annotations", "log-loss of the black box"],
        bottlenecks,
        [
            "From annotations: a model of the label that sees the true concepts of the "
            "test rows and no text. The black box sees what the bottleneck sees, "
            "without concepts in between.",
            "Macro F1 of concepts is the mean over concepts, where people annotated.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
