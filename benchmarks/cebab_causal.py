"""Whether a bottleneck knows what a model would say of an edited text.

CEBaB has reviews, and edits of them in which people changed one aspect. What an edit
does to a model's probabilities (ICaCE) is compared with what explainers say of it, who
see only the text before. Pairs and distances are those of Abraham et al. (2022).

    python -m benchmarks.cebab_causal [--part test] [--seeds 5] [--draws 1000]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression

from skclif import ConceptBottleneckClassifier
from skclif.datasets import fetch_cebab
from skclif.metrics import (
    cace,
    counterfactual_pairs,
    estimate_icace,
    icace,
    icace_error,
    order_faithfulness,
)

from .results import BenchmarkParser, write_table
from .tasks import embed

DISTANCES = {"L2": "l2", "cosine": "cosine", "norm difference": "norm_difference"}
SCORES = [*DISTANCES, "order-faithfulness"]
BASELINE = "S-learner"
BLACK_BOX = "logistic regression"
_VALUES = ["Negative", "Positive", "unknown"]  # of every concept, sorted


@dataclass(frozen=True)
class Versions:
    """Reviews and their edits: features, stars, annotations, and what was edited."""

    X: np.ndarray
    y: np.ndarray
    concepts: pd.DataFrame
    groups: np.ndarray
    edited: np.ndarray


@dataclass(frozen=True)
class Case:
    """A model to explain, by what it says of the training rows and of the bases."""

    train: Versions
    pairs: pd.DataFrame
    train_proba: np.ndarray  # of the model, (n_train, n_classes)
    base_proba: np.ndarray  # the same for the base of each pair
    train_predicted: pd.DataFrame  # concepts, by heads fitted to the annotations
    base_predicted: pd.DataFrame
    base_shares: np.ndarray  # the same as probabilities, a column for each value


# --- Data -----------------------------------------------------------------------------


def load(part, source):
    """Return the "train", "dev" or "test" part."""
    if source == "generated":
        return generate(part)
    bunch = fetch_cebab(part)
    X = embed(bunch.data)
    return Versions(
        X=X,
        y=bunch.target.to_numpy(),
        concepts=bunch.concepts.reset_index(drop=True),
        groups=bunch.metadata["original_id"].to_numpy(),
        edited=bunch.metadata["edit_type"].to_numpy(),
    )


def generate(part):
    """Return made-up versions: features are sums over concepts, stars go by them."""
    names = ["food", "ambiance", "service", "noise"]
    directions = np.random.default_rng(0).normal(size=(len(names), 3, 16))
    rng = np.random.default_rng(["train", "dev", "test"].index(part) + 1)
    rows = []
    for group in range(150 if part == "train" else 25):
        own = rng.integers(3, size=len(names))
        rest = rng.normal(size=16)
        edits = [(j, v) for j in range(len(names)) for v in range(3) if v != own[j]]
        for edit in [None, *edits[: 0 if part == "train" else None]]:
            codes = own.copy()
            if edit:
                codes[edit[0]] = edit[1]
            x = rest + directions[range(len(names)), codes].sum(axis=0)
            stars = 1 + np.digitize(codes.sum() + rng.normal(), [2, 3.5, 4.5, 6])
            rows.append((x, stars, codes, group, names[edit[0]] if edit else None))
    X, y, codes, groups, edited = map(list, zip(*rows, strict=True))
    values = np.array(["Negative", "unknown", "Positive"], dtype=object)
    concepts = pd.DataFrame(values[codes], columns=names)
    return Versions(np.stack(X), np.array(y), concepts, np.array(groups), edited)


# --- Explainers -----------------------------------------------------------------------


def nothing(case, rng):
    """Say that no edit changes anything."""
    return np.zeros_like(case.base_proba)


def at_random(case, rng):
    """Return the difference of two random predictions."""
    draws = rng.uniform(size=(2, *case.base_proba.shape))
    before, after = draws / draws.sum(axis=-1, keepdims=True)
    return after - before


def conditional_expectation(case, rng):
    """Return the mean prediction of training rows with the new value minus the old."""
    estimates = np.zeros_like(case.base_proba)
    for line, (concept, before, after) in enumerate(interventions(case.pairs)):
        known = case.train.concepts[concept]
        estimates[line] = case.train_proba[known == after].mean(axis=0)
        estimates[line] -= case.train_proba[known == before].mean(axis=0)
    return estimates


def approximate_counterfactual(case, rng):
    """Take the prediction for a training row that is like the counterfactual.

    It is annotated with the new value, and its other concepts are predicted as those of
    the base are. Where there is none, any row with the new value takes its place.
    """
    candidates, chosen = {}, []
    for base, (concept, _, after) in zip(
        case.base_predicted.itertuples(index=False, name=None),
        interventions(case.pairs),
        strict=True,
    ):
        if (base, concept, after) not in candidates:
            candidates[base, concept, after] = alike(case, base, concept, after)
        chosen.append(rng.choice(candidates[base, concept, after]))
    return case.train_proba[chosen] - case.base_proba


def alike(case, base, concept, after):
    """Return the training rows that can stand for a counterfactual."""
    has_value = (case.train.concepts[concept] == after).to_numpy()
    others = case.train_predicted.columns != concept
    same = (case.train_predicted.to_numpy() == np.array(base, dtype=object))[:, others]
    rows = np.flatnonzero(has_value & same.all(axis=1))
    return rows if len(rows) else np.flatnonzero(has_value)


def s_learner(case, rng):
    """Fit a logistic regression from annotations to the model's most probable label."""
    known, labels = indicators(case.train.concepts), case.train_proba.argmax(axis=1)
    learner = LogisticRegression(max_iter=1_000).fit(known, labels)
    estimates = np.zeros_like(case.base_proba)  # the model may never predict a label
    before = indicators(case.base_predicted)
    estimates[:, learner.classes_] = with_new_value(case, learner, before)
    return estimates


