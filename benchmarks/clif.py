"""The CLIF protocol: wrong items, concepts, root causes and drift, found and mended.

Five arms, each with tables of its own; docs/clif.rst states them exactly. Errors are
planted in training rows, found by influence and by leave-one-out losses, and mended by
`edit`, without retraining; clean rows of the test part judge.

    python -m benchmarks.clif [--arm samples] [--seeds 4] [--cause-seeds 10]
    python -m benchmarks.clif --tasks reviews.csv --arm samples --arm concepts

A file has the columns text and label, and one for each concept; it is split at random.
"""

import os
from itertools import product

import pandas as pd
from scipy import stats

from ._clif_causes import N_GROUPS, SCORES, root_causes
from ._clif_concepts import measure as measure_concepts
from ._clif_drift import FOUND_BY
from ._clif_drift import measure as measure_drift
from ._clif_items import load
from ._clif_samples import OURS, PICKERS
from ._clif_samples import measure as measure_samples
from ._clif_steps import AS_PLANTED, STEPS
from ._clif_steps import measure as measure_steps
from .results import BenchmarkParser, interval, write_table

TASKS = ["cebab-masked", "cebab-published", "yelp", "nhs", "generated"]
BUDGETS = {0.1: ["as planted"], 0.2: ["as planted", "half"]}
RATE = 0.2  # of the tables that compare data sets
SOURCES = {"cebab": "cebab-published", "yelp": "yelp"}
BACKGROUNDS = [0.0, 0.2]
SMALL = {
    "seeds": 1,
    "cause_seeds": 1,
    "tasks": ["generated"],
    "budgets": {RATE: ["as planted"]},
    "sources": {"first": "generated", "second": "generated"},
    "backgrounds": [0.2],
}
OF_LABEL = ["accuracy", "log-loss"]
MEASURES = [*OF_LABEL, *(f"concepts: {name}" for name in OF_LABEL)]
MOVED = ["predictions changed", "log-loss"]
POOLED = ["cebab-masked", "yelp", "nhs"]  # without CEBaB twice
COMPARED = [
    *((OURS, other) for other in PICKERS if other != OURS),
    ("suspects", "random"),
    ("suspects", "cleanlab"),
    ("suspects", "suspects by probability"),
]
# What is to be reached on every data set.
RECOVERED = "label's log-loss recovered < .9"
AS_CLEANLAB = "suspects below cleanlab"
KEPT = "concepts below suspects"


# --- Samples --------------------------------------------------------------------------


