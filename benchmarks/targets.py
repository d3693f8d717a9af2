"""Influence on targets of a whole set of rows, beside retraining without rows.

Thirty training rows are left out, one at a time, and both stages are fitted again: half
are those of the largest influence on any of the targets, by leverage, and half are
random. The targets are those of `skclif.targets`, and three functions that are not in
the library: the focal loss and a quantile, which torch differentiates, and a
calibration error of NumPy arrays, which is only evaluated.

The second table asks whether what is said of suggested edits is true: lists for a
target are chosen on validation rows, carried out, and measured on many other rows of
made-up data.

    python -m benchmarks.targets [--rows 30] [--draws 40]
"""

import warnings

import numpy as np
import torch

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._explain.requests import class_codes, numeric_targets
from skclif._results.validation import Agreement, resolution
from skclif.datasets import fetch_cebab, fetch_patient_feedback
from skclif.targets import (
    demographic_parity_gap,
    equalized_odds_gap,
    expected_cost,
    from_function,
    smooth_auroc,
    worst_group_loss,
)

from .coverage import flipped, generated
from .results import BenchmarkParser, write_table
from .tasks import load_task

TASKS = ["cebab-masked", "nhs"]
SMALL = {"tasks": ["generated"], "rows": 4, "asked": 40, "draws": 1}
METHODS = ["newton", "leverage", "first_order"]
COLUMNS = [
    *("task", "rows asked about", "target", "method"),
    *("value", "relative error", "Spearman", "sign agreement"),
]
ADVICE = ["target", "validation rows", "said", "true", "covers", "helps", "wrongly"]
N_TRAIN, N_TRUTH = 200, 4000
N_VALIDATION = [100, 300]
_BINS = 10
NOTES = [
    "Effects of the presence of single training rows on one number of all rows asked "
    "about, which are random rows of the test part. Relative error: norm of the "
    "difference over the norm of the effects by retraining. Sign agreement: share of "
    "these effects, by size, whose sign is right.",
    "Groups: where the restaurant is (CEBaB), and the kind of service (NHS feedback), "
    "those with at least 20 of the rows. The cost of a class in place of another is "
    "their distance, and twice it if the predicted class is the better one. Quantile: "
    "the 0.1 quantile of the probability of the label. Calibration error: of the "
    "largest probability, ten bins of equal width; it jumps where a row changes its "
    "bin or its class.",
]


ADVICE_NOTES = [
    "Means over the draws. Said and true: the effect of a list on the target, after "
    "minus before, as suggest_edits says it and on 4,000 other rows. Covers: how often "
    "the true effect is in the 95 % interval. Helps: share of the lists of which the "
    "verdict is 'expected to help'. Wrongly: share of these that are harmful.",
    "200 training rows with two concepts. A fifth of the rows is of another group, and "
    "three in ten of their training labels are wrong, one in ten of the others. Lists "
    "of at most 20 changes of any kind.",
]


def focal_loss(proba, y):
    """Return the mean focal loss, with an exponent of 2."""
    own = proba[torch.arange(len(y)), y]
    return -((1 - own) ** 2 * torch.log(own)).mean()


def low_quantile(proba, y):
    """Return the 0.1 quantile of the probability of the label."""
    return torch.quantile(proba[torch.arange(len(y)), y], 0.1)


def calibration_error(proba, y):
    """Return the mean gap between the largest probability and how often it is right."""
    sure, right = proba.max(axis=1), proba.argmax(axis=1) == y
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = [abs((right[bins == b] - sure[bins == b]).sum()) for b in np.unique(bins)]
    return np.sum(gaps) / len(y)


def groups_of(task, n_rows):
    """Return the group of every row of the test part."""
    if task == "generated":
        return np.array(["one", "other"])[np.arange(n_rows) % 2]
    if task == "nhs":
        return fetch_patient_feedback("test").metadata["service"].to_numpy(str)
    return fetch_cebab("test").metadata["region"].to_numpy(str)


