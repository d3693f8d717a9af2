"""What an audit finds, on features; files and pages are tested elsewhere."""

import hashlib
import json
import pickle
import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._audit import findings, influence
from skclif._audit.findings import audit
from skclif._audit.influence import N_CULPRITS
from skclif._audit.models import fit_models, warnings_of
from skclif._audit.rows import Reviews, check_parts, same_kinds, text_hash
from skclif._audit.splits import hold_out
from skclif.exceptions import DataFileError

from ..data import make_concept_data

N_TRAIN = 110


def _reviews(labels, texts=None, concepts=None, groups=None):
    texts = [f"text {i}" for i in range(len(labels))] if texts is None else texts
    ids = [f"id{i}" for i in range(len(labels))]
    return Reviews.from_parts(ids, texts, labels, concepts, groups)


def _parts(n_samples=160, with_concepts=True):
    X, y, concepts = make_concept_data(n_samples, seed=3)
    groups = np.array(["north", "south", "west"])[np.arange(n_samples) % 3]
    reviews = _reviews(y, None, concepts if with_concepts else None, groups)
    reviews = reviews.embedded(X)
    is_held = np.arange(n_samples) >= N_TRAIN
    return reviews.take(~is_held), reviews.take(is_held)


@pytest.fixture(scope="module")
def found():
    return _audit(*_parts(), C=3.0, max_mistakes=6)


def _audit(train, held_out, *, C=1.0, training="mixed", **kw):
    models = fit_models(train, C=C, training=training)
    return audit(models, train, held_out, **kw)


def _paths(table):
    return [name for name in table if name.startswith("path:")]


# --- Splitting ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_hold_out_stratifies_and_keeps_equal_texts_together(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice(["a", "b", "c"], p=[0.7, 0.2, 0.1], size=300)
    texts = [f"text {i}" for i in rng.integers(0, 150, size=300)]
    train, held_out = hold_out(_reviews(labels, texts), 0.25, seed)
    assert not set(train.texts) & set(held_out.texts)
    assert sorted([*train.ids, *held_out.ids]) == sorted(f"id{i}" for i in range(300))
    assert set(held_out.labels) <= set(train.labels)
    n_texts = len(set(texts))
    assert abs(len(set(held_out.texts)) - n_texts / 4) <= 3  # rounding, once a label


def test_hold_out_depends_on_the_seed_alone():
    reviews = _reviews(["a", "b"] * 20)
    first, again, other = (hold_out(reviews, 0.25, s)[1].ids for s in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()


def test_a_label_with_one_text_stays_in_training():
    labels = ["a"] * 20 + ["rare"]
    for seed in range(10):
        train, held_out = hold_out(_reviews(labels), 0.25, seed)
        assert "rare" in train.labels
        assert "rare" not in held_out.labels
    with_rare = _reviews(labels[:5] + ["rare", "b", "b"])
    notes = check_parts(with_rare, _reviews(["a", "b"], ["x", "y"]))
    assert notes[1:] == [
        "No held-out row has the label 'rare': how well it is predicted remains "
        "unknown."
    ]


def test_a_label_that_only_a_repeated_text_has_stays_in_training():
    texts = [f"text {i}" for i in range(20)] + ["text 3"]
    labels = ["a", "b"] * 10 + ["only here"]
    for seed in range(20):
        train, _ = hold_out(_reviews(labels, texts), 0.4, seed)
        assert "only here" in train.labels


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", "b", "c"], "No row can be held out: of 3 rows with 3 labels"),
        (["a", "a", "a"], "All 3 rows to train on have the same label, 'a'"),
        ([7.0, 7.0], "same label, 7;"),
        ([0.5, 1.0, 2.0], "not whole, such as 0.5"),
    ],
)
def test_hold_out_refuses(labels, message):
    with pytest.raises(DataFileError, match=message):
        hold_out(_reviews(labels), 0.25, 0)


# --- Checks ---------------------------------------------------------------------------