def samples(options):
    """Plant errors in labels and annotations, pick, correct, edit."""
    plan = product(options.tasks, options.budgets.items(), range(options.seeds))
    data = pd.DataFrame(
        record
        for task, (rate, budgets), seed in plan
        for record in measure_samples(task, rate, seed, budgets)
    )
    notes = [
        f"Seeds: {options.seeds}, which plant other errors; all share one test part, "
        "so intervals are narrower than those of new data would be. C = concept_C = 1. "
        "Measures of concepts are means over concepts.",
        f"'{OURS}' and 'cleanlab, clean rows' know labels and annotations of the "
        "development part, which are clean, 'harmful to the label' its labels, and the "
        "others neither.",
    ]
    write_table(
        "clif_sets",
        "The same result on every data set?",
        SETS,
        sets(data),
        [
            f"{RATE:.0%} of labels and annotations wrong, as many picks as are wrong, "
            "all picks checked. Shares of the log-loss (nats) that noise added to the "
            "label, and to concepts on average. 'By labels' and 'by annotations': the "
            "share of the label's that wrong labels or annotations do alone. Not met: "
            f"{RECOVERED}; differences of which the 95 % t interval is below 0: "
            f"{AS_CLEANLAB} (label), {KEPT}.",
            *notes,
        ],
        options=options,
    )
    write_table(
        "clif_samples",
        "Recovered share of what noise did",
        ["task", "noise", "budget", "remedy", "measure", "clean", "polluted", *PICKERS],
        recovered_shares(data),
        [
            "(edited - polluted) / (clean - polluted), the denominator averaged over "
            "seeds; 1 is as good as clean; - where the 95 % t interval of the harm "
            "that noise did is not above 0. Intervals over seeds; log-loss in nats.",
            *notes,
        ],
        options=options,
    )
    for name, part in [
        ("clif_pairs", data[data.task.isin(POOLED)].assign(of=" + ".join(POOLED))),
        ("clif_pairs_by_task", data.assign(of=data.task)),
    ]:
        write_table(
            name,
            "Picks against picks at the same budget",
            ["task", "noise", "budget", "remedy", "picks", "against", *MEASURES]
            + ["pairs"],
            pairs(part),
            [
                "Differences of the edited models on the test part: accuracy, higher "
                "is better; log-loss in nats, lower is better. 95 % t intervals of "
                "paired differences over seeds, and over all data sets that are "
                "named.",
                *notes,
            ],
            options=options,
        )
    write_table(
        "clif_picks",
        "Share of picked items that are wrong",
        ["task", "noise", "budget", *PICKERS],
        precisions(data),
        notes,
        options=options,
    )
    write_table(
        "clif_edits",
        "Edited against retrained",
        ["task", "remedy", "edits", "accuracy, at most", "log-loss, at most"]
        + ["same predictions, at least", "heads from zero"],
        beside_retrained(data),
        [
            f"Of the edits by '{OURS}', all noises, budgets and seeds. Many items are "
            "edited at once; where a head is fitted faster from zero, `edit` does "
            "that, and the share of such heads is the last column. Models of other "
            "picks are fitted from zero at once.",
            *notes[:1],
        ],
        options=options,
    )


SETS = ["task", "rows", "label values", "concepts", "by labels", "by annotations"]
SETS += [
    f"{of}: {picks}"
    for of in ("label", "concepts")
    for picks in (OURS, "suspects", "cleanlab")
]
SETS += ["label: suspects - cleanlab", f"concepts: {OURS} - suspects", "not met"]


def sets(data):
    """Return a line a task: what was recovered of label and concepts, and what not."""
    lines = []
    chosen = (data.noise == RATE) & data.remedy.isin(["checked", *WHOLE])
    chosen &= data.budget.isna() | (data.budget == "as planted")
    for task, cell in data[chosen].groupby("task", sort=False):
        whole = {name: cell[cell.remedy == name].set_index("seed") for name in WHOLE}
        edited = cell[cell.picks.notna()].set_index(["seed", "picks"])
        shares = {}
        for of, name in (("label", "log-loss"), ("concepts", "concepts: log-loss")):
            table = edited[name].unstack("picks")
            for picks in (OURS, "suspects", "cleanlab"):
                shares[of, picks] = recovered(
                    table[picks], whole["polluted"][name], whole["clean"][name], name
                )
        train = load(task, "train")
        line = [task, len(train.y), len(set(train.y)), train.concepts.shape[1]]
        line += _harms(whole)
        line += [None if one is None else interval(one) for one in shares.values()]
        lines.append([*line, *_differences(shares)])
    return lines


WHOLE = ["clean", "polluted", "wrong labels", "wrong annotations"]


def _harms(whole):
    """Return what wrong labels, and annotations, do alone to the label's log-loss."""
    losses = {name: part["log-loss"].mean() for name, part in whole.items()}
    harm = losses["polluted"] - losses["clean"]
    return [float((losses[name] - losses["clean"]) / harm) for name in WHOLE[2:]]


def _differences(shares):
    """Return the two differences of shares that matter, and what is not met."""
    found, missed = [], []
    ours = shares["label", OURS]
    if ours is not None and ours.mean() < 0.9:
        missed.append(RECOVERED)
    for of, picks, against, what in [
        ("label", "suspects", "cleanlab", AS_CLEANLAB),
        ("concepts", OURS, "suspects", KEPT),
    ]:
        if shares[of, picks] is None:
            found.append(None)
            continue
        gain = shares[of, picks] - shares[of, against]
        found.append(interval(gain))
        if gain.mean() < 0 and stats.ttest_1samp(gain, 0).pvalue < 0.05:
            missed.append(what)
    return [*found, ", ".join(missed) or None]


