"""Which concept to correct first, and whether a correction should move other concepts.

Bottlenecks are fitted to annotations as they are, and to annotations of which a fifth
is replaced by other values. Then 1, 2 … concepts of each held-out row are set to what
people read, by several orders. The second table asks whether a correction should also
move the predictions of other concepts that go with it: their odds are multiplied by how
much more often the values meet in the training annotations than by chance, to a power
that is chosen on development rows.

    python -m benchmarks.policies [--noise 0.2] [--repeats 5] [--seed 0]
"""

import numpy as np
import torch

from skclif import ConceptBottleneckClassifier
from skclif._models.fitted import FittedHeads
from skclif.metrics import intervention_curve
from skclif.metrics._interventions import _places, _Rows, _scores
from skclif.metrics._losses import log_losses

from .results import BenchmarkParser, write_table
from .tasks import load_task

TASKS = [
    ("cebab-masked", 4),
    ("cebab-published", 4),
    ("cebab-published", 10),
    ("yelp", 4),
    ("yelp", 10),
    ("nhs", 18),
]
POLICIES = ("random", "uncertainty", "gain")
STEPS = (1, 2, 5)
POWERS = (0.0, 0.25, 0.5, 1.0)
_BOOTSTRAPS = 2_000


def with_noise(concepts, share, rng):
    """Return annotations of which a share is replaced by other values."""
    noisy = concepts.astype(object).copy()
    for name in noisy:
        values = np.unique(noisy[name].dropna().to_numpy(dtype=object).astype(str))
        known = np.flatnonzero(noisy[name].notna())
        chosen = rng.permutation(known)[: round(share * len(known))]
        for row in chosen:
            others = values[values != str(noisy[name].iloc[row])]
            noisy.iloc[row, noisy.columns.get_loc(name)] = rng.choice(others)
    return noisy


def policy_lines(task, n_concepts, noise, clf, part, options):
    """Return a line for each policy: accuracies, and gains on random orders."""
    curves = {
        policy: intervention_curve(
            clf,
            *(part.X, part.y, part.concepts),
            order=policy,
            n_repeats=options.repeats,
            random_state=options.seed,
        )
        for policy in POLICIES
    }
    lines = []
    for policy, curve in curves.items():
        last = len(curve.n_corrected) - 1
        steps = [min(step, last) for step in STEPS]
        gains = [
            ahead(curves["random"].losses[step], curve.losses[step], options.seed)
            if policy != "random" and step < last
            else None
            for step in steps
        ]
        accuracy = [float(curve.accuracy[step]) for step in (0, *steps, last)]
        lines.append([task, n_concepts, noise, policy, *gains, *accuracy])
    return lines


def ahead(losses, others, seed):
    """Return how much lower `others` are, with a 95 % bootstrap interval, as text."""
    differences = losses - others
    rng, n = np.random.default_rng(seed), len(differences)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=_BOOTSTRAPS)
    low, high = np.percentile(counts @ differences / n, [2.5, 97.5])
    return f"{differences.mean():+.3f} ({low:+.3f} to {high:+.3f})"


# --- Corrections that move other concepts ---------------------------------------------


def together(concepts, values):
    """Return log-ratios of how often values of two concepts meet to chance.

    One of each value is added, spread as chance would.
    """
    ratios = {}
    names = list(concepts)
    for j, a in enumerate(names):
        for k, b in enumerate(names):
            if j == k:
                continue
            both = concepts[[a, b]].dropna()
            counts = np.array(
                [
                    [((both[a] == u) & (both[b] == v)).sum() for v in values[k]]
                    for u in values[j]
                ],
                dtype=float,
            )
            chance = np.outer(counts.sum(axis=1) + 1, counts.sum(axis=0) + 1)
            chance /= chance.sum()
            shares = (counts + 10 * chance) / (counts.sum() + 10)
            ratios[j, k] = np.log(shares / chance)
    return ratios


