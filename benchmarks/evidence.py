"""Whether words with large shares of a concept are those that people change for it.

CEBaB has reviews, and edits of them in which people changed one aspect. For every pair,
the words of one version are ranked by what they say for its value of the aspect,
against the value that the other version has. Hits are words among the first five that
the other version does not have. Three rankings are compared: the exact shares of
`evidence`, leaving each word out (occlusion), and gradient times input.

    python -m benchmarks.evidence [--part test] [--pairs 80]
"""

import difflib
import re
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.pipeline import make_pipeline

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    SentenceEmbedder,
)
from skclif._text.readout import LENGTH
from skclif._text.words import find_words
from skclif.datasets import fetch_cebab
from skclif.metrics import counterfactual_pairs

from .results import BenchmarkParser, write_table
from .tasks import _CACHE

DEFAULT = "layers 3 to 6 (default)"
READOUTS = {
    DEFAULT: {},
    "the model's own vectors": {"layers": None},
    "layers 4 to 6": {"layers": (4, 5, 6)},
    "layers 1 and 2": {"layers": (1, 2)},
    "layer 0": {"layers": (0,)},
    "mean, and maximum over sentences": {"pooling": ("mean", "max")},
}
EXAMPLE = (
    "The food was delicious, but our waiter was rude and forgot us twice, and the "
    "music was far too loud to talk."
)
N_WORDS = 5  # the first, by magnitude
MOST_CHANGED = 0.5  # of the words; more is another text, not another aspect
N_DRAWS = 5  # of random words to delete
_WORD = re.compile(r"\w")
_NOT_JUDGED = "unknown"
_ASPECTS = ["food", "ambiance", "service", "noise"]


@dataclass(frozen=True)
class Version:
    """A review of a pair: its words, and which of them the other review has not."""

    text: str
    concept: str
    value: str
    other_value: str
    spans: np.ndarray  # of words with a letter or a digit, (n_words, 2)
    changed: np.ndarray  # (n_words,)

    @property
    def question(self):
        """The logit that is ranked by for hits: arguments of `evidence`."""
        return {
            "concept": self.concept,
            "value": self.value,
            "against": self.other_value,
        }

    @property
    def of_value(self):
        """The logit that deletion is to lower: of the value against the average."""
        return {**self.question, "against": None}


# --- Pairs ----------------------------------------------------------------------------


def load(part, source):
    """Return texts, stars, annotations, originals and edits of a part."""
    if source == "generated":
        return generate(part)
    bunch = fetch_cebab(part)
    return pd.DataFrame(
        {
            "text": bunch.data.to_numpy(),
            "stars": bunch.target.to_numpy(),
            **{name: bunch.concepts[name].to_numpy() for name in _ASPECTS},
            "original": bunch.metadata["original_id"].to_numpy(),
            "edited": bunch.metadata["edit_type"].to_numpy(),
        }
    )


def generate(part):
    """Return made-up reviews of four sentences, and edits that change one of them."""
    good = ["lovely", "great", "perfect", "pleasant"]
    bad = ["awful", "poor", "terrible", "annoying"]
    rng = np.random.default_rng(len(part))
    lines = []
    for original in range(10):
        codes = rng.integers(2, size=len(_ASPECTS))
        for edited in [None, *range(len(_ASPECTS))]:
            own = codes.copy()
            if edited is not None:
                own[edited] = 1 - own[edited]
            judged = [(bad, good)[code][original % 4] for code in own]
            said = zip(_ASPECTS, judged, strict=True)
            text = " ".join(f"The {name} was {word} that day." for name, word in said)
            values = np.array(["Negative", "Positive"])[own]
            name = None if edited is None else _ASPECTS[edited]
            lines.append([text, 1 + own.sum(), *values, original, name])
    return pd.DataFrame(
        lines, columns=["text", "stars", *_ASPECTS, "original", "edited"]
    )


