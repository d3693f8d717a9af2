"""The views of results in notebooks: one function for each result."""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch
from typing import Any

import numpy as np
import pandas as pd

from .._inputs.concept_tables import NOT_IN_CONCEPTS
from .._results.annotations import BY_ANNOTATION, AnnotationSuggestions
from .._results.baselines import SCORES, BaselineComparison
from .._results.bottleneck_report import BottleneckReport
from .._results.comparison import EditComparison, PairedChange
from .._results.contributions import ConceptContributions
from .._results.drift_report import DriftReport, what_moved
from .._results.edits import EditResult
from .._results.effects import ConceptEffects
from .._results.flip_set import FlipSet
from .._results.influence import InfluenceResult
from .._results.interventions import InterventionCurve
from .._results.removal import LinearDatamodelingScore, RemovalCurve
from .._results.replay import ReplayResult
from .._results.suggestions import HELPS, HURTS, EditSuggestions
from .._results.suspect_groups import GROUP, GROUPS
from .._results.suspects import (
    LESS,
    SHOWN,
    UNKNOWN,
    WRONG_IS_NOT_HARMFUL,
    SuspectFrame,
    counts_by_path,
    told_apart,
)
from .._results.validation import ValidationResult
from .._results.word_evidence import WordEvidence
from .._results.words import how_many, is_or_are
from .sheets import (
    CHIPS,
    HARM,
    HELP,
    Cell,
    Column,
    Note,
    Sheet,
    Table,
    against_zero,
    columns,
    count,
    effect,
    figure,
    in_short,
    marked,
    parts,
    passage,
    share,
    words,
)
from .words import number, percent, signed

_LINES = 10
_FACTS = 12
_TARGETS, _ROWS = 3, 3  # of an influence: rows that harm, and as many that help
_CLEAR = 1.96  # standard errors, beyond which an effect has a sign
_ASKED, _LABELS, _CONCEPTS = 3, 4, 8  # of contributions
_SHARES = ("share", "low", "high", "share_others")  # of a group
_TEXTS = 10  # with their words marked
_GOOD = {True: "positive", False: "negative", None: None}  # of higher_is_better
_OUTCOMES = {"better": HELP, "worse": HARM}


def html_of(result: Any) -> str:
    """Return the view of a result: HTML that changes nothing outside it."""
    return sheet_of(result).html()


@singledispatch
def sheet_of(result: Any) -> Sheet:
    """Return what a notebook shows of a result."""
    raise TypeError(f"There is no view of {type(result).__name__}.")


# --- Rows and what they do ------------------------------------------------------------


@sheet_of.register
def _(result: InfluenceResult) -> Sheet:
    row = "row" if result.groups is None else "group"
    good, notes = _GOOD[result.higher_is_better], []
    if good is None:
        notes.append(
            f"Positive: without the {row} the {in_short(result.target)} would be "
            "lower. Nobody said which way is good."
        )
    else:
        low, high = ("lower", "higher") if good == "negative" else ("higher", "lower")
        notes.append(
            f"Harmful: without the {row} the {in_short(result.target)} would be {low}. "
            f"Helpful: it would be {high}. Harmful is not the same as wrong."
        )
    if result.confirmed is not None:
        notes.append(
            f"Confirmed by the second method: {int(result.confirmed.sum()):,} of "
            f"{how_many(len(result.confirmed), 'training row')}."
        )
    n_targets = len(result.values)
    more = ""
    if n_targets > _TARGETS:
        hidden = how_many(n_targets - _TARGETS, "more target")
        more = f"… and {hidden}; see helpful(), harmful() and to_frame()."
    tables = [
        _influence_table(result, t, good) for t in range(min(_TARGETS, n_targets))
    ]
    return Sheet.of(
        repr(result), tables=tables, notes=list(map(Note, notes)), more=more
    )