class Updated:
    """Rows in which corrections move the predictions of other concepts, too."""

    def __init__(self, clf, part, ratios):
        weight = np.ones(len(part.y))
        self.rows = _Rows.read(clf, clf.transform(part.X), part.concepts, weight)
        self.proba = list(clf.predict_concept_proba(part.X).values())
        self.codes, _ = FittedHeads.of(clf).schema.encode(
            _annotations(part.concepts), weight, partial=True
        )
        self.y = np.searchsorted(clf.classes_, part.y)
        self.ratios = ratios

    def places(self, seed):
        """Return an order of the known values of each row: what tells most first."""
        if seed is None:
            keys = -_scores("gain", self.rows, self.proba)
        else:
            keys = np.random.RandomState(seed).random_sample(self.rows.known.shape)
        return _places(keys, self.rows.known)

    def losses(self, step, places, power):
        """Return the log-loss of each row after some corrections."""
        corrected = self.rows.known & (places < step)
        activations = self.rows.predicted.clone()
        columns = self.rows.bottleneck.concepts.activations
        for k, own in enumerate(self.proba):
            logs = np.log(np.clip(own, 1e-12, None))
            for j in range(len(self.proba)):
                if j != k:
                    chosen = np.flatnonzero(corrected[:, j])
                    codes = self.codes[chosen, j].astype(int)
                    logs[chosen] += power * self.ratios[j, k][codes]
            moved = np.exp(logs - logs.max(axis=1, keepdims=True))
            moved /= moved.sum(axis=1, keepdims=True)
            if own.shape[1] == 2:
                moved = moved[:, 1:]
            activations[:, columns[k]] = activations.new_tensor(moved)
            chosen = np.flatnonzero(corrected[:, k])
            known = self.rows.known_values[chosen]
            activations[chosen, columns[k]] = known[:, columns[k]]
        scores = self.rows.bottleneck.label_scores(activations)
        return log_losses(
            self.rows.bottleneck.label.probabilities(scores).numpy(), self.y
        )


def _annotations(concepts):
    from skclif._inputs.annotations import Annotations

    return Annotations.read(concepts, None, len(concepts))


def update_line(task, n_concepts, noise, clf, train, dev, test, options):
    """Return what updates gain at each step, at the power that is best on dev."""
    ratios = together(train, clf.concept_classes_)
    parts = [Updated(clf, part, ratios) for part in (dev, test)]
    steps = [step for step in STEPS if step < len(clf.concept_names_in_)]
    on_dev, places = parts[0], parts[0].places(None)
    means = {
        power: np.mean([on_dev.losses(s, places, power).mean() for s in steps])
        for power in POWERS
    }
    best = min(means, key=means.get)
    on_test, places = parts[1], parts[1].places(None)
    gains = [
        ahead(
            on_test.losses(step, places, 0.0),
            on_test.losses(step, places, best),
            options.seed,
        )
        if step in steps
        else None
        for step in STEPS
    ]
    everywhere = [
        float(
            np.mean(
                [
                    (
                        on_test.losses(s, places, 0.0) - on_test.losses(s, places, p)
                    ).mean()
                    for s in steps
                ]
            )
        )
        for p in POWERS[1:]
    ]
    return [task, n_concepts, noise, best, *gains, *everywhere]


def main(argv=None):
    parser = BenchmarkParser("policies", __doc__, tasks=[("generated", 4)], repeats=1)
    parser.add_argument("--noise", type=float, default=0.2, help="share of annotations")
    parser.add_argument("--repeats", type=int, default=5, help="random orders a row")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(tasks=TASKS)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    lines, updates = [], []
    for task, n_concepts in options.tasks:
        train, dev, test = (
            load_task(task, part, n_concepts) for part in ("train", "dev", "test")
        )
        for noise in (0.0, options.noise):
            rng = np.random.default_rng(options.seed)
            concepts = with_noise(train.concepts, noise, rng)
            clf = ConceptBottleneckClassifier(C="auto", concept_C="auto")
            clf.fit(train.X, train.y, concepts=concepts)
            about = task, len(clf.concept_names_in_), noise, clf
            lines += policy_lines(*about, test, options)
            updates.append(update_line(*about, concepts, dev, test, options))
            print(f"measured: {task}, {n_concepts} concepts, {noise}", flush=True)
    fits = (
        'Fitted to the training part with C and concept_C "auto"; corrected and scored '
        "on the test part. Gains are in log-loss (nats), positive = better, with 95 % "
        "bootstrap intervals over rows."
    )
    write_table(
        "policies",
        "What an order of corrections gains on random orders",
        [
            *("set", "concepts", "annotation noise", "order"),
            *(f"gain after {step}" for step in STEPS),
            *(f"accuracy after {step}" for step in (0, *STEPS)),
            "accuracy after all",
        ],
        lines,
        [
            fits,
            "Noise is the share of training annotations that were replaced by another "
            "value of the concept; corrections are the annotations of the test rows. "
            "With fewer concepts than corrections, all are corrected.",
        ],
        options=options,
    )
    write_table(
        "policies_updates",
        "What it gains if a correction moves other concepts too",
        [
            *("set", "concepts", "annotation noise", "power"),
            *(f"gain after {step}" for step in STEPS),
            *(f"mean gain, power {power:g}" for power in POWERS[1:]),
        ],
        updates,
        [
            fits,
            'Corrections in the order "gain". The power is that of the least log-loss '
            "on the development part; 0 is no update. The last columns are means over "
            "the numbers of corrections on the test part.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
