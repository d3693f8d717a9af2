"""Whether drift reports name what moved: planted drift, no drift, and patients' words.

Training rows and three batches of new rows are drawn at random from one set of rows. In
one batch drift of one kind is planted in one concept, or nothing is planted anywhere.
Then the drift of real comments of patients is described, and what each remedy does.

    python -m benchmarks.drift [--seeds 20] [--splits 100] [--arm planted] [--resume]

Measures go to ``.cache/drift.jsonl`` as they come; ``--resume`` keeps those that are
there.
"""

import json
import os
import warnings
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    drift_report,
)

from ._drift_nhs import MODELS, by_theme, measure, polarity
from ._drift_plants import (
    FEWEST,
    KINDS,
    LEAST_COST,
    NAMELESS,
    RATE,
    SETS,
    TILT,
    WEAK,
    WEAKEST_COST,
    Meaning,
    choose_like,
    corrupt,
    eligible,
    read_rows,
    reverse_meaning,
    score_of_texts,
    spoken,
    stack,
)
from .results import BenchmarkParser, write_table

SMALL = {
    "seeds": 1,
    "splits": 1,
    "sets": ["generated"],
    "train": 200,
    "batch": 80,
    "n_permutations": 99,
}
BATCHES = ("A", "B", "C")  # of new rows; the drift is in B
DRIFTED = "B"
OTHER_ALPHA = 0.05  # besides the default, which is stricter
_STORE = Path(__file__).parent.parent / ".cache" / "drift.jsonl"


# --- Reports --------------------------------------------------------------------------


def explain(rows):
    """Return a fitted explainer of rows."""
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(), method="first_order"
    )
    return explainer.fit(rows.X, rows.y, concepts=rows.concepts)


def drawn(n_rows, rng, options):
    """Return which rows are trained on, which are in each batch, and which are left."""
    order = rng.permutation(n_rows)
    ends = options.train + options.batch * np.arange(len(BATCHES) + 1)
    train, *batches, rest = np.split(order, ends)
    return train, dict(zip(BATCHES, batches, strict=True)), rest


def plant(rows, meaning, clf, batches, rest, kind, concept, rng):
    """Return rows of the batches, with drift of one kind in one of them."""
    parts = {name: rows.take(at) for name, at in batches.items()}
    if kind == "inputs":
        pool = np.concatenate([batches[DRIFTED], rest])  # rows of no other batch
        value = rng.choice(np.array(spoken(rows, concept), dtype=object))
        scores = score_of_texts(clf, rows.X[pool], concept, value)
        parts[DRIFTED] = rows.take(
            pool[choose_like(scores, len(batches[DRIFTED]), rng)]
        )
    elif kind == "concept":
        parts[DRIFTED] = corrupt(parts[DRIFTED], concept, rng)
    elif kind == "meaning":
        at = batches[DRIFTED]
        parts[DRIFTED] = reverse_meaning(parts[DRIFTED], meaning, at, concept, rng)
    return parts


def report_on(explainer, parts, seed, options):
    """Return the frame of a drift report on batches, and its seconds."""
    new = stack(list(parts.values()))
    groups = np.repeat(list(parts), [len(part) for part in parts.values()])
    begun = process_time()
    report = drift_report(
        explainer,
        new.X,
        new.y,
        concepts_new=new.concepts,
        groups=groups,
        n_permutations=options.n_permutations,
        random_state=seed,
    )
    return report.frame, process_time() - begun


def judge(frame, kind, concept):
    """Return what the frame of a report says first, and whether it is what was planted.

    Tests of all concepts together and of the features name none, and are passed over.
    """
    elsewhere = frame["found"] & (frame["group"] != DRIFTED)
    frame = frame[~frame["concept"].isin(NAMELESS)]
    first = frame.iloc[0]
    own = frame[frame["part"] == kind].iloc[0]
    truth = {"part": kind, "group": DRIFTED, "concept": concept}
    cell = frame[
        np.logical_and.reduce([frame[name] == what for name, what in truth.items()])
    ]
    found = frame[frame["found"]]
    others = found[(found["part"] != kind) | (found["concept"] != concept)]
    return {
        "right": bool(first["found"] and all(first[k] == v for k, v in truth.items())),
        "first of its part": bool(
            own["found"] and own["concept"] == concept and own["group"] == DRIFTED
        ),
        "found": bool(cell["found"].any()),
        "effect": None if cell["effect"].isna().all() else float(cell["effect"].max()),
        "others": len(others),
        "elsewhere": int(elsewhere.sum()),
        "first": _named(first) if first["found"] else "nothing",
    }