def _influence_table(result: InfluenceResult, target: int, good: str | None) -> Table:
    result = result._with_direction()
    rows = None if result.rows is None else result.rows[target : target + 1]
    one = replace(
        result,
        values=result.values[target : target + 1],
        explained=result.explained[target : target + 1],
        rows=rows,
    )
    top = pd.concat([one.harmful(_ROWS), one.helpful(_ROWS)], ignore_index=True)
    axis = top.columns[1]
    known = top.drop(columns=["target", axis, "influence", "path"], errors="ignore")
    if result.confirmed is not None:
        known = known.drop(columns="confirmed")
    heads = columns(axis, "influence", numbers=[axis, "influence"])
    if result.paths is not None:
        heads.append(Column("through"))
    if len(known.columns):
        heads.append(Column("what it is"))
    pieces = _pieces(one)
    largest = float(np.abs(pieces).max(initial=0.0))
    lines = []
    for k, line in enumerate(top.to_dict("records")):
        value = effect(line["influence"], good, ("helpful", "harmful"))
        cells = [words(line[axis]), value]
        if result.paths is not None:
            found = dict(zip(result.paths, pieces[k].tolist(), strict=True))
            cells.append(parts(found, largest, good))
        if len(known.columns):
            parts_of = found if result.paths is not None else {}
            told = _most_telling(known.iloc[k].to_dict(), parts_of)
            cells.append(passage(told, _texts(one.training)))
        lines.append(cells)
    return Table(_about(one, target), heads, lines)


def _most_telling(known: dict[str, Any], parts_of: dict[str, float]) -> dict[str, Any]:
    """Return what is known of a row, for many concepts those that act most first."""
    if len(parts_of) <= CHIPS:
        return known
    sizes = {f"annotated {name}": abs(part) for name, part in parts_of.items()}
    sizes |= {name: abs(part) for name, part in parts_of.items()}
    sizes["label"] = np.inf
    return dict(sorted(known.items(), key=lambda one: -sizes.get(one[0], np.inf)))


def _pieces(one: InfluenceResult) -> np.ndarray:
    """Return the parts of the rows that harm and help most, (n_rows, n_paths)."""
    benefit = one.totals[0] if one.higher_is_better else -one.totals[0]
    harmful = np.argsort(benefit, kind="stable")[:_ROWS]
    helpful = np.argsort(-benefit, kind="stable")[:_ROWS]
    places = [*harmful[benefit[harmful] < 0], *helpful[benefit[helpful] > 0]]
    found: np.ndarray = one.values[0][places].reshape(len(places), -1)
    return found


def _texts(training: pd.DataFrame) -> list[str]:
    """Return the columns of texts: they come before the label."""
    names = [str(name) for name in training.columns]
    return names[: names.index("label")] if "label" in names else ["text"]


def _about(one: InfluenceResult, target: int) -> str:
    """Return which target it is, its value and its text."""
    if not len(one.explained):
        return f"target {target}"
    known = one.explained.iloc[0]
    said = [f"target {target}"]
    if "label" in known:
        said.append(f"label {in_short(known['label'])}")
    said.append(f"{in_short(one.target)} {number(known['value'])}")
    texts = {n: v for n, v in known.items() if n not in ("label", "value")}
    text = passage(texts, texts).text
    return ", ".join(said) + (f": {text}" if text else "")