def soft_s_learner(case, rng):
    """Fit the same to the model's probabilities, as the bottleneck is."""
    before = indicators(case.base_predicted)
    return with_new_value(case, fit_to_probabilities(case), before)


def softer_s_learner(case, rng):
    """Give it the probabilities of the concepts, too, as the bottleneck has them."""
    return with_new_value(case, fit_to_probabilities(case), case.base_shares)


def fit_to_probabilities(case):
    """Return a logistic regression from annotations to the model's probabilities."""
    rows, labels, weights = as_labels(case.train_proba)
    known = indicators(case.train.concepts)[rows]
    return LogisticRegression(max_iter=1_000).fit(known, labels, weights)


def with_new_value(case, learner, before):
    """Return what a model of concepts predicts with the new value, minus without."""
    names, after = list(case.train.concepts), before.copy()
    for line, (concept, _, value) in enumerate(interventions(case.pairs)):
        start = len(_VALUES) * names.index(concept)
        after[line, start : start + len(_VALUES)] = [value == v for v in _VALUES]
    return learner.predict_proba(after) - learner.predict_proba(before)


EXPLAINERS = {
    "no effect": nothing,
    "random": at_random,
    "approximate counterfactual": approximate_counterfactual,
    "conditional expectation": conditional_expectation,
    BASELINE: s_learner,
    "S-learner on probabilities": soft_s_learner,
    "S-learner on probabilities, soft concepts": softer_s_learner,
}
DRAWING = {"random", "approximate counterfactual"}


def interventions(pairs):
    """Return the concept, the old and the new value of each pair."""
    return pairs[["concept", "from", "to"]].itertuples(index=False, name=None)


def indicators(concepts):
    """Return a column for each value of each concept; 0 where it is not annotated."""
    columns = [(concepts[name] == v) for name in concepts for v in _VALUES]
    return np.column_stack(columns).astype(float)


def as_labels(proba):
    """Return probabilities as labels: rows, codes of classes, and weights."""
    n_rows, n_classes = proba.shape
    rows = np.repeat(np.arange(n_rows), n_classes)
    return rows, np.tile(np.arange(n_classes), n_rows), proba.ravel()


def bottleneck_of(black_box, train):
    """Return a bottleneck whose label head is fitted to a model's probabilities."""
    rows, codes, weights = as_labels(black_box.predict_proba(train.X))
    labels = black_box.classes_[codes]
    concepts = train.concepts.iloc[rows]
    return ConceptBottleneckClassifier().fit(
        train.X[rows], labels, weights, concepts=concepts
    )


# --- Measuring ------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """Estimates of one explainer for one model, of every seed, and the truth."""

    model: str
    explainer: str
    effects: np.ndarray
    estimates: list[np.ndarray]