def recovered(edited, polluted, clean, measure):
    """Return which share of what was lost came back, one a seed; None if nothing was.

    What was lost is averaged over seeds, so that a seed which lost little does not
    decide; it counts if its 95 % t interval is above 0.
    """
    lost = clean - polluted
    harm = lost if measure.endswith("accuracy") else -lost
    sure = len(harm) > 1 and stats.ttest_1samp(harm, 0).pvalue < 0.05
    return (edited - polluted) / lost.mean() if sure and harm.mean() > 0 else None


def recovered_shares(data):
    """Return a line a task, noise, budget, remedy and measure."""
    lines = []
    for (task, noise), cell in data.groupby(["task", "noise"], sort=False):
        whole = {
            name: cell[cell.remedy == name].set_index("seed")
            for name in ("clean", "polluted")
        }
        for (budget, remedy), part in cell.groupby(["budget", "remedy"], sort=False):
            for name in MEASURES:
                clean, polluted = whole["clean"][name], whole["polluted"][name]
                line = [task, f"{noise:.0%}", budget, remedy, name]
                line += [float(clean.mean()), float(polluted.mean())]
                edited = part.pivot(index="seed", columns="picks", values=name)
                for picks in PICKERS:
                    share = recovered(edited[picks], polluted, clean, name)
                    line.append(None if share is None else interval(share))
                lines.append(line)
    return lines


def pairs(data):
    """Return differences between picks, pooled over tasks that are `of` the same."""
    edited, lines = data[data.picks.notna()], []
    keys = ["of", "noise", "budget", "remedy"]
    for (of, noise, *rest), cell in edited.groupby(keys, sort=False):
        values = cell.pivot(index=["task", "seed"], columns="picks", values=MEASURES)
        for picks, against in COMPARED:
            found = [values[name][picks] - values[name][against] for name in MEASURES]
            line = [of, f"{noise:.0%}", *rest, picks, against]
            lines.append([*line, *map(interval, found), len(values)])
    return lines


def precisions(data):
    """Return a line a task, noise and budget."""
    data = data[data.picks.notna()]
    lines = []
    for key, cell in data.groupby(["task", "noise", "budget"], sort=False):
        task, noise, budget = key
        means = cell.groupby("picks")["wrong of picked"].mean()
        lines.append([task, f"{noise:.0%}", budget, *means[list(PICKERS)].tolist()])
    return lines


def beside_retrained(data):
    """Return a line a task and remedy: the worst of all edits."""
    lines = []
    data = data[data["same predictions"].notna()]
    for (task, remedy), cell in data.groupby(["task", "remedy"], sort=False):
        worst = [float(cell[f"{name} to retrained"].max()) for name in OF_LABEL]
        same = float(cell["same predictions"].min())
        lines.append([task, remedy, len(cell), *worst, same])
        lines[-1].append(float(cell["heads from zero"].mean()))
    return lines


# --- Steps ----------------------------------------------------------------------------


def steps(options):
    """Measure label and concepts after k changes of labels, annotations, weights."""
    data = pd.DataFrame(
        record
        for task, seed in product(options.tasks, range(options.seeds))
        for record in measure_steps(task, RATE, seed)
    )
    write_table(
        "clif_steps",
        "Label and concepts after k changes without retraining",
        ["task", "changes", "measure", "clean", "planted"]
        + [f"after {k}" for k in STEPS]
        + [AS_PLANTED, "recovered"],
        step_lines(data),
        [
            f"{RATE:.0%} of labels and annotations wrong. Changes are the first k by "
            f"'{OURS}', and as many as items of the kind are wrong (as planted). "
            "Labels and annotations get their true value where they are wrong; weights "
            "of rows, and of single annotations, become 0. Means over "
            f"{options.seeds} seeds; log-loss in nats; of concepts, means over "
            "concepts. Recovered, of as planted: (after - planted) / (clean - "
            "planted); - where the 95 % t interval of the harm that noise did is not "
            "above 0.",
        ],
        options=options,
    )