@sheet_of.register
def _(suspects: SuspectFrame) -> Sheet:
    counts = counts_by_path(suspects)
    notes = [Note(WRONG_IS_NOT_HARMFUL)]
    unknown = suspects.attrs.get(UNKNOWN)
    if unknown:
        notes.append(
            Note(f"Nothing can be said of: {', '.join(map(in_short, unknown))}.", HARM)
        )
    facts = [
        (in_short(path), f"{n:,} of {of:,} probably wrong") for path, n, of in counts
    ]
    if len(facts) > _FACTS:
        facts[_FACTS:] = [("…", how_many(len(facts) - _FACTS, "more path"))]
    told = told_apart(suspects)
    shown = told.head(_LINES)
    rest = shown.drop(columns=[*SHOWN, *LESS, GROUP], errors="ignore")
    heads = columns(*SHOWN, numbers=["row"])
    if GROUP in suspects:
        heads.append(Column(GROUP))
    if len(rest.columns):
        heads.append(Column("text"))
    lines = []
    for line, known in zip(
        shown.to_dict("records"), rest.to_dict("records"), strict=True
    ):
        cells = [words(line[name]) for name in SHOWN[:-1]]
        cells.append(share(line["probability_wrong"]))
        if GROUP in line:
            cells.append(words(line[GROUP]))
        if known:
            cells.append(passage(known, known))
        lines.append(cells)
    tables = [Table("The most suspect", heads, lines)] if lines else []
    if GROUPS in suspects.attrs:
        tables.append(_groups(suspects))
    more = ""
    if len(told) > _LINES:
        hidden = how_many(len(told) - _LINES, "more line")
        more = f"… and {hidden}. It is a DataFrame: filter and sort it as one."
    about = f"{how_many(len(suspects), 'value')} judged"
    about += ", the most suspect of a path first" if lines else ""
    return Sheet("Suspects", about, tables, notes, more, facts)


def _groups(suspects: SuspectFrame) -> Table:
    """Return how often each group errs, the one that errs most first."""
    figures = ["values", "wrong", "from", "to", "others", "ratio"]
    lines = [
        [
            words(line[GROUP]),
            count(line["n_values"]),
            *(figure(None, percent(line[name])) for name in _SHARES),
            figure(line["ratio"]),
        ]
        for line in suspects.by_group().head(_LINES).to_dict("records")
    ]
    caption = "How often each group is expected to be wrong, with a 95 % interval"
    return Table(caption, columns("group", *figures, numbers=figures), lines)


@sheet_of.register
def _(suggestions: EditSuggestions) -> Sheet:
    good = "positive" if suggestions.higher_is_better else "negative"
    tone = {HELPS: HELP, HURTS: HARM}.get(suggestions.verdict, "")
    frame = suggestions.to_frame()
    shown = frame.head(_LINES)
    names = ["row", "kind", "path", "current", "proposed"]
    numbers = ["effect", "std_error", "probability_wrong"]
    known = shown.drop(columns=[*names, *numbers], errors="ignore")
    figures = ["row", "effect", "std. error", "p wrong"]
    heads = columns("row", "change", "from", "to", *figures[1:], numbers=figures)
    if len(known.columns):
        heads.append(Column("text"))
    lines = []
    for line, rest in zip(
        shown.to_dict("records"), known.to_dict("records"), strict=True
    ):
        cells = [words(line["row"]), words(_change(line["kind"], line["path"]))]
        is_weight = line["kind"] in ("reweight", "drop")
        for value in (line["current"], line["proposed"]):
            is_given = is_weight and not pd.isna(value)
            cells.append(words(f"weight {in_short(value)}" if is_given else value))
        is_clear = abs(line["effect"]) > _CLEAR * line["std_error"]
        helps_or_hurts = good if is_clear else None
        cells.append(effect(line["effect"], helps_or_hurts, ("helps", "hurts")))
        cells.append(figure(line["std_error"]))
        cells.append(figure(None, percent(line["probability_wrong"])))
        if rest:
            cells.append(passage(rest, rest))
        lines.append(cells)
    more = _more(suggestions.n_chosen - len(shown), "change", "to_frame()")
    caption = f"Effects of each change alone ({suggestions.unit}, {good} = good)"
    table = Table(caption, heads, lines)
    note = Note(f"The whole list: {suggestions.in_words()}.", tone)
    return Sheet.of(repr(suggestions), tables=[table], notes=[note], more=more)


