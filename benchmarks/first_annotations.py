"""What the first annotations do to `ConceptAnnotator`, and concepts alone.

From none to ten annotations of each concept: of random training texts, and of those
alone that prompts annotate wrongly, as somebody would who corrects what a machine said.
A second table compares concepts that are annotated one at a time with all at once. All
of it on the development parts, by which the constants were chosen.

    python -m benchmarks.first_annotations [--draws 10]
"""

import warnings

import numpy as np
import pandas as pd

from skclif import ConceptAnnotator
from skclif.exceptions import CorrectionWarning

from .annotation import by_annotator, known_vectors, load, scores
from .results import BenchmarkParser, write_table

TASKS = ["cebab-published", "yelp", "nhs"]
SIZES = [1, 2, 4, 10]
RANDOM, WRONG = "random texts", "wrong ones alone"
COLUMNS = ["accuracy", "macro-F1"]


def orders(train, given, prompts, embedder, which, draw):
    """Return the rows of each concept that people annotate, the first one first."""
    rng = np.random.default_rng(draw)
    order = rng.permutation(len(train))
    known = {name: order[given[name].notna().to_numpy()[order]] for name in prompts}
    if which == RANDOM:
        return known
    annotator = ConceptAnnotator(prompts, embedder=embedder, output="categories")
    said = annotator.set_params(threshold=0).fit_transform(train)
    is_wrong = {n: (said[n] != given[n].astype(str)).to_numpy() for n in prompts}
    return {name: rows[is_wrong[name][rows]] for name, rows in known.items()}


def moved(before, after):
    """Return the share that went to other values, mean over texts and concepts."""
    gaps = [np.abs(after[name] - before[name]).sum(axis=1).mean() for name in before]
    return float(np.mean(gaps) / 2)


def measure(task, part, sizes, n_draws):
    """Return a line for each draw, number and way of annotations."""
    train, given, prompts = load(task, "train")
    test, truth, _ = load(task, part)
    embedder = known_vectors([*train, *test], prompts)
    nothing = by_annotator(train, None, test, prompts, embedder)
    start = scores(truth, nothing, prompts)[COLUMNS].mean()
    lines = [[task, which, 0, *start, np.nan] for which in (RANDOM, WRONG)]
    for which in (RANDOM, WRONG):
        for draw in range(n_draws):
            rows, before = orders(train, given, prompts, embedder, which, draw), nothing
            for size in sizes:
                few = given.astype(object)
                for name in prompts:
                    few[name] = few[name].where(few.index.isin(rows[name][:size]))
                after = by_annotator(train, few, test, prompts, embedder)
                found = scores(truth, after, prompts)[COLUMNS].mean()
                lines.append([task, which, size, *found, moved(before, after)])
                before = after
    alone = {}
    for name in prompts:
        one = {name: prompts[name]}
        alone |= by_annotator(train, None, test, one, embedder)
    return lines, [
        [task, how, *_mentions(truth, shares, prompts)]
        for how, shares in (("one at a time", alone), ("all at once", nothing))
    ]


def _mentions(truth, shares, prompts):
    """Return how often concepts are mentioned, truly and by prompts, and accuracy."""
    true, said = [], []
    for name, values in prompts.items():
        silent = [value for value in values if not values[value]]
        rows = truth[name].notna().to_numpy()
        true.append((~truth[name][rows].astype(str).isin(silent)).mean())
        best = np.array([*values], dtype=object)[shares[name][rows].argmax(axis=1)]
        said.append((~np.isin(best, silent)).mean())
    accuracy = scores(truth, shares, prompts)["accuracy"].mean()
    return len(prompts), float(np.mean(true)), float(np.mean(said)), float(accuracy)


def main(argv=None):
    small = {"tasks": ["generated"], "sizes": [1, 4], "draws": 1, "part": "test"}
    parser = BenchmarkParser("first_annotations", __doc__, **small)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--part", choices=["dev", "test"], default="dev")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--draws", type=int, default=10, help="of annotated rows")
    options = parser.parse_args(argv)
    lines, alone = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CorrectionWarning)  # what is measured here
        for task in options.tasks:
            own, mentions = measure(task, options.part, options.sizes, options.draws)
            lines += own
            alone += mentions
    names = ["task", "annotated", "annotations", *COLUMNS, "moved"]
    means = pd.DataFrame(lines, columns=names).groupby(names[:3], sort=False).mean()
    means = means.sort_index(level=[0, 1], sort_remaining=False, kind="stable")
    write_table(
        "first_annotations",
        f"The first annotations of each concept, {options.part} parts",
        names,
        [
            [*key, *(None if np.isnan(value) else float(value) for value in row)]
            for key, row in zip(means.index, means.to_numpy(), strict=True)
        ],
        [
            f"Means over the concepts of a task and {options.draws} draws. Moved: the "
            "share that went to other values of a text since the line above.",
            f"Annotated: {RANDOM}, or {WRONG}: those whose most probable value, by "
            "prompts, is not what people said.",
        ],
        options=options,
    )
    write_table(
        "first_annotations_alone",
        f"Concepts one at a time and all at once, {options.part} parts",
        ["task", "concepts", "number", "mentioned", "by prompts", "accuracy"],
        alone,
        [
            "No annotations. Mentioned: the mean share of texts with a value that has "
            "prompts, as people say and as the most probable value is."
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