def _named(line):
    return f"{line['part']}, {line['concept']}, {line['group']}"


# --- What is measured -----------------------------------------------------------------


def measure_planted(name, options, done):
    """Yield a key and a record for every seed and kind."""
    rows = read_rows(name)
    meaning = Meaning(rows)
    concepts = {what: names for what, names in eligible(rows, meaning).items() if names}
    for seed in range(options.seeds):
        keys = {what: ["planted", name, what, seed] for what in concepts}
        keys = {w: key for w, key in keys.items() if json.dumps(key) not in done}
        if not keys:
            continue
        rng = np.random.default_rng(seed)
        train, batches, rest = drawn(len(rows), rng, options)
        explainer = explain(rows.take(train))
        clf = explainer.estimator_
        for what, key in keys.items():
            kind = what.partition(",")[0]
            concept = concepts[what][seed % len(concepts[what])]
            own = np.random.default_rng([seed, KINDS.index(kind)])
            parts = plant(rows, meaning, clf, batches, rest, kind, concept, own)
            frame, seconds = report_on(explainer, parts, seed, options)
            found = judge(frame, kind, concept)
            yield key, {"concept": concept, **found, "seconds": seconds}


def measure_nothing(name, options, done):
    """Yield a key and a record for every random split without drift."""
    rows = None
    for seed in range(options.splits * (2 if name == "generated" else 1)):
        key = ["nothing", name, seed]
        if json.dumps(key) in done:
            continue
        rows = read_rows(name) if rows is None else rows
        rng = np.random.default_rng([seed, 1])
        train, batches, _ = drawn(len(rows), rng, options)
        explainer = explain(rows.take(train))
        parts = {name: rows.take(at) for name, at in batches.items()}
        frame, seconds = report_on(explainer, parts, seed, options)
        found = frame[frame["found"]]
        counts = {kind: int((found["part"] == kind).sum()) for kind in KINDS}
        told = {"tests": len(frame), "least q": float(frame["q_value"].min())}
        yield key, {**counts, **told, "seconds": seconds}


def run(measured, store):
    """Write records as they come."""
    for key, record in measured:
        with store.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, record]) + "\n")
        print(*key, record, flush=True)


def stored(store, arm=None):
    """Return keys and records of an arm."""
    if not store.exists():
        return []
    records = [json.loads(one) for one in store.read_text("utf-8").splitlines()]
    return [(key, record) for key, record in records if arm in (None, key[0])]


def forget(store, arms):
    """Leave out what was measured of some arms."""
    kept = [record for record in stored(store) if record[0][0] not in arms]
    store.write_text("".join(json.dumps(record) + "\n" for record in kept), "utf-8")


# --- Tables ---------------------------------------------------------------------------