@sheet_of.register
def _(suggestions: AnnotationSuggestions) -> Sheet:
    by_annotation = suggestions.by == BY_ANNOTATION
    names = ["row", "concept"] if by_annotation else ["row"]
    frame = suggestions.to_frame()
    shown = frame.head(_LINES)
    known = shown.drop(columns=[*names, "gain"])
    heads = columns(*names, "gain", numbers=["row", "gain"])
    if len(known.columns):
        heads.append(Column("text"))
    lines = []
    for line, rest in zip(
        shown.to_dict("records"), known.to_dict("records"), strict=True
    ):
        cells = [words(line[name]) for name in names]
        cells.append(figure(line["gain"]))
        if rest:
            cells.append(passage(rest, rest))
        lines.append(cells)
    asked = "this annotation" if by_annotation else "all that is missing of the row"
    note = Note(
        f"A line asks for {asked}. Its gain is by how much the target is expected to "
        f"fall ({suggestions.unit}), beyond what the lines above it bring."
    )
    more = _more(suggestions.n_chosen - len(shown), suggestions.by, "to_frame()")
    table = Table("What to annotate next", heads, lines)
    return Sheet.of(repr(suggestions), tables=[table], notes=[note], more=more)


@sheet_of.register
def _(result: FlipSet) -> Sheet:
    frame = result.to_frame()
    shown = frame.head(_LINES)
    known = shown.drop(columns=["row", "proba", "predicted"])
    probability = f"p({in_short(result.prediction)})"
    heads = columns(
        "without row", probability, "predicted", numbers=["without row", probability]
    )
    if len(known.columns):
        heads.append(Column("text"))
    lines = []
    for line, rest in zip(
        shown.to_dict("records"), known.to_dict("records"), strict=True
    ):
        cells = [count(line["row"]), figure(line["proba"]), words(line["predicted"])]
        if rest:
            cells.append(passage(rest, rest))
        lines.append(cells)
    note = Note(
        "Each line is without its row and those above it, both stages solved again. A "
        "smaller set can exist that the search did not see."
    )
    more = _more(len(frame) - len(shown), "row", "to_frame()")
    table = Table("Rows in the order of their removal", heads, lines)
    return Sheet.of(repr(result), tables=[table], notes=[note], more=more)


def _change(kind: str, path: str) -> str:
    """Return what changes: "relabel", "annotate food", "reweight", "drop"."""
    return f"{kind} {path}" if kind == "annotate" else kind


# --- Concepts -------------------------------------------------------------------------


@sheet_of.register
def _(result: ConceptContributions) -> Sheet:
    shown = range(min(_ASKED, len(result.values)))
    tables = [_logit_table(result, i) for i in shown]
    note = (
        "Bars to the right support the label, bars to the left speak against it, each "
        "against the average label."
    )
    if result.of_thresholds:
        note = "Bars to the right support a higher label, bars to the left a lower one."
    more = _more(len(result.values) - len(shown), "row", "to_frame()")
    return Sheet.of(repr(result), tables=tables, notes=[Note(note)], more=more)


def _logit_table(result: ConceptContributions, i: int) -> Table:
    """Return the parts of one row's logits: the largest ones, and all others as one."""
    values = result.values[i].T  # (n_concepts + 1, n_classes)
    totals = values.sum(axis=0)
    predicted = int(result.predicted()[i])
    likeliest = np.sort(np.argsort(-totals, kind="stable")[:_LABELS])
    order = np.argsort(-np.abs(values[:-1, predicted]), kind="stable")
    # One line too many is no longer than the line that would replace it.
    named = list(order if len(order) <= _CONCEPTS + 1 else order[:_CONCEPTS])
    # What goes past the concepts hides among no others.
    past = [j for j in order if result.concepts[j] == NOT_IN_CONCEPTS]
    named += [j for j in past if j not in named]
    parts = [(in_short(result.concepts[j]), values[j]) for j in named]
    if rest := len(order) - len(named):
        left_out = values[np.setdiff1d(order, named)].sum(axis=0)
        parts.append((f"{rest:,} more together", left_out))
    parts.append((result.concepts[-1], values[-1]))
    largest = max(np.abs(part[likeliest]).max() for _, part in parts)
    lines = [
        [Cell("words", name), *(against_zero(v, largest) for v in part[likeliest])]
        for name, part in parts
    ]
    label = in_short(result.classes[predicted])
    row = in_short(result.index[i])
    about = f"row {row}, {'' if result.of_thresholds else 'predicted '}{label}"
    names = [in_short(result.classes[k]) for k in likeliest]
    what = "threshold" if result.of_thresholds else "less probable label"
    n_left = len(totals) - len(likeliest)
    return Table(
        about,
        [Column("concept"), *(Column(name) for name in names)],
        lines,
        f"{how_many(n_left, what)} not shown." if n_left else "",
        total=[
            Cell("words", "log-odds" if result.of_thresholds else "centred logit"),
            *(Cell(text=signed(total)) for total in totals[likeliest].tolist()),
        ],
    )