def rows_asked(groups, n_asked, rng):
    """Return random rows of groups that are not small."""
    rows = np.sort(rng.permutation(len(groups))[:n_asked])
    names, counts = np.unique(groups[rows], return_counts=True)
    return rows[np.isin(groups[rows], names[counts >= min(20, n_asked // 4)])]


def targets_of(groups, n_classes):
    """Return the targets by name."""
    apart = np.subtract.outer(np.arange(n_classes), np.arange(n_classes))
    return {
        "worst_group_loss": worst_group_loss(groups),
        "demographic_parity_gap": demographic_parity_gap(groups),
        "equalized_odds_gap": equalized_odds_gap(groups),
        "smooth_auroc": smooth_auroc(),
        "expected_cost": expected_cost(np.where(apart > 0, apart, -2 * apart)),
        "focal loss": from_function(focal_loss, with_y=True),
        "quantile": from_function(low_quantile, with_y=True),
        "calibration error": from_function(calibration_error, with_y=True),
    }


def influence(solved, method, questions, rows=None):
    """Return the influence of rows, (n_targets, n_rows)."""
    n_rows = len(solved.data) if rows is None else len(rows)
    values = np.empty((len(questions), n_rows))
    for answers, block, part in solved.blocks(
        method, questions, paths=False, rows=rows
    ):
        values[answers, block] = part.sum(axis=2)
    return values


def chosen(solved, questions, n_rows, rng):
    """Return rows: half those of the largest influence on any target, half random."""
    sizes = np.abs(influence(solved, "leverage", questions))
    share = (sizes / sizes.max(axis=1, keepdims=True)).max(axis=0)
    order = np.argsort(-share, kind="stable")
    top = order[: n_rows // 2]
    rest = rng.choice(order[len(top) :], n_rows - len(top), replace=False)
    return np.concatenate([top, rest])


def measure(task, n_rows, n_asked, seed=0):
    """Return a line for each target and method."""
    train, test = (load_task(task, part, 4) for part in ("train", "test"))
    rng, groups = np.random.default_rng(seed), groups_of(task, len(test.y))
    asked = rows_asked(groups, n_asked, rng)
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(train.X, train.y, concepts=train.concepts)
    solved, heads = explainer._solved_model(), explainer._heads()
    X, codes = test.X[asked], class_codes(heads.classes, test.X[asked], test.y[asked])
    named = targets_of(groups[asked], len(heads.classes))
    questions = []
    for target in named.values():
        about = numeric_targets(heads, target, codes, solved.device, X)
        questions += solved.questions(X, about, None)
    rows = chosen(solved, questions, n_rows, rng)
    truth = influence(solved, "retraining", questions, rows)
    least = resolution(truth)
    found = {}
    for method in METHODS:
        known = [
            t
            for t, question in enumerate(questions)
            if method != "first_order" or question.target.is_differentiable
        ]
        values = influence(solved, method, [questions[t] for t in known], rows)
        found[method] = dict(zip(known, values, strict=True))
    lines = []
    for t, name in enumerate(named):
        value = float(solved.values([questions[t]])[0])
        for method, values in found.items():
            if t not in values:
                continue
            one = Agreement(values[t][None], truth[t][None], least[t][None])
            scores = one.relative_error, one.spearman, one.sign_agreement
            lines.append([task, len(asked), name, method, value, *scores])
    return lines


def grouped(n_rows, rng):
    """Return rows whose labels follow two concepts, and their groups."""
    X, y, concepts = generated(n_rows, rng)
    return X, y, concepts, np.where(X[:, -1] > 0.85, "few", "many")


def problem(seed):
    """Return a model whose labels are wrong more often in one group."""
    rng = np.random.default_rng(seed)
    X, y, concepts, groups = grouped(N_TRAIN, rng)
    few = groups == "few"
    y = np.where(few, flipped(y, 0.3, rng), flipped(y, 0.1, rng))
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    return explainer.fit(X, y, concepts=concepts), rng


def advice(name, n_validation, draws):
    """Return what lists were said to do, and did."""
    make = {
        "worst_group_loss": worst_group_loss,
        "demographic_parity_gap": demographic_parity_gap,
        "equalized_odds_gap": equalized_odds_gap,
        "smooth_auroc": lambda groups: smooth_auroc(),
    }[name]
    found = []
    for seed in range(draws):
        explainer, rng = problem(seed)
        X, y, _, groups = grouped(n_validation, rng)
        X_new, y_new, _, others = grouped(N_TRUTH, rng)
        with warnings.catch_warnings(action="ignore"):
            said = explainer.suggest_edits(
                X, y, target=make(groups), budget=20, random_state=seed
            )
        true = 0.0  # if nothing helps, nothing is listed
        if said.n_chosen:
            record = explainer.edit(
                **said.as_edit(), X_val=X_new, y_val=y_new, target=make(others)
            ).record
            true = record.achieved_effect
        low, high = said.interval
        helps = said.verdict == "expected to help"
        harmful = true < 0 if said.higher_is_better else true > 0
        found.append([said.effect, true, low <= true <= high, helps, helps and harmful])
    said, true, covers, helps, wrong = np.mean(found, axis=0).tolist()
    wrongly = wrong / helps if helps else None
    return [name, n_validation, said, true, covers, helps, wrongly]


def main(argv=None):
    parser = BenchmarkParser("targets", __doc__, **SMALL)
    parser.add_argument("--rows", type=int, default=30)
    parser.add_argument("--draws", type=int, default=40)
    parser.set_defaults(tasks=TASKS, asked=400)
    options = parser.parse_args(argv)
    lines = []
    for task in options.tasks:
        lines += measure(task, options.rows, options.asked)
    write_table(
        "targets",
        "Influence on targets of sets, beside retraining",
        COLUMNS,
        lines,
        NOTES,
        options=options,
    )
    names, sizes = list(targets_of(None, 2))[:4], N_VALIDATION
    if options.draws == 1:
        names, sizes = names[:1], sizes[:1]
    write_table(
        "targets_advice",
        "Suggested edits for targets of sets: what is said, and what is true",
        ADVICE,
        [advice(name, n, options.draws) for name in names for n in sizes],
        ADVICE_NOTES,
        options=options,
    )


if __name__ == "__main__":
    main()