def write_planted(store, options):
    """Write how often what was planted comes first, and what came first otherwise."""
    data = pd.DataFrame(
        {"set": name, "kind": kind, "seed": seed, **record}
        for (_, name, kind, seed), record in stored(store, "planted")
    )
    is_weak = data["kind"] == WEAK
    columns = ["rows of", "what drifted", "concepts", "reports", "first"]
    columns += ["first of its part", "found", "others"]
    columns += ["with findings in other batches", "seconds"]
    notes = [
        f"{options.train:,} rows to train and three batches of {options.batch}, drawn "
        f"at random from all rows of the set; drift in one batch, of one concept. "
        f"{options.seeds} seeds; the concept changes with the seed.",
        "First: the first row of the report that names a concept is a finding, and has "
        "the right part, concept and batch. Found: it is among the findings. Others: "
        "findings of another part or concept, the mean; corrupted annotations do tell "
        "less of the label, too, and texts that sound like one concept also sound like "
        "those that go with it.",
    ]
    write_table(
        "drift",
        "Planted drift: how often the report names it first",
        columns,
        counted(data[~is_weak]),
        [
            notes[0],
            "inputs: texts that sound like one value of the concept come more often, "
            f"so that its log-odds move by {TILT:g} standard deviations; they are "
            f"chosen by the text alone. concept: {RATE:.0%} of its annotations become "
            "any other value. meaning: where it says something, its terms in a model "
            "of the label, given annotations, change their sign, and as few labels "
            "change as that needs.",
            "Concepts: those whose second most frequent value is in at least "
            f"{FEWEST:.0%} of the rows; for meaning, those of which the reversal costs "
            f"at least {LEAST_COST:g} nats a row by that model.",
            notes[1],
        ],
        options=options,
    )
    write_table(
        "drift_weak",
        "Planted drift of which little can be seen",
        columns,
        counted(data[is_weak]),
        [
            f"Meanings of which the reversal costs {WEAKEST_COST:g} to {LEAST_COST:g} "
            "nats a row. Otherwise as in the other table."
        ],
        options=options,
    )
    misses = data[~data["right"]]
    misses = misses.assign(found=misses["found"].map({True: "yes", False: "no"}))
    columns = ["set", "kind", "concept", "seed", "first", "found", "effect"]
    write_table(
        "drift_misses",
        "Planted drift that did not come first",
        ["rows of", "what drifted", "concept", "seed", "what came first", "found"]
        + ["effect of what was planted"],
        misses[columns].to_numpy(object).tolist(),
        notes[:1],
        options=options,
    )


def counted(data):
    """Return a line for each set and kind."""
    lines = []
    for (name, kind), cell in data.groupby(["set", "kind"], sort=False):
        lines.append(
            [
                *(name, kind, cell["concept"].nunique(), len(cell)),
                float(cell["right"].mean()),
                *(int(cell[what].sum()) for what in ("first of its part", "found")),
                float(cell["others"].mean()),
                *(int(cell["elsewhere"].gt(0).sum()), float(cell["seconds"].median())),
            ]
        )
    return lines


def write_nothing(store, options):
    """Write how often there is a finding where nothing drifts."""
    data = pd.DataFrame(
        {"set": name, **record} for (_, name, _), record in stored(store, "nothing")
    )
    lines = []
    for name, cell in [*data.groupby("set", sort=False), ("all of them", data)]:
        n = int(cell[list(KINDS)].sum(axis=1).gt(0).sum())
        ends = binomtest(n, len(cell)).proportion_ci()
        share = [n / len(cell), float(ends.low), float(ends.high)]
        of_parts = [int(cell[kind].gt(0).sum()) for kind in KINDS]
        lenient = int((cell["least q"] <= OTHER_ALPHA).sum())
        lines.append(
            [
                *(name, len(cell), float(cell["tests"].median()), n, *share),
                *(lenient, *of_parts),
            ]
        )
    write_table(
        "drift_false_alarms",
        "Reports with a finding where nothing drifted",
        ["rows of", "reports", "tests in each", "with any finding", "share", "low"]
        + ["high", f"at alpha={OTHER_ALPHA:g}"]
        + [f"with findings of {kind}" for kind in KINDS],
        lines,
        [
            f"Random splits: {options.train:,} rows to train, three batches of "
            f"{options.batch}. The share with its exact 95 % interval."
        ],
        options=options,
    )