@sheet_of.register
def _(result: WordEvidence) -> Sheet:
    n_shown = min(_TEXTS, len(result))
    lines = [
        [
            words("the number" if result.values[i] is None else result.values[i]),
            Cell(text=signed(float(result.scores[i]))),
            marked(result._pieces(i), result.unit),
            Cell(text=signed(float(result.bias[i] + result.special[i]))),
        ]
        for i in range(n_shown)
    ]
    heads = columns("for", "score", "words", "no word", numbers=["score", "no word"])
    how = "Shares of words and of what is no word add up to the score."
    if result.linearised:
        how += (
            " The label is not linear in words: these are the shares of the linear "
            "model that equals it at each text."
        )
    how += (
        " Full lines are for the value, dotted ones against it; each marked word has "
        "its number as its title."
    )
    n_cut = int((result.read < [len(text) for text in result.texts]).sum())
    if n_cut:
        how += (
            f" {how_many(n_cut, 'text')} {is_or_are(n_cut)} longer than the model "
            "reads, and words behind have no share."
        )
    more = _more(len(result) - n_shown, "text", "to_frame()")
    caption = f"Words of {in_short(result.concept)}"
    tables = [Table(caption, heads, lines)]
    return Sheet.of(repr(result), tables=tables, notes=[Note(how)], more=more)


# --- Edits ----------------------------------------------------------------------------


@sheet_of.register
def _(result: EditResult) -> Sheet:
    record = result.record
    shown = record.changes.head(_LINES)
    changes = Table(
        "Changes",
        columns("row", "kind", "concept", "old", "new", numbers=["row"]),
        [
            [words(line[name]) for name in ("row", "kind", "concept", "old", "new")]
            for line in shown.to_dict("records")
        ],
        _more(len(record.changes) - len(shown), "change", "record.changes"),
    )
    solved = list(record.heads)
    if len(solved) > _LINES:  # those that did not arrive first, then those that moved
        solved.sort(key=lambda head: (head.converged, head.n_steps == 0))
    heads = Table(
        "How the heads were solved",
        columns(
            "head", "start", "steps", "gradient", "", numbers=["steps", "gradient"]
        ),
        [
            [
                *(words(head.head), words(head.start), count(head.n_steps)),
                figure(head.after),
                words("at the optimum", HELP)
                if head.converged
                else words("not at the optimum", HARM),
            ]
            for head in solved[:_LINES]
        ],
        _more(len(solved) - _LINES, "head", "record.heads"),
    )
    good = _GOOD[record.higher_is_better]
    sign = "" if good is None else f", {good} = good"
    effects = Table(
        f"Effect on the {in_short(record.target)} of the validation rows "
        f"({in_short(record.unit)}{sign})",
        columns("", "effect", numbers=["effect"]),
        [
            [words(name), effect(value, good, ("helps", "hurts"))]
            for name, value in (
                ("predicted, to first order", record.predicted_effect),
                ("achieved", record.achieved_effect),
            )
            if value is not None
        ],
    )
    note = Note("compare(X, y) says what it changed on rows that did not choose it.")
    return Sheet.of(repr(result), tables=[effects, changes, heads], notes=[note])