def step_lines(data):
    """Return a line a task, kind of change, and measure."""
    lines = []
    for task, cell in data.groupby("task", sort=False):
        whole = cell[cell.changes.isna()].set_index(["after", "seed"])
        changed = cell[cell.changes.notna()]
        for changes, part in changed.groupby("changes", sort=False):
            for name in MEASURES:
                clean, planted = whole[name]["clean"], whole[name]["planted"]
                after = part.pivot(index="seed", columns="after", values=name)
                share = recovered(after[AS_PLANTED], planted, clean, name)
                line = [task, changes, name, float(clean.mean()), float(planted.mean())]
                line += [float(after[k].mean()) for k in (*STEPS, AS_PLANTED)]
                lines.append([*line, None if share is None else interval(share)])
    return lines


# --- Concepts -------------------------------------------------------------------------


def concepts(options):
    """Rank concepts by four meanings of their influence, change the top and bottom."""
    data = pd.DataFrame(
        record
        for task, seed in product(options.tasks, range(options.seeds))
        for record in measure_concepts(task, seed)
    )
    columns = [f"{name}: {place}" for name in MOVED for place in ("top", "bottom")]
    write_table(
        "clif_concepts",
        "Concepts ranked by four meanings of their influence",
        ["task", "meaning", "top", "bottom", "set to", *columns]
        + [f"{name}: top - bottom" for name in MOVED],
        moved(data),
        [
            "Ranked on the development part, changed on the test part. Shares of "
            "predictions that change, and how much higher the log-loss is (nats). "
            f"Means over {options.seeds} seeds, of which each draws 80 % of the "
            "training rows; 95 % t intervals of paired differences over them. Behind a "
            "concept stands how many seeds put it there, if not all.",
        ],
        options=options,
    )


def moved(data):
    """Return a line a task, meaning and change."""
    lines = []
    keys = ["task", "meaning", "change"]
    for (task, meaning, change), cell in data.groupby(keys, sort=False):
        places = cell.pivot(index="seed", columns="place", values=["concept", *MOVED])
        named = [_most(places["concept"][place]) for place in ("top", "bottom")]
        values = {name: places[name].astype(float) for name in MOVED}
        line = [task, meaning, *named, change]
        for name in MOVED:
            line += [float(values[name][place].mean()) for place in ("top", "bottom")]
        for name in MOVED:
            line.append(interval(values[name]["top"] - values[name]["bottom"]))
        lines.append(line)
    return lines


def _most(names):
    """Return the most frequent name, and how often it is there."""
    counts = names.value_counts()
    name, count = counts.index[0], int(counts.iloc[0])
    return str(name) if count == len(names) else f"{name} ({count} of {len(names)})"


# --- Root causes ----------------------------------------------------------------------


def causes(options):
    """Plant one systematic cause and rank all groups and paths."""
    columns = ["task", "background", "cause", "seed", "score"]
    columns += ["planted", "wrong items", "rank", "candidates", "first"]
    plan = product(options.tasks, options.backgrounds)
    data = pd.DataFrame(
        [
            record
            for task, background in plan
            for record in root_causes(task, background, range(options.cause_seeds))
        ],
        columns=columns,
    )
    data["background"] = data["background"].map("{:.0%}".format)
    notes = [
        f"{options.cause_seeds} seeds. {N_GROUPS} annotators; {N_GROUPS} words, and "
        "the rows that have none of them. Background: other items that are wrong by "
        "accident. Influence to first order.",
    ]
    write_table(
        "clif_causes",
        "The place of the true group and path among all",
        ["task", "background", "cause", "score", "top 1", "median rank", "worst rank"]
        + ["candidates"],
        places(data),
        notes,
        options=options,
    )
    misses = data[(data["rank"] > 1) & (data.score != "harm to the label")]
    write_table(
        "clif_cause_misses",
        "Causes that did not come first",
        columns,
        misses.to_numpy(object).tolist(),
        [*notes, "By 'harm to itself' and 'own loss'; the other one misses more."],
        options=options,
    )