def pairs_of(frame, words_of, n_pairs, seed=0):
    """Return versions in pairs of an original and its edit, the same by aspect.

    Both reviews of a pair count, if they judge the aspect and the edit took words away.
    """
    found = counterfactual_pairs(
        frame[_ASPECTS], groups=frame["original"], edited=frame["edited"]
    )
    is_edit = frame["edited"].notna().to_numpy()
    found = found[is_edit[found["base"]] != is_edit[found["counterfactual"]]]
    found = found[found["from"] != _NOT_JUDGED]
    versions = {name: [] for name in _ASPECTS}
    for pair in found.sample(frac=1, random_state=seed).to_dict("records"):
        text, other = frame["text"][pair["base"]], frame["text"][pair["counterfactual"]]
        spans = words_of[text]
        is_changed = changed_words(text, spans, other, words_of[other])
        if is_changed.any():
            versions[pair["concept"]].append(
                Version(
                    text, pair["concept"], pair["from"], pair["to"], spans, is_changed
                )
            )
    for name, own in versions.items():
        near = [one for one in own if one.changed.mean() <= MOST_CHANGED]
        far = [one for one in own if one.changed.mean() > MOST_CHANGED]
        share = len(far) / max(1, len(own))
        versions[name] = near[:n_pairs], far[: round(n_pairs * share / (1 - share))]
    near, far = zip(*versions.values(), strict=True)
    return [one for own in near for one in own], [one for own in far for one in own]


def changed_words(text, spans, other, other_spans):
    """Return which words of a text the other one replaces or has not, (n_words,)."""
    own = [text[start:stop].lower() for start, stop in spans]
    theirs = [other[start:stop].lower() for start, stop in other_spans]
    changed = np.zeros(len(own), dtype=bool)
    matcher = difflib.SequenceMatcher(None, own, theirs, autojunk=False)
    for kind, start, stop, *_ in matcher.get_opcodes():
        changed[start:stop] = kind in ("replace", "delete")
    return changed


def find_all_words(embedder, texts):
    """Return the places of words with a letter or a digit, by text."""
    found = {}
    for row, words, _ in embedder._words(texts):
        own = [span for span in words.spans if _WORD.search(texts[row][slice(*span)])]
        found[texts[row]] = np.array(own, dtype=int).reshape(-1, 2)
    return found


# --- Rankings -------------------------------------------------------------------------


def by_evidence(explainer, versions, **changed):
    """Return the exact shares of all words in both logits, by version."""
    found = [[None, None] for _ in versions]
    for which in range(2):
        for places in by_question(versions, which).values():
            texts = [versions[i].text for i in places]
            asked = questions(versions[places[0]])[which] | changed
            evidence = explainer.evidence(texts, **asked)
            for i, spans, shares in zip(
                places, evidence.spans, evidence.shares, strict=True
            ):
                found[i][which] = of_words(versions[i], spans, shares)
    return list(map(list, zip(*found, strict=True)))


def by_occlusion(explainer, versions):
    """Return what both logits lose without each word, by version."""
    variants = [
        without(version, [word])
        for version in versions
        for word in range(len(version.spans))
    ]
    owners = np.repeat(np.arange(len(versions)), [len(v.spans) for v in versions])
    embed = explainer.estimator_[0].transform
    before = embed([version.text for version in versions])
    change = before[owners].astype(float) - embed(variants)
    found = []
    for which in range(2):
        weights = np.stack([directions(explainer, v)[which] for v in versions])
        losses = (change * weights[owners]).sum(axis=1)
        found.append([losses[owners == i] for i in range(len(versions))])
    return found


def by_gradient(explainer, versions):
    """Return gradient times input of the embeddings of words in both logits."""
    embedder = explainer.estimator_[0]
    encoder = embedder._encoder()
    readout = encoder.readout(*embedder._options())
    found = [[], []]
    for version in versions:
        (chunks,), _ = encoder._read([version.text], "truncate")
        spans, (groups,) = find_words(version.text, [chunks[0].encoding])
        model = encoder._transformer
        ids = torch.tensor([chunks[0].inputs["input_ids"]])
        inputs = model.get_input_embeddings()(ids).detach().requires_grad_()
        hidden = model(inputs_embeds=inputs, output_hidden_states=True).hidden_states
        if readout is None:
            vector = hidden[-1][0].mean(dim=0)
            vector = vector / vector.norm() if encoder._ends_in_unit else vector
        else:
            is_own = torch.from_numpy(groups < len(spans))
            vector = readout.of_tokens(hidden)[0][is_own].sum(dim=0)
            vector = LENGTH * vector / vector.norm()
        for which, weights in enumerate(directions(explainer, version)):
            logit = vector @ torch.from_numpy(weights).to(vector)
            (slope,) = torch.autograd.grad(logit, inputs, retain_graph=True)
            products = (slope * inputs)[0].sum(dim=1).detach().numpy()
            sums = np.bincount(groups, products, minlength=len(spans) + 1)
            found[which].append(of_words(version, spans, sums[: len(spans)]))
    return found


def questions(version):
    """Return both questions: of the pair, and of the value."""
    return version.question, version.of_value