@sheet_of.register
def _(comparison: EditComparison) -> Sheet:
    scores = Table(
        "Each row is compared with itself; intervals are 95 %",
        columns("score", "before", "after", "change", numbers=["before", "after"]),
        [
            _score("accuracy", comparison.accuracy, "positive"),
            _score("log-loss (nats)", comparison.log_loss, "negative"),
        ],
    )
    numbers = ["rows", "before", "after"]
    moved = (comparison.concepts["after"] - comparison.concepts["before"]).abs()
    most = np.sort(np.argsort(-moved.to_numpy(), kind="stable")[:_LINES])
    n_left = len(moved) - len(most)
    concepts = Table(
        "The concepts" + (" that changed most" if n_left else ""),
        columns("concept", "measure", "rows", "before", "after", numbers=numbers),
        [
            [
                *(words(one["concept"]), words(one["measure"]), count(one["n_rows"])),
                *(figure(one["before"]), figure(one["after"])),
            ]
            for one in comparison.concepts.iloc[most].to_dict("records")
        ],
        _more(n_left, "concept", "concepts"),
    )
    shown = comparison.to_frame().head(_LINES)
    names = ["row", "label", "before", "after", "outcome"]
    losses = ["loss_before", "loss_after"]
    heads = columns(*names, "loss before", "loss after", numbers=["row", *losses])
    known = shown.drop(columns=[*names, *losses])
    if len(known.columns):
        heads.append(Column("text"))
    lines = []
    for line, rest in zip(
        shown.to_dict("records"), known.to_dict("records"), strict=True
    ):
        cells = [words(line[name]) for name in names[:-1]]
        cells.append(words(line["outcome"], _OUTCOMES.get(line["outcome"], "")))
        cells += [figure(line[name]) for name in losses]
        if rest:
            cells.append(passage(rest, rest))
        lines.append(cells)
    more = _more(comparison.n_changed - len(shown), "prediction", "to_frame()")
    changed = Table("Predictions that changed", heads, lines, more)
    return Sheet.of(repr(comparison), tables=[scores, concepts, changed])


def _score(name: str, one: PairedChange, good: str) -> list[Cell]:
    change = effect(one.change, good, ("better", "worse"), one.interval)
    return [words(name), figure(one.before), figure(one.after), change]


@sheet_of.register
def _(result: ReplayResult) -> Sheet:
    said = {True: ("yes", HELP), False: ("no", HARM)}
    frame = result.to_frame()
    # What differs is what a person looks for.
    shown = frame.sort_values("same", kind="stable", key=_is_true).head(_LINES)
    shown = shown.sort_index()
    steps = Table(
        "The records",
        columns("record", "kind", "bit for bit", "same numbers", "reason"),
        [
            [
                *(words(line["number"]), words(line["kind"])),
                *(words(*said.get(line[name], (None,))) for name in ("same", "close")),
                passage({"text": line["reason"]}),
            ]
            for line in shown.to_dict("records")
        ],
        _more(len(frame) - len(shown), "record", "to_frame()"),
    )
    return Sheet.of(repr(result), tables=[steps])


def _is_true(column: pd.Series) -> pd.Series:
    return column.map(lambda value: not pd.isna(value) and bool(value))


# --- How well it works ----------------------------------------------------------------


@sheet_of.register
def _(result: ValidationResult) -> Sheet:
    numbers = ["removals", "relative error", "Spearman", "time ratio"]
    heads = ["method", "removed", "removals", "relative error", "Spearman"]
    heads += ["sign agreement", "time ratio"]
    shown = _paths_that_matter(result)
    frame = result.to_frame()
    lines = [
        [
            *(words(one["method"]), words(one["removed"]), count(one["removals"])),
            *(figure(one["relative_error"]), figure(one["spearman"])),
            *(share(one["sign_agreement"]), figure(one["time_ratio"])),
        ]
        for one in frame[frame["removed"].isin(shown)].to_dict("records")
    ]
    more = _more(frame["removed"].nunique() - len(shown), "path", "to_frame()")
    note = Note(
        "Estimated effects against real retraining: a relative error of 0 and a rank "
        "correlation of 1 are perfect. The time ratio is seconds of retraining over "
        "seconds of the method."
    )
    table = Table(
        "By method and what was removed",
        columns(*heads, numbers=numbers),
        lines,
        more,
    )
    return Sheet.of(repr(result), tables=[table], notes=[note])