def test_check_parts_refuses_labels_that_training_lacks():
    with pytest.raises(DataFileError, match=r"label 9 \(id id1\) does not .* has 1, 2"):
        check_parts(_reviews([1, 2]), _reviews([1, 9]))


def test_check_parts_names_a_concept_with_one_value():
    concepts = pd.DataFrame({"food": ["good", "good", None]})
    train = _reviews([1, 2, 2], concepts=concepts)
    (note,) = [n for n in check_parts(train, train) if "one value only" in n]
    assert note.startswith("Concept 'food' has one value only, 'good', in the rows")
    assert "or leave out --concept food." in note


def test_check_parts_names_texts_in_both_parts():
    train = _reviews(["a", "b"] * 4)
    held_out = _reviews(["a", "b"] * 4, [f"text {i}" for i in range(1, 9)])
    _, note = check_parts(train, held_out)
    assert note.startswith("7 of the 8 held-out texts are also in the training data")
    assert "(ids id0, id1, id2, id3, id4 and 2 more)" in note


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "No held-out row has an annotation: .* remains unknown. Annotate some of"),
        (
            {"a": [1, None]},
            "has an annotation of 'b', 'c': how well they are predicted",
        ),
        ({"a": [1, None], "b": [1, 1]}, "annotation of 'c': how well it is predicted"),
    ],
)
def test_check_parts_names_concepts_that_no_held_out_row_has(given, match):
    table = pd.DataFrame(dict.fromkeys("abc", [1, 2]), dtype=object)
    train = _reviews([1, 2], concepts=table)
    other = pd.DataFrame(dict.fromkeys("abc", [None, None]) | given, dtype=object)
    _, note = check_parts(train, _reviews([1, 2], ["x", "y"], other))
    assert re.search(match, note)
    assert not re.search("annotation", " ".join(check_parts(train, train)))


def test_check_parts_tells_of_values_that_training_lacks():
    train = _reviews([1, 2], concepts=pd.DataFrame({"food": ["good", "bad"]}))
    other = pd.DataFrame({"food": ["odd", None]})
    held_out = _reviews([1, 2], ["x", "y"], concepts=other)
    _, note = check_parts(train, held_out)
    assert "'food' has the value 'odd'" in note
    assert "(1 row)" in note


def test_same_kinds_makes_numbers_words_where_one_part_has_words():
    train = _reviews([1, 2], concepts=pd.DataFrame({"n": [1.0, None], "m": [1, 2]}))
    other = pd.DataFrame({"n": ["1", "none"], "m": [2, 1]})
    first, second = same_kinds(train, _reviews(["2", "x"], concepts=other))
    assert first.labels.tolist() == ["1", "2"]
    assert second.labels.tolist() == ["2", "x"]
    assert first.concepts["n"].tolist()[0] == "1"
    assert first.concepts["n"].isna().tolist() == [False, True]
    assert first.concepts["m"].tolist() == [1, 2]


# --- Findings -------------------------------------------------------------------------


def test_text_hash_is_the_start_of_sha256():
    assert text_hash("café") == hashlib.sha256("café".encode()).hexdigest()[:16]


