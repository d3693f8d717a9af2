"""How often an audit is right about what failed in a mistake.

Values of held-out rows are replaced on purpose, and an audit says of each mistake which
stage failed. How many of the labels that it calls doubtful are wrong, and how many of
the wrong ones that became mistakes are so called? How often is "concept misread" an
annotation that is wrong?

    python -m benchmarks.failures [--seeds 3]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from skclif._audit.corrections import (
    DOUBTFUL,
    LABEL_HEAD,
    LEAST,
    MISREAD,
    correct,
    what_failed,
)
from skclif._audit.models import fit_models
from skclif._audit.rows import Reviews

from .advice import parts_of
from .noise import pollute
from .results import BenchmarkParser, write_table

MADE_UP = "reviews"
TASKS = ["cebab-published", "yelp", MADE_UP]
RATE = 0.1
# How labels are replaced, and whether those of the training rows are, too.
SETTINGS = [("uniform", False), ("uniform", True), ("adjacent", False)]
THRESHOLDS = [0.05, 0.1, 0.15, 0.2, 0.3]
STAGES = [DOUBTFUL, LABEL_HEAD, MISREAD]
COLUMNS = ["task", "labels replaced by", "in", "mistakes", "with a planted label"]
COLUMNS += ["called doubtful", "of them planted"]
COLUMNS += [f"planted: {stage}" for stage in STAGES]
THRESHOLD_COLUMNS = ["less than", "labels replaced by", "in", "called doubtful"]
THRESHOLD_COLUMNS += ["of them planted", "planted: called so", "F1"]
MISREAD_COLUMNS = ["task", "mistakes", "right with all annotations"]
MISREAD_COLUMNS += ["of them, nothing misread", "concept misread"]
MISREAD_COLUMNS += ["of them, right once mended", "one mended concept is enough"]
MISREAD_COLUMNS += ["planted", "concept misread: planted"]
MISREAD_COLUMNS += ["concept misread: by the planted one"]


@dataclass(frozen=True)
class Said:
    """What an audit says of held-out rows, whatever their labels are."""

    classes: np.ndarray
    proba: np.ndarray
    corrected: np.ndarray
    mended: np.ndarray
    gold: np.ndarray
    if_corrected: pd.DataFrame

    @classmethod
    def of(cls, models, rows):
        """Return what fitted models say."""
        model = models.model
        corrected, mended, if_corrected = correct(model, rows, {})
        return cls(
            model.classes_,
            model.predict_proba(rows.features),
            corrected,
            mended,
            models.gold.predict_proba(rows),
            if_corrected,
        )

    def failed(self, labels, least=LEAST):
        """Return the stage that failed, None where the label is right."""
        every = self.proba, self.corrected, self.mended, self.gold
        failed = what_failed(labels, self.classes, *every, least=least)
        return np.array(failed, dtype=object)


def reviews_of(part, labels=None, concepts=None):
    """Return rows as an audit takes them."""
    y = part.y if labels is None else labels
    concepts = part.concepts if concepts is None else concepts
    rows = Reviews.from_parts(range(len(y)), list(part.texts), y, concepts)
    return rows.embedded(part.X.astype(np.float32))


def models_of(task, kind, seed):
    """Return models, fitted as the audit does, and the parts that they do not know.

    A `kind` of noise is that of the training labels.
    """
    train, *others = parts_of(task, seed)
    rng = np.random.default_rng([seed, 2])
    labels = pollute(train.y, kind, RATE, rng) if kind else train.y
    models = fit_models(reviews_of(train, labels), C="auto", concept_C="auto")
    return models, others


def label_draws(said, part, kind, rng, n_draws):
    """Yield labels of which some are replaced, and which these are."""
    for _ in range(n_draws):
        labels = pollute(part.y, kind, RATE, rng)
        yield said, labels, labels != part.y


def judged(draws, least):
    """Return what the calls are worth, over draws of wrong labels."""
    stages, planted = [], []
    for said, labels, wrong in draws:
        failed = said.failed(labels, least)
        is_mistake = failed != None  # noqa: E711
        stages.append(failed[is_mistake])
        planted.append(wrong[is_mistake])
    stages, wrong = np.concatenate(stages), np.concatenate(planted)
    called = stages == DOUBTFUL
    return {
        "mistakes": len(stages) / len(planted),
        "base": share(wrong),
        "called": share(called),
        "precision": share(wrong[called]),
        **{stage: share(stages[wrong] == stage) for stage in STAGES},
    }


def share(hits):
    """Return the share of True, NaN of nothing."""
    return float(np.mean(hits)) if len(hits) else np.nan


def misread(models, part, rng, n_draws):
    """Return what "concept misread" is worth, and with some annotations wrong."""
    known = Said.of(models, reviews_of(part))
    before = known.failed(part.y)
    codes = np.searchsorted(known.classes, part.y)
    is_mistake = before != None  # noqa: E711
    is_misread = before == MISREAD
    by_all = is_mistake & (known.corrected.argmax(axis=1) == codes)
    differs = known.if_corrected.notna().any(axis=1).to_numpy()
    alone = known.if_corrected.eq(part.y, axis=0).any(axis=1).to_numpy()
    found = {
        "mistakes": float(is_mistake.sum()),
        "by all": share(by_all[is_mistake]),
        "nothing": share(~differs[by_all]),
        "misread": share(is_misread[is_mistake]),
        "right": share(known.mended.argmax(axis=1)[is_misread] == codes[is_misread]),
        "alone": share(alone[is_misread]),
    }
    draws = []
    for _ in range(n_draws):
        concepts, wrong = one_replaced(part.concepts, rng)
        after = Said.of(models, reviews_of(part, concepts=concepts))
        called = after.failed(part.y) == MISREAD
        draws.append(
            {
                "planted": share(wrong[is_mistake]),
                "of them": share(wrong[called]),
                "through": share((wrong & (before != MISREAD))[called]),
            }
        )
    return found | dict(pd.DataFrame(draws).mean())


def one_replaced(concepts, rng):
    """Return annotations of which one is replaced in a share of rows, and these."""
    concepts = concepts.astype(object).copy()
    wrong = np.zeros(len(concepts), dtype=bool)
    values = {name: column.dropna().unique() for name, column in concepts.items()}
    for row in np.flatnonzero(rng.random(len(concepts)) < RATE):
        given = np.flatnonzero(concepts.iloc[row].notna())
        if not len(given):
            continue
        column = rng.choice(given)
        now = concepts.iat[row, column]
        others = [v for v in values[concepts.columns[column]] if v != now]
        concepts.iat[row, column] = rng.choice(np.array(others, dtype=object))
        wrong[row] = True
    return concepts, wrong


def measure(task, n_seeds, n_draws):
    """Return what is found for a task: at `LEAST`, at all thresholds, of annotations.

    Thresholds are judged on the development part, all else on the test part.
    """
    # The rows of real tasks are the same with every seed.
    right = [models_of(task, None, s) for s in range(n_seeds if task == MADE_UP else 1)]
    noisy = [models_of(task, "uniform", seed) for seed in range(n_seeds)]
    rng = np.random.default_rng(3)
    lines, by_threshold = {}, {}
    for kind, in_training in SETTINGS:
        draws = {"dev": [], "test": []}
        for models, parts in noisy if in_training else right:
            for part, some in zip(parts, draws.values(), strict=True):
                said = Said.of(models, reviews_of(part))
                some += label_draws(said, part, kind, rng, n_draws)
        setting = kind, "both parts" if in_training else "held-out"
        lines[setting] = judged(draws["test"], LEAST)
        for least in THRESHOLDS:
            by_threshold[least, *setting] = judged(draws["dev"], least)
    of_annotations = [
        misread(models, test, rng, n_draws) for models, (_, test) in right
    ]
    return lines, by_threshold, dict(pd.DataFrame(of_annotations).mean())


def shown(found):
    """Return the numbers of a line, None where there is none."""
    return [float(v) if np.isfinite(v) else None for v in found.values()]


def pooled(by_threshold):
    """Return the lines of all thresholds, means over tasks."""
    lines = []
    for setting in by_threshold[0]:
        found = pd.DataFrame([one[setting] for one in by_threshold]).mean()
        precision, recall = found["precision"], found[DOUBTFUL]
        f1 = 2 * precision * recall / (precision + recall)
        values = {"called": found["called"], "true": precision, "found": recall}
        least, *names = setting
        lines.append([f"{least:.0%}", *names, *shown(values | {"f1": f1})])
    return lines


def main(argv=None):
    parser = BenchmarkParser("failures", __doc__, seeds=1, draws=2, tasks=["generated"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=20, help="of errors, for a model")
    parser.set_defaults(tasks=TASKS)
    options = parser.parse_args(argv)
    lines, misreads, by_threshold = [], [], []
    for task in options.tasks:
        found, of_thresholds, of_annotations = measure(
            task, options.seeds, options.draws
        )
        lines += [[task, *names, *shown(line)] for names, line in found.items()]
        misreads.append([task, *shown(of_annotations)])
        by_threshold.append(of_thresholds)
        write_tables(lines, misreads, by_threshold, options)


def write_tables(lines, misreads, by_threshold, options):
    """Write what was measured so far."""
    how = (
        f"Models are fitted as skclif audit does. Labels of {RATE:.0%} of the held-out "
        "rows are replaced: by any other (uniform) or by a neighbour (adjacent); "
        "both parts: those of the training rows too. "
        f"{options.draws} draws for each of {options.seeds} models, or for one where "
        "the training rows are right and real. reviews are skclif's generated reviews."
    )
    write_table(
        "failures",
        "What failed in a mistake: wrong labels",
        COLUMNS,
        lines,
        [
            how,
            "mistakes: held-out rows that are not predicted as labelled, mean of the "
            "draws; with a planted label: share of them, which is how often a call at "
            "random would be right; of them planted: how often a label that is called "
            "doubtful was replaced; planted: what the replaced labels among the "
            "mistakes are called. Labels of real data that were wrong before count as "
            "right.",
            f"A label is doubtful below {LEAST:.0%}. The test part.",
        ],
        options=options,
    )
    write_table(
        "failures_thresholds",
        "Below which probability a label is called doubtful",
        THRESHOLD_COLUMNS,
        pooled(by_threshold),
        [
            how,
            "Means over tasks, on the development part, which has no part in the other "
            "tables. F1 is the harmonic mean of the two shares before it. "
            f"skclif takes {LEAST:.0%}.",
        ],
        options=options,
    )
    write_table(
        "failures_misread",
        "What failed in a mistake: misread concepts",
        MISREAD_COLUMNS,
        misreads,
        [
            "Right labels, test part. Shares of mistakes: right with all annotations, "
            "and of these, with no concept that was misread; called concept misread, "
            "and of these, right once what was misread is corrected (that is what the "
            "call says), and with one concept alone corrected.",
            f"Then one annotation is replaced in {RATE:.0%} of the rows. planted: "
            "share of mistakes with such an annotation; concept misread: share of "
            '"concept misread" with one; by the planted one: those that are not so '
            "called with "
            "the right annotation.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