def _paths_that_matter(result: ValidationResult) -> list[str]:
    """Return what was removed: all, or whole rows and the paths that do most."""
    known = list(dict.fromkeys(removed for _, removed in result.agreements))
    if len(known) <= _LINES:
        return known
    ranked = sorted(known, key=lambda name: (name != "row", -result.shares[name]))
    return ranked[: _LINES - 2]


@sheet_of.register
def _(comparison: BaselineComparison) -> Sheet:
    lines = []
    for one in comparison.frame.to_dict("records"):
        tone = HELP if one["model"] == comparison.best else ""
        cells = [words(one["model"], tone), words(one["sees"])]
        for name in SCORES:
            ends = one[f"{name}_low"], one[f"{name}_high"]
            if name == "log_loss":
                between = f"{number(ends[0])} to {number(ends[1])}"
                cells.append(Cell(text=number(one[name]), between=between))
            else:
                cells.append(share(one[name], ends))
        cells.append(figure(one["seconds"]))
        lines.append(cells)
    heads = columns(
        "model", "sees", "accuracy", "macro F1", "log-loss (nats)", "seconds"
    )
    caption = f"{how_many(comparison.n_folds, 'fold')}; intervals are 95 %"
    return Sheet.of(repr(comparison), tables=[Table(caption, heads, lines)])


@sheet_of.register
def _(score: LinearDatamodelingScore) -> Sheet:
    names = ("lowest", "a quarter below", "median", "a quarter above", "highest")
    quantiles = np.quantile(score.per_target, [0, 0.25, 0.5, 0.75, 1])
    spread = Table(
        "The scores of single targets",
        columns("targets", "score", numbers=["score"]),
        [
            [words(name), figure(value)]
            for name, value in zip(names, quantiles, strict=True)
        ],
    )
    note = Note(
        "1 = influence ranks training subsets by the loss they lead to, as "
        "retraining does; 0 = no better than chance."
    )
    return Sheet.of(repr(score), tables=[spread], notes=[note])


@sheet_of.register
def _(curve: RemovalCurve) -> Sheet:
    tables = []
    for name, values in curve.scores.items():
        harmful, helpful, *random = values
        lines = []
        for k, n in enumerate(curve.n_removed.tolist()):
            drawn = [one[k] for one in random]
            between = f"{number(min(drawn))} to {number(max(drawn))}"
            lines.append(
                [
                    *(count(n), figure(harmful[k]), figure(helpful[k])),
                    Cell(text=number(float(np.mean(drawn))), between=between),
                ]
            )
        heads = ["removed", "most harmful first", "most helpful first"]
        heads = [*heads, f"random: mean and range of {len(random)}"]
        tables.append(
            Table(
                f"{in_short(name)}; higher is better",
                columns(*heads, numbers=heads[:3]),
                lines,
            )
        )
    note = Note(
        "If influence is right, the score rises or holds where harmful rows go, and "
        "falls where helpful ones do, both further than at random."
    )
    return Sheet.of(repr(curve), tables=tables, notes=[note])