def test_influence_covers_every_training_row_once_and_adds_up(found):
    overall = found.influence[found.influence["target"] == "all"]
    assert sorted(overall["train_id"]) == sorted(found.training["id"])
    assert overall["rank"].tolist() == list(range(1, N_TRAIN + 1))
    assert overall["influence"].is_monotonic_decreasing
    assert overall["target_id"].isna().all()
    table = found.influence
    names = ["label", "food", "quiet", "price", "interaction"]
    assert _paths(table) == [f"path:{name}" for name in names]
    # Sums of five numbers in a different order.
    np.testing.assert_allclose(
        table[_paths(table)].sum(axis=1), table["influence"], rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("method", ["auto", "newton", "leverage", "first_order"])
@pytest.mark.parametrize("at_once", [None, 1])
def test_it_is_what_the_explainer_says_and_the_explainer_is_not_changed(
    method, at_once, monkeypatch
):
    if at_once is not None:  # every mistake by itself
        monkeypatch.setattr(influence, "_VALUES_AT_ONCE", at_once)
    train, held_out = _parts()
    models = fit_models(train, C=3.0, method=method)
    before = pickle.dumps(models.explainer)
    found = audit(models, train, held_out, max_mistakes=4)
    assert pickle.dumps(models.explainer) == before
    explainer, table = models.explainer, found.influence
    asked = (held_out.features, held_out.labels)
    mean = explainer.influence(*asked, reduce="mean", paths=True)
    assert found.method == mean.method
    every = table[table["target"] == "all"].set_index("train_id").loc[train.ids]
    np.testing.assert_allclose(every[_paths(table)], mean.values[0], atol=1e-12)
    explainer.set_params(method=mean.method)
    each = explainer.influence(*asked).totals
    for row in found.mistakes:
        lines = table[table["target_id"] == held_out.ids[row]]
        best = np.sort(each[row])[::-1]
        np.testing.assert_allclose(
            lines["influence"], best[lines["rank"] - 1], atol=1e-9
        )
        ends = [
            *range(1, N_CULPRITS + 1),
            *range(N_TRAIN - N_CULPRITS + 1, N_TRAIN + 1),
        ]
        assert lines["rank"].tolist() == ends


@pytest.mark.parametrize(
    ("method", "said_of"),
    [
        ("auto", "had not converged after"),
        ("leverage", "moves a score by more than"),
    ],
)
def test_removals_that_are_too_large_are_said_once(method, said_of):
    train, held_out = _parts()
    options = {"C": 1e4, "concept_C": 1e4, "method": method}
    models = fit_models(train, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = audit(models, train, held_out)
    said = [note for note in found.warnings if said_of in note]
    assert len(said) == 1
    assert found.warnings[: len(models.warnings)] == models.warnings


def test_first_order_on_request():
    train, held_out = _parts()
    models = fit_models(train, method="first_order")
    table = audit(models, train, held_out).influence
    names = ["label", "food", "quiet", "price"]
    assert _paths(table) == [f"path:{name}" for name in names]
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(), method="first_order"
    )
    explainer.fit(train.features, train.labels, concepts=train.concepts)
    result = explainer.influence(held_out.features, held_out.labels, reduce="mean")
    overall = table[table["target"] == "all"].set_index("train_id")["influence"]
    np.testing.assert_allclose(overall[train.ids], result.values[0], atol=1e-12)


def test_annotations_that_are_missing_carry_nothing(found):
    for name in found.concepts:
        missing = found.influence[f"annotated:{name}"].isna()
        assert missing.any()
        assert (found.influence.loc[missing, f"path:{name}"] == 0).all()


def test_mistakes_are_the_worst_and_culprits_the_most_harmful(found):
    predictions = found.predictions
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    worst = wrong.sort_values("loss", ascending=False)["id"].head(6).tolist()
    assert predictions["id"].iloc[found.mistakes].tolist() == worst
    of_rows = found.influence[found.influence["target"] == "row"]
    assert of_rows["target_id"].unique().tolist() == worst
    for target, lines in of_rows.groupby("target_id"):
        assert (lines["influence"] > 0).sum() == N_CULPRITS
        assert (lines["influence"] < 0).sum() == N_CULPRITS
        assert lines["influence"].is_monotonic_decreasing
        text = predictions.set_index("id").loc[target, "text_hash"]
        assert set(lines["target_text_hash"]) == {text}


def test_all_mistakes_of_one_pass_are_traced_unless_a_number_is_given(monkeypatch):
    train, held_out = _parts(with_concepts=False)
    models = fit_models(train)
    assert influence.most_at_once(models.explainer) > 1000
    found = audit(models, train, held_out)
    assert len(found.mistakes) == found.counts["mistakes"] > 5
    monkeypatch.setattr(findings, "N_TRACED", 4)
    assert len(audit(models, train, held_out).mistakes) == 4
    monkeypatch.setattr(influence, "_VALUES_AT_ONCE", 3 * 2 * len(train))
    assert len(audit(models, train, held_out).mistakes) == 3
    found = audit(models, train, held_out, max_mistakes=5)
    assert len(found.mistakes) == 5
    assert len(found.evidence.listed) == found.counts["mistakes"]


@pytest.mark.parametrize("training", ["mixed", "sequential", "independent"])
def test_without_the_rows_behind_a_mistake_retraining_gives_what_is_said(training):
    train, held_out = _parts()
    options = {"training": training, "C": 3.0}
    found = _audit(train, held_out, max_mistakes=4, **options)

    def losses(rows):
        model = ConceptBottleneckClassifier(**options)
        part = train.take(rows)
        model.fit(train.features[rows], part.labels, concepts=part.concepts)
        codes = np.searchsorted(model.classes_, held_out.labels)
        proba = model.predict_proba(held_out.features)
        return -np.log(proba[np.arange(len(codes)), codes])

    before = losses(np.arange(N_TRAIN))
    ends = found.influence[found.influence["rank"].isin([1, N_TRAIN])]
    assert len(ends) == 10
    for line in ends.to_dict("records"):
        row = train.ids.tolist().index(line["train_id"])
        after = losses(np.delete(np.arange(N_TRAIN), row))
        if line["target"] == "all":
            difference = (before - after).mean()
            assert line["influence"] == pytest.approx(difference, rel=2e-3)
            continue
        place = held_out.ids.tolist().index(line["target_id"])
        # What the page says: the probability of the true label without this row.
        said = np.exp(-before[place]) * np.exp(line["influence"])
        assert said == pytest.approx(np.exp(-after[place]), rel=2e-3)


def test_groups_sum_the_influence_of_their_rows(found):
    overall = found.influence[found.influence["target"] == "all"]
    sums = overall.groupby("train_group")[["influence", *_paths(overall)]].sum()
    table = found.groups.set_index("group")
    np.testing.assert_allclose(table.loc[sums.index, sums.columns], sums, rtol=1e-9)
    sizes = found.predictions["group"].value_counts()
    assert table["held_out_rows"].to_dict() == sizes.to_dict()


def test_a_group_without_held_out_or_training_rows_is_told():
    train, held_out = _parts()
    groups = np.where(np.arange(len(held_out)) % 2, "new", "south")
    held_out = Reviews(*(vars(held_out) | {"groups": groups}).values())
    table = _audit(train, held_out).groups.set_index("group")
    assert table.loc["north", "held_out_rows"] == 0
    assert np.isnan(table.loc["north", "accuracy"])
    assert table.loc["new", "training_rows"] == 0
    assert table.loc["new", "influence"] == 0


def test_without_concepts_the_black_box_is_audited():
    train, held_out = _parts(with_concepts=False)
    found = _audit(train, held_out, C=2.0)
    reference = LogisticRegression(C=2.0, tol=1e-10, max_iter=1000)
    proba = reference.fit(train.features, train.labels).predict_proba(held_out.features)
    columns = [f"p={value}" for value in found.classes]
    np.testing.assert_allclose(found.predictions[columns], proba, atol=1e-6)
    assert list(found.metrics["label"]) == ["model", "majority"]
    assert "concepts" not in found.metrics
    assert _paths(found.influence) == ["path:label"]


def test_a_value_that_training_lacks_counts_as_a_mistake_of_the_concept():
    train, held_out = _parts()
    held_out.concepts.loc[0, "food"] = "odd"
    found = _audit(train, held_out)
    assert found.predictions["annotated:food"].iloc[0] == "odd"
    assert found.predictions["p_annotated:food"].iloc[0] == 0
    assert found.metrics["concepts"]["food"]["model"]["accuracy"] < 1


def test_a_concept_without_held_out_annotations_has_no_quality():
    train, held_out = _parts()
    held_out.concepts["quiet"] = None
    metrics = _audit(train, held_out).metrics
    nothing = {"accuracy": None, "macro_f1": None}
    assert metrics["concepts"]["quiet"]["model"] == nothing
    others = [metrics["concepts"][n]["model"]["accuracy"] for n in ("food", "price")]
    mean = metrics["concepts_mean"]["model"]["accuracy"]
    assert mean == pytest.approx(np.mean(others))


def test_a_guess_of_what_is_missing_is_not_proposed():
    train, held_out = _parts()
    rows = np.arange(0, N_TRAIN, 25)
    train.concepts.loc[rows, "food"] = None
    table = _audit(train, held_out).suggestions
    asked = (table["kind"] == "annotate") & table["current"].isna()
    assert 0 < asked.sum() < len(table)
    assert asked.is_monotonic_increasing  # after all changes
    assert table["proposed"].isna().equals(asked)
    assert table["guess"].notna().equals(asked)
    for name in table["path"][asked].unique():
        of_name = asked & (table["path"] == name)
        assert set(table["guess"][of_name]) <= set(train.concepts[name].dropna())
    for part in (table[asked], table[~asked]):
        assert part["effect"].is_monotonic_increasing  # the best first


@pytest.mark.parametrize("n_held_out", [19, 49, 50])
def test_few_held_out_rows_have_no_interval(n_held_out):
    train, held_out = _parts()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what is warned of is in the words
        found = _audit(train, held_out.take(np.arange(50) < n_held_out))
    worth = found.suggested
    if n_held_out < 20:
        assert worth is None
        assert found.suggestions.empty
        return
    assert (worth["interval"] is None) == (n_held_out < 50)
    assert worth["words"].startswith(worth["verdict"])
    few = " (reason to doubt it: 49 rows are too few for an interval)"
    assert (worth["words"] == f"not sure{few}") == (n_held_out < 50)
    assert worth["helps"] == (worth["verdict"] == "expected to help")
    assert json.loads(json.dumps(worth)) == worth


def test_no_text_is_kept_unless_wanted():
    train, held_out = _parts()
    found = _audit(train.without_texts(), held_out.without_texts())
    tables = [found.training, found.predictions, found.influence]
    tables += [found.suspects, found.suggestions]
    assert not any("text" in table for table in tables)
    cells = pd.concat([t.astype(str).stack() for t in tables])
    assert not cells.str.contains("text ").any()
    assert found.predictions["text_hash"].iloc[0] == text_hash(f"text {N_TRAIN}")


def test_fingerprints_are_of_what_was_used(found):
    train, held_out = _parts()
    again = _audit(train, held_out, C=3.0)
    assert again.fingerprints == found.fingerprints
    is_bad = train.concepts["food"].iloc[0] == "bad"
    train.concepts.loc[0, "food"] = "good" if is_bad else "bad"
    changed = _audit(train, held_out, C=3.0)
    assert changed.fingerprints["training_data"] != found.fingerprints["training_data"]
    assert changed.fingerprints["coefficients"] != found.fingerprints["coefficients"]


def test_a_warning_says_whose_penalty_it_is():
    """On the command line it advises options, not parameters."""
    train, _ = _parts()
    rng = np.random.default_rng(0)
    train = replace(train, labels=rng.permutation(train.labels))
    train = replace(train, features=rng.normal(size=train.features.shape))
    said = fit_models(train, C="auto", concept_C=1.0).warnings
    ending = r"C=0\.0001 was chosen for the label.*; give --C a number to go further\."
    alone = [text for text in said if re.match(ending, text)]
    of_other = [text for text in said if re.match(f"The black box: .*{ending}", text)]
    assert len(alone) == len(of_other) == 1
    said = fit_models(train, C=1.0, concept_C="auto").warnings
    (text,) = (text for text in said if "was chosen for" in text)
    assert text.endswith("give --concept-C a number to go further.")
    assert text.startswith("C=")


def test_warnings_of_other_things_keep_their_words():
    expected = pytest.warns(UserWarning, match="^about nothing$")
    with expected, warnings_of("The black box"):
        warnings.warn("about nothing", UserWarning, stacklevel=1)


def test_the_audit_tells_when_a_head_did_not_converge():
    train, held_out = _parts()
    models = fit_models(train, max_iter=1)
    found = audit(models, train, held_out)
    assert any("stopped at a gradient norm" in text for text in found.warnings)