def write_comments(lines, tests, options):
    """Write what reports say of the comments of patients."""
    write_table(
        "drift_nhs",
        "Comments of patients: what a report says moved",
        ["case", "trained on", "new group", "training rows", "new rows", *KINDS],
        [
            [
                *(line["case"], line["trained on"], line["group"]),
                *(line["training rows"], line["new rows"]),
                *(line[kind] for kind in KINDS),
            ]
            for line in lines
        ],
        [
            "Themes with a finding, of those that are tested, and the first of them. A "
            "theme that no training row has is left out."
        ],
        options=options,
    )
    models = [f"{name}{more}" for name in MODELS for more in ("", ", with rows of it")]
    write_table(
        "drift_nhs_losses",
        "Comments of patients: what drift costs, and whom",
        ["case", "new group", *models],
        [
            [line["case"], line["group"], *(line[model] for model in models)]
            for line in lines
        ],
        [
            "Log-loss of the label on the rows of the group, nats, lower is better: of "
            "models that are fitted to the training rows alone, and of models that are "
            "also fitted to one half of these rows, judged by the other half. True "
            "themes: the label from the themes that people saw. Black box: the label "
            "from the text, past all themes."
        ],
        options=options,
    )
    names, themes = by_theme(tests)
    write_table(
        "drift_nhs_themes",
        "Comments of patients: the effect of every finding",
        ["what moved", "theme", *names],
        themes,
        [
            "inputs: the area under the ROC curve with which the theme's activation "
            "tells new rows from training rows; .5 is not at all. concept and meaning: "
            "what the group's own terms would win, nats a row. Empty: no finding. "
            "Labels, whatever the themes: they are more or less frequent than the "
            "themes explain.",
        ],
        options=options,
    )


def write_polarity(groups, lines, options):
    """Write what themes mean where, without any model."""
    write_table(
        "drift_nhs_polarity",
        "Comments of patients: how many with a theme are positive",
        ["theme", *groups],
        lines,
        [
            "Share of the comments in which people saw the theme, by question and "
            "trust; empty where there are fewer than twenty."
        ],
        options=options,
    )


def write_remedies(remedies, options):
    """Write what remedies do, on the half of the new rows that did not choose them."""
    tried = remedies.dropna(subset="change")
    columns = ["case", "group", "remedy", "of", "measure", "verdict", "n_changed"]
    columns += ["chosen", "change", "low", "high"]
    write_table(
        "drift_nhs_remedies",
        "Comments of patients: what remedies do",
        ["case", "new group", "remedy", "of", "measure", "verdict"]
        + ["changed rows or cells", "where chosen", "change", "low", "high"],
        tried[columns].to_numpy(object).tolist(),
        [
            "Changes of log-losses, nats, negative is better: on the half of the "
            "group's rows that chose the remedy, and on the other half, with its 95 % "
            f"bootstrap interval. {len(remedies) - len(tried)} more were not tried: "
            "no harmful value is probably wrong, or no group of training rows harms."
        ],
        options=options,
    )


# --- The command ----------------------------------------------------------------------


def planted(options, store, done):
    """Plant drift and look at what reports say first."""
    for name in options.sets:
        run(measure_planted(name, options, done), store)
    write_planted(store, options)


def nothing(options, store, done):
    """Count findings where nothing drifted."""
    for name in dict.fromkeys(["generated", *options.sets]):
        run(measure_nothing(name, options, done), store)
    write_nothing(store, options)


def comments(options, store, done):
    """Describe how the comments of patients drift."""
    lines, tests, remedies = measure(explain, options)
    write_comments(lines, tests, options)
    write_remedies(remedies, options)
    write_polarity(*polarity(options), options)


ARMS = {"comments": comments, "planted": planted, "nothing": nothing}


def main(argv=None):
    parser = BenchmarkParser("drift", __doc__, **SMALL)
    parser.add_argument("--arm", choices=ARMS, action="append", help="else all of them")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--splits", type=int, default=100, help="of each set; twice of generated rows"
    )
    parser.add_argument("--train", type=int, default=1500, help="rows")
    parser.add_argument("--batch", type=int, default=500, help="rows of each batch")
    parser.add_argument("--resume", action="store_true")
    parser.set_defaults(sets=list(SETS), n_permutations=999)
    options = parser.parse_args(argv)
    store = options.out / "drift.jsonl" if options.small else _STORE
    store.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    if not options.resume:
        forget(store, options.arm or list(ARMS))
    done = {json.dumps(key) for key, _ in stored(store)}
    for arm in options.arm or ARMS:
        ARMS[arm](options, store, done)


if __name__ == "__main__":
    main()