@sheet_of.register
def _(curve: InterventionCurve) -> Sheet:
    changes = curve.changes(since="start")
    ends = [None, *zip(changes["low"], changes["high"], strict=True)]
    lines = []
    frame = curve.to_frame()
    few = np.linspace(0, len(frame) - 1, min(len(frame), _LINES + 2))
    shown = np.unique(few.round().astype(int)).tolist()
    for k, line in zip(shown, frame.iloc[shown].to_dict("records"), strict=True):
        loss = line["log_loss"] - curve.log_loss[0]
        change = (
            effect(loss, "negative", ("better", "worse"), ends[k]) if k else words("")
        )
        cells = [count(int(line["n_corrected"])), share(line["accuracy"])]
        lines.append([*cells, figure(line["log_loss"]), change])
    heads = columns(
        *(
            "concepts corrected",
            "accuracy",
            "log-loss (nats)",
            "change since the start",
        ),
        numbers=["concepts corrected", "log-loss (nats)"],
    )
    caption = "Known values of concepts put in place of predictions; intervals are 95 %"
    more = _more(len(frame) - len(shown), "line", "to_frame()")
    return Sheet.of(repr(curve), tables=[Table(caption, heads, lines, more)])


@sheet_of.register
def _(effects: ConceptEffects) -> Sheet:
    frame = effects.to_frame()
    largest = frame["effect"].abs().sort_values(ascending=False).index[: 2 * _LINES]
    shown = frame.loc[largest]
    lines = [
        [
            *(words(line["concept"]), words(line["value"]), words(line["label"])),
            effect(line["effect"], None, interval=(line["low"], line["high"])),
        ]
        for line in shown.to_dict("records")
    ]
    table = Table(
        "Mean change of the label's probability if the concept had this value, the "
        "largest first; intervals are 95 %",
        columns("concept", "value", "label", "change"),
        lines,
    )
    more = _more(len(frame) - len(shown), "line", "to_frame()")
    return Sheet.of(repr(effects), tables=[table], more=more)


@sheet_of.register
def _(report: BottleneckReport) -> Sheet:
    verdicts = [
        [Cell("words", v.question), words(v.answer), passage({"text": v.words})]
        for v in report.verdicts
    ]
    scores = [
        [
            words(line["model"]),
            share(line["accuracy"], (line["accuracy_low"], line["accuracy_high"])),
            figure(line["log_loss"]),
        ]
        for line in report.scores.to_dict("records")
    ]
    tables = [
        Table("Verdicts", columns("asked", "answer", "because"), verdicts),
        Table(
            "Scores of the label on held-out rows; intervals are 95 %",
            columns("model", "accuracy", "log-loss", numbers=["log-loss"]),
            scores,
        ),
    ]
    return Sheet.of(repr(report), tables=tables)


@sheet_of.register
def _(report: DriftReport) -> Sheet:
    tested = report.frame.dropna(subset="q_value")
    findings = report.findings
    shown = (findings if len(findings) else tested).head(_FACTS)
    lines = [
        [
            words(what_moved(line["part"], line["concept"])),
            words(line["concept"]),
            *(words(line["group"]), count(line["n_rows"])),
            *(figure(line["effect"]), figure(line["q_value"])),
        ]
        for line in shown.to_dict("records")
    ]
    caption = "What was found, the most certain first"
    if not len(findings):
        caption = "Nothing was found; the most surprising tests"
    heads = columns(
        *("what", "concept", "group", "rows", "effect", "q-value"),
        numbers=["rows", "effect", "q-value"],
    )
    note = Note(
        "Effects: for inputs, how well new rows are told from training rows (0.5 or "
        "less = not at all, 1 = always); otherwise what the group's own terms would "
        "gain (nats a row). The q-value is the probability that without drift any test "
        "of the report is as surprising."
    )
    left = _more(len(findings) - len(shown), "finding", "findings")
    untested = len(report.frame) - len(tested)
    if untested and not left:
        left = f"{how_many(untested, 'test')} could not be made; see reason in frame."
    table = Table(caption, heads, lines)
    return Sheet.of(repr(report), tables=[table], notes=[note], more=left)


def _more(n: int, what: str, where: str) -> str:
    """Return how many lines are not shown, and where they are; "" for none."""
    return f"… and {how_many(n, f'more {what}')}; see {where}." if n > 0 else ""