def by_question(versions, which):
    """Return the positions of versions with the same question."""
    found = {}
    for i, version in enumerate(versions):
        key = tuple(questions(version)[which].values())
        found.setdefault(key, []).append(i)
    return found


def of_words(version, spans, scores):
    """Return the scores of the words of a version; 0 for those that are not read."""
    known = dict(zip(spans[:, 0].tolist(), scores.tolist(), strict=True))
    return np.array([known.get(start, 0.0) for start in version.spans[:, 0].tolist()])


def directions(explainer, version):
    """Return what multiplies vectors in both logits."""
    model = explainer.estimator_[-1]
    j = list(model.concept_names_in_).index(version.concept)
    coef, values = model.concept_coef_[j], model.concept_classes_[j].tolist()
    own, other = values.index(version.value), values.index(version.other_value)
    if len(values) == 2:
        return [(2 * own - 1) * coef[0]] * 2
    return [coef[own] - coef[other], coef[own] - coef.mean(axis=0)]


def without(version, words):
    """Return the text of a version without some of its words."""
    text = version.text
    for start, stop in sorted(version.spans[words].tolist(), reverse=True):
        text = text[:start] + text[stop:]
    return " ".join(text.split())


# --- Scores ---------------------------------------------------------------------------


def first(scores):
    """Return the words with the largest scores by magnitude; the earlier of equals."""
    return np.argsort(-np.abs(scores), kind="stable")[:N_WORDS]


def hits(versions, scores):
    """Return the share of hits and of changed words by aspect, means over versions."""
    frame = pd.DataFrame(
        {
            "concept": [version.concept for version in versions],
            "hits": [
                version.changed[first(own)].mean()
                for version, own in zip(versions, scores, strict=True)
            ],
            "chance": [version.changed.mean() for version in versions],
        }
    )
    return frame.groupby("concept").mean().loc[_ASPECTS]


def moves(explainer, versions, scores, seed=0):
    """Return how far the value's probability moves without the first words.

    It is the mean over versions, as a multiple of that without as many random words.
    """
    rng = np.random.default_rng(seed)
    chosen = [first(own) for own in scores]
    n_each = [min(N_WORDS, len(version.spans)) for version in versions]
    drawn = [
        rng.choice(len(version.spans), n, replace=False)
        for _ in range(N_DRAWS)
        for version, n in zip(versions, n_each, strict=True)
    ]
    repeated = versions * (1 + N_DRAWS)
    cut = [without(v, w) for v, w in zip(repeated, chosen + drawn, strict=True)]
    after = probabilities(explainer, cut, repeated)
    before = probabilities(explainer, [v.text for v in versions], versions)
    distance = np.abs(after - np.tile(before, 1 + N_DRAWS))
    return distance[: len(versions)].mean() / distance[len(versions) :].mean()


def probabilities(explainer, texts, versions):
    """Return the probabilities of the values that versions ask about."""
    embedder, model = explainer.estimator_
    proba = model.predict_concept_proba(embedder.transform(texts))
    values = {
        name: known.tolist()
        for name, known in zip(
            model.concept_names_in_, model.concept_classes_, strict=True
        )
    }
    return np.array(
        [
            proba[v.concept][row, values[v.concept].index(v.value)]
            for row, v in enumerate(versions)
        ]
    )


def line(readout, ranking, versions, scores, moved=None, seconds=None, slow=None):
    """Return a line of the table."""
    found = hits(versions, scores)
    return [
        readout,
        ranking,
        *found["hits"].round(3).tolist(),
        (found["hits"] / found["chance"]).mean(),
        moved,
        None if seconds is None else 1000 * seconds / len(versions),
        None if slow is None else slow / seconds,
    ]


def timed(rank, *arguments, **options):
    """Return the scores of a ranking, and the seconds that it took."""
    start = time.perf_counter()
    return rank(*arguments, **options), time.perf_counter() - start