def measure(options):
    """Return what every explainer says of both models, and the pairs."""
    train, part = load("train", options.source), load(options.part, options.source)
    pairs = counterfactual_pairs(part.concepts, groups=part.groups, edited=part.edited)
    bottleneck = ConceptBottleneckClassifier()
    bottleneck.fit(train.X, train.y, concepts=train.concepts)
    shares = np.hstack([*bottleneck.predict_concept_proba(part.X).values()])
    black_box = LogisticRegression(max_iter=1_000).fit(train.X, train.y)
    explaining = {
        BLACK_BOX: (black_box, bottleneck_of(black_box, train)),
        "bottleneck": (bottleneck, bottleneck),
    }
    found = []
    for name, (model, explainer) in explaining.items():
        proba = model.predict_proba(part.X)
        effects = icace(proba, pairs)
        case = Case(
            train=train,
            pairs=pairs,
            train_proba=model.predict_proba(train.X),
            base_proba=proba[pairs["base"]],
            train_predicted=bottleneck.predict_concepts(train.X),
            base_predicted=bottleneck.predict_concepts(part.X[pairs["base"]]),
            base_shares=shares[pairs["base"]],
        )
        for kind, explain in EXPLAINERS.items():
            estimates = [
                explain(case, np.random.default_rng([options.seed, seed]))
                for seed in range(options.seeds if kind in DRAWING else 1)
            ]
            found.append(Measured(name, kind, effects, estimates))
        for kind, start in [
            ("intervene", "predicted"),
            ("intervene, old value known", "known"),
        ]:
            estimates = estimate_icace(explainer, part.X, pairs, start=start)
            found.append(Measured(name, kind, effects, [estimates]))
    facts = {
        f"accuracy {n}": m.score(part.X, part.y) for n, (m, _) in explaining.items()
    }
    for row in ("base", "counterfactual"):
        facts[row] = new_value_shares(shares[pairs[row]], pairs, train).mean()
    return found, pairs, facts


def new_value_shares(shares, pairs, train):
    """Return the probability of the new value of each pair."""
    names = list(train.concepts)
    columns = [
        len(_VALUES) * names.index(concept) + _VALUES.index(value)
        for concept, _, value in interventions(pairs)
    ]
    return shares[np.arange(len(pairs)), columns]


class Resampled:
    """Scores of all pairs, and of bootstrap samples of the originals.

    Pairs of one original share texts, so originals are drawn and not pairs. Scores are
    means over pairs, or made of means, so sums over each original suffice.
    """

    def __init__(self, pairs, n_draws, seed):
        self.pairs = pairs
        self._group, names = pd.factorize(pairs["group"])
        self._kind = pairs.groupby(["concept", "from", "to"], sort=False).ngroup()
        drawn = np.random.default_rng(seed).multinomial(
            len(names), np.full(len(names), 1 / len(names)), size=n_draws
        )
        self._drawn = np.vstack([np.ones(len(names), dtype=int), drawn])

    def scores(self, effects, estimates):
        """Return the `SCORES` of all pairs, first, and of each sample."""
        errors = [
            icace_error(effects, estimates, distance=name, average=False)
            for name in DISTANCES.values()
        ]
        means = self._means(np.column_stack(errors))
        orders = [
            order_faithfulness(*pair)
            for pair in zip(self._caces(effects), self._caces(estimates), strict=True)
        ]
        return np.column_stack([means, orders])

    def _means(self, values):
        return self._over(values, np.zeros(len(values), dtype=int))[:, 0]

    def _caces(self, values):
        return self._over(values, self._kind)

    def _over(self, values, kinds):
        """Return the means over the pairs of each kind, in every sample."""
        shape = (self._drawn.shape[1], kinds.max() + 1)
        sums, counts = np.zeros((*shape, values.shape[1])), np.zeros(shape)
        np.add.at(sums, (self._group, kinds), values)
        np.add.at(counts, (self._group, kinds), 1)
        totals = np.tensordot(self._drawn, sums, axes=1)
        return totals / (self._drawn @ counts)[:, :, np.newaxis]


def all_scores(found, resampled):
    """Return scores by model and explainer, (1 + n_draws, n_scores), mean of seeds."""
    return {
        (one.model, one.explainer): np.mean(
            [resampled.scores(one.effects, guess) for guess in one.estimates], axis=0
        )
        for one in found
    }


def score_lines(scores):
    """Return a line for each model and explainer: scores, with half an interval."""
    lines = []
    for names, values in scores.items():
        low, high = np.quantile(values[1:], [0.025, 0.975], axis=0)
        cells = np.column_stack([values[0], (high - low) / 2])
        lines.append([*names, *cells.ravel().tolist()])
    return lines