def places(data):
    """Return a line a task, background, cause and score."""
    lines = []
    keys = ["task", "background", "cause", "score"]
    for key, cell in data.groupby(keys, sort=False):
        rank = cell["rank"]
        line = [*key, f"{(rank == 1).sum()} of {len(rank)}", float(rank.median())]
        lines.append([*line, int(rank.max()), int(cell["candidates"].max())])
    return lines


# --- Drift ----------------------------------------------------------------------------


def drift(options):
    """Let one of two sources mean the opposite by one concept; find and mend it."""
    data = pd.DataFrame(
        record
        for seed in range(options.seeds)
        for record in measure_drift(options.sources, seed)
    )
    notes = [
        f"{options.seeds} seeds, of which each draws 80 % of the training rows of both "
        f"sources together. Mended is what comes first by '{FOUND_BY}', also where it "
        "is not what was flipped. Measured on both test parts together.",
    ]
    scores = [FOUND_BY, *SCORES]
    write_table(
        "clif_drift_places",
        "The flipped source and concept among all sources and paths: top 1",
        ["source", "concept", "flipped items", *scores, "others that came first"],
        drift_places(data, scores),
        [f"{2 * 5} candidates.", *notes],
        options=options,
    )
    states = ["clean", "drifted", "mended"]
    write_table(
        "clif_drift",
        "A source that means the opposite by one concept, before and after",
        ["source", "concept", "measure", "of", *states, "recovered"],
        drift_measures(data, states),
        [
            "Log-loss in nats. Recovered: (mended - drifted) / (clean - drifted).",
            *notes,
        ],
        options=options,
    )


def drift_places(data, scores):
    """Return a line a source and concept."""
    lines = []
    for (source, concept), cell in data.groupby(["source", "concept"], sort=False):
        hits = [(cell[f"rank by {name}"] == 1).sum() for name in scores]
        found = [f"{n} of {len(cell)}" for n in hits]
        others = sorted(set(cell.found) - {f"{source} x {concept}"})
        flipped = float(cell.flipped.mean())
        lines.append([source, concept, flipped, *found, ", ".join(others) or None])
    return lines


def drift_measures(data, states):
    """Return a line a source, concept, measure, and what it is of."""
    lines = []
    for (source, concept), cell in data.groupby(["source", "concept"], sort=False):
        for of, name in product(("label", "concept"), OF_LABEL):
            clean, drifted, mended = (cell[f"{of} {name} {state}"] for state in states)
            means = [float(one.mean()) for one in (clean, drifted, mended)]
            share = recovered(mended, drifted, clean, name)
            share = None if share is None else float(share.mean())
            lines.append([source, concept, name, of, *means, share])
    return lines


ARMS = {
    "samples": samples,
    "steps": steps,
    "concepts": concepts,
    "causes": causes,
    "drift": drift,
}


def main(argv=None):
    parser = BenchmarkParser("clif", __doc__, **SMALL)
    parser.add_argument("--arm", choices=ARMS, action="append", help="else all of them")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--cause-seeds", type=int, default=10)
    parser.add_argument(
        "--tasks",
        nargs="+",
        default=TASKS,
        metavar="TASK",
        help="or files, for all arms but drift",
    )
    parser.set_defaults(budgets=BUDGETS, sources=SOURCES, backgrounds=BACKGROUNDS)
    options = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for arm in options.arm or ARMS:
        ARMS[arm](options)


if __name__ == "__main__":
    main()