def measure(train, frame, n_pairs, readouts):
    """Return the lines of all read-outs, and the number of versions."""
    words_of = find_all_words(SentenceEmbedder(), list(dict.fromkeys(frame["text"])))
    versions, rewritten = pairs_of(frame, words_of, n_pairs)
    texts = [version.text for version in versions]
    chance = hits(versions, [np.zeros(len(v.spans)) for v in versions])["chance"]
    lines = [["", "chance", *chance.round(3).tolist(), 1.0, 1.0, None, None]]
    for readout, options in readouts.items():
        explainer = fit(train, options)
        explainer.estimator_[0].transform(["Loads the weights."])
        (scores, of_value), slow = timed(by_occlusion, explainer, versions)
        moved = moves(explainer, versions, of_value)
        occlusion = line(readout, "occlusion", versions, scores, moved, slow, slow)
        if "pooling" in options:  # no sum over words
            lines.append(occlusion)
            continue
        scores, of_value = by_evidence(explainer, versions)
        moved = moves(explainer, versions, of_value)
        _, quick = timed(explainer.evidence, texts, concept=_ASPECTS[0])
        lines.append(line(readout, "evidence", versions, scores, moved, quick, slow))
        if readout == DEFAULT:
            lines += variants(explainer, versions, rewritten)
        lines.append(occlusion)
        (scores, of_value), seconds = timed(by_gradient, explainer, versions)
        moved = moves(explainer, versions, of_value)
        ranking = "gradient times input"
        lines.append(line(readout, ranking, versions, scores, moved, seconds, slow))
    return lines, len(versions)


def variants(explainer, versions, rewritten):
    """Return lines of evidence that is asked for in another way, or of other pairs."""
    everything = versions + rewritten
    scores, _ = by_evidence(explainer, everything)
    predicted, _ = by_evidence(explainer, versions, value=None, against=None)
    return [
        line(DEFAULT, "evidence, rewritten texts too", everything, scores),
        line(DEFAULT, "evidence, of the predicted value", versions, predicted),
    ]


def fit(train, options):
    """Return an explainer of a bottleneck on a read-out, that stores no vectors."""
    embedder = SentenceEmbedder(cache_dir=_CACHE, **options)
    pipeline = make_pipeline(embedder, ConceptBottleneckClassifier())
    explainer = ConceptInfluenceExplainer(pipeline)
    explainer.fit(train["text"], train["stars"], concepts=train[_ASPECTS])
    explainer.estimator_[0].set_params(cache_dir=None, share_vectors=False)
    return explainer


def write_example(train, options):
    """Write the words of a review of ours with their shares, for the documentation."""
    explainer = fit(train, {})
    lines = []
    for concept in ("food", "service", "noise"):
        found = explainer.evidence([EXAMPLE], concept=concept)
        frame = found.to_frame().astype({"start": object, "stop": object})
        frame = frame.where(frame.notna(), None)
        for word in frame.to_dict("records"):
            place = [word["start"], word["stop"], word["share"]]
            lines.append([concept, found.values[0], word["word"], *place])
    write_table(
        "evidence_words",
        "The words of a review, with their shares of the predicted value",
        ["concept", "value", "word", "start", "stop", "share"],
        lines,
        [EXAMPLE],
        options=options,
    )


def main(argv=None):
    parser = BenchmarkParser("evidence", __doc__, pairs=2)
    parser.add_argument("--part", choices=["dev", "test"], default="test")
    parser.add_argument("--pairs", type=int, default=80, help="of each aspect")
    options = parser.parse_args(argv)
    source = "generated" if options.small else "cebab"
    train, frame = load("train", source), load(options.part, source)
    readouts = dict([*READOUTS.items()][:: 5 if options.small else 1])
    lines, n_versions = measure(train, frame, options.pairs, readouts)
    what = "made-up reviews" if options.small else f"the {options.part} part of CEBaB"
    write_table(
        "evidence",
        f"Words that people changed, among the first five of {n_versions} versions of "
        f"{what}",
        [
            "read-out",
            "words by",
            *_ASPECTS,
            "times chance",
            "moves, times random words",
            "ms a text",
            "times as fast as occlusion",
        ],
        lines,
        [
            "Versions are reviews of pairs of an original and its edit of one aspect, "
            "which judge the aspect and have another value of it. The other review "
            "lacks some of their words, at most half; rewritten texts, of which it "
            "lacks more, are in a line of their own. Words have a letter or a digit, "
            "and are the same in both if they match in order, whatever their case.",
            "Hits: share of changed words among the five of largest magnitude, for the "
            "log-odds of the version's value against that of the other version. "
            "Chance is the share of all words. Times chance: mean over the aspects of "
            "hits over chance.",
            "Moves: how far the probability of the value is from that of the whole "
            "text when the first five words by its own logit are deleted, as a "
            f"multiple of five random ones (mean of {N_DRAWS} draws).",
            "Occlusion embeds the text without each word. Vectors with a maximum over "
            "sentences are no sums over words, so only occlusion is left.",
            "Times are of all texts in one call, on one concept, in one run.",
            "The definitions were chosen on the dev part.",
        ],
        options=options,
    )
    write_example(train, options)


if __name__ == "__main__":
    main()