def difference_lines(scores):
    """Return what the bottleneck's scores are beside those of the S-learners."""
    lines = []
    for (model, explainer), values in scores.items():
        if not explainer.startswith("intervene"):
            continue
        for against in (kind for kind in EXPLAINERS if kind.startswith(BASELINE)):
            changes = np.round(values - scores[model, against], 9)  # 1e-16 is 0
            low, high = np.quantile(changes[1:], [0.025, 0.975], axis=0)
            for score, *cells in zip(SCORES, changes[0], low, high, strict=True):
                lines.append([model, explainer, against, score, *map(float, cells)])
    return lines


def effect_lines(found, pairs, stars):
    """Return the mean effect of each intervention on the black box, in stars."""
    shown = ["truth", BASELINE, "intervene", "intervene, old value known"]
    own = {one.explainer: one for one in found if one.model == BLACK_BOX}
    effects = {name: own[name].estimates[0] for name in shown[1:]}
    effects["truth"] = own[BASELINE].effects
    means = pd.concat(
        [cace(effects[name] @ stars, pairs) for name in shown], axis=1
    ).set_axis(shown, axis=1)
    counts = pairs.value_counts(["concept", "from", "to"])
    return [
        [*key, int(counts[key]), *map(float, line)]
        for key, line in sorted(zip(means.index, means.to_numpy(), strict=True))
    ]


# --- Tables ---------------------------------------------------------------------------


def write(found, pairs, facts, options):
    resampled = Resampled(pairs, options.draws, options.seed)
    scores = all_scores(found, resampled)
    intervals = (
        f"95 % intervals of {options.draws:,} bootstrap samples of the "
        f"{pairs['group'].nunique()} originals with all their edits."
    )
    write_table(
        "cebab_causal",
        f"Effects of edits, and what explainers say of them, {options.part} part",
        ["model", "explainer", *(f"{s}{e}" for s in SCORES for e in ("", " ±"))],
        score_lines(scores),
        [
            f"{len(pairs):,} pairs: each review with each edit of it, and each edit "
            "with each other edit of the same aspect, in both directions, where people "
            "read different values of the aspect. Models and explainers know only the "
            "exclusive training part. Five classes, MiniLM vectors, penalties of 1; "
            "nothing is tuned. Accuracy of the stars: "
            f"{facts[f'accuracy {BLACK_BOX}']:.3f} for the logistic regression, "
            f"{facts['accuracy bottleneck']:.3f} for the bottleneck. Concept heads "
            "give the new value of the edited concept a probability of "
            f"{facts['counterfactual']:.2f} in the edited text, and of "
            f"{facts['base']:.2f} before.",
            f"± is half the width of {intervals} Explainers that draw are means of "
            f"{options.seeds} seeds.",
            "Published for BERT with five classes (L2, cosine, norm difference): "
            "S-learner .74, .63, .54; approximate counterfactual .81, .61, .44; causal "
            "proxy model (Wu et al., 2022) .60, .45, .38. That is another model: "
            "compare L2 and norm difference only within one model.",
        ],
        options=options,
    )
    write_table(
        "cebab_causal_differences",
        "The bottleneck beside the S-learner: differences of scores",
        ["model", "explainer", "against", "score", "difference", "low", "high"],
        difference_lines(scores),
        [
            "Score of the bottleneck minus that of the other explainer, paired. Below "
            "0 is better for distances, above 0 for order-faithfulness.",
            f"low and high: {intervals}",
        ],
        options=options,
    )
    stars = np.arange(1, 1 + found[0].effects.shape[1])
    write_table(
        "cebab_causal_effects",
        f"Mean effects (CaCE) on the expected stars of the {BLACK_BOX}",
        ["concept", "from", "to", "pairs", "truth", BASELINE]
        + ["intervene", "intervene, old value known"],
        effect_lines(found, pairs, stars),
        ["Mean change of the expected number of stars over the pairs."],
        options=options,
    )


def main(argv=None):
    parser = BenchmarkParser(
        "cebab_causal", __doc__, source="generated", seeds=2, draws=20
    )
    parser.add_argument("--part", choices=["dev", "test"], default="test")
    parser.add_argument("--seeds", type=int, default=5, help="of what draws")
    parser.add_argument("--draws", type=int, default=1_000, help="bootstrap samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(source="cebab")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    write(*measure(options), options)


if __name__ == "__main__":
    main()
