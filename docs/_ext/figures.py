"""The figures of pages with results, drawn from the tables that benchmarks wrote.

They are drawn anew with every build, into ``generated/figures``.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from results import read_results

OURS, PEER, THIRD = "#0072B2", "#E69F00", "#009E73"  # told apart in grey, too
_STYLE = {
    "svg.hashsalt": "skclif",  # two builds give the same file
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "grid.color": "0.9",
    "axes.axisbelow": True,
}


def lines(results, name):
    """Return the lines of a table as dicts."""
    found = read_results(results / f"{name}.json")
    return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]


def baselines(results):
    """Draw the log-loss of quick models beside peers."""
    table = lines(results, "baselines")
    tasks = list(dict.fromkeys(line["task"] for line in table))
    names = list(dict.fromkeys(line["model"] for line in table))
    peers = {line["model"] for line in table if line["library"] != "skclif"}
    names = [n for n in names if n not in peers] + [n for n in names if n in peers]
    figure = Figure(figsize=(9, 5), layout="constrained")
    for ax, task in zip(
        figure.subplots(1, len(tasks), sharey=True), tasks, strict=True
    ):
        own = {
            line["model"]: line["log-loss"] for line in table if line["task"] == task
        }
        values = [own.get(name, np.nan) for name in names]
        colors = [PEER if name in peers else OURS for name in names]
        ax.scatter(values, range(len(names)), c=colors, s=42)
        ax.axvline(own["vectors and words"], color=OURS, linewidth=0.8, linestyle="--")
        ax.set_title(task, fontsize="medium")
        ax.set_xlabel("log-loss (nats)")
        ax.set_yticks(range(len(names)), names)
    figure.axes[0].invert_yaxis()
    return figure


def fidelity(results):
    """Draw how far each method is from retraining."""
    table = [line for line in lines(results, "fidelity") if line["target"] == "loss"]
    table += [
        line for line in lines(results, "fidelity_mixed") if line["target"] == "loss"
    ]
    kinds = list(dict.fromkeys((one["training"], one["activations"]) for one in table))
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    ax = figure.subplots()
    marks = {
        "newton": (OURS, "o"),
        "leverage": (THIRD, "s"),
        "first_order": (PEER, "^"),
    }
    for method, (color, marker) in marks.items():
        own = [one for one in table if one["method"] == method]
        y = [kinds.index((one["training"], one["activations"])) for one in own]
        x = [one["relative error"] for one in own]
        ax.scatter(x, y, color=color, marker=marker, s=48, label=method)
    ax.set_xscale("log")
    ax.set_xlabel(
        "relative error against retraining without the row,\n"
        "the worst over tasks and penalties"
    )
    names = [f"{training}, {activations}" for training, activations in kinds]
    ax.set_yticks(range(len(kinds)), names)
    ax.invert_yaxis()
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def detection(results):
    """Draw how well changed values are found, beside cleanlab."""
    table = [
        line
        for line in lines(results, "detection")
        if line["what"] in ("labels", "annotations")
    ]
    figure = Figure(figsize=(8, 5), layout="constrained")
    ax = figure.subplots()
    y = np.arange(len(table))
    scores = {
        "probability of being wrong": ("probability", OURS, "o"),
        "the same, values have an order": ("probability, ordinal", OURS, "D"),
        "cleanlab, self-confidence": ("self_confidence", PEER, "^"),
        "cleanlab, normalized margin": ("normalized_margin", PEER, "v"),
    }
    for label, (column, color, marker) in scores.items():
        # The order says something only where values slipped to a neighbour.
        x = [
            np.nan
            if column.endswith("ordinal") and one["noise"] != "adjacent"
            else one[column]
            for one in table
        ]
        face = "white" if column.endswith("ordinal") else color
        ax.scatter(x, y, c=face, edgecolor=color, marker=marker, s=44, label=label)
    names = [
        f"{one['task'].split('-')[0]}: {one['what']}, {one['noise']} {one['rate']:.0%}"
        for one in table
    ]
    ax.set_yticks(y, names)
    ax.invert_yaxis()
    ax.set_xlabel("average precision (1: all changed values come first)")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def repair(results):
    """Draw what a repair wins back, seed by seed."""
    table = lines(results, "demo")
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    ax = figure.subplots()
    y = np.arange(len(table))
    columns = {
        "as audited": ("log-loss as audited", PEER, "^"),
        "repaired": ("log-loss repaired", OURS, "o"),
        "without errors": ("log-loss without errors", "0.4", "|"),
    }
    ax.hlines(
        y,
        [one["log-loss repaired"] for one in table],
        [one["log-loss as audited"] for one in table],
        color="0.8",
    )
    for label, (column, color, marker) in columns.items():
        x = [one[column] for one in table]
        ax.scatter(x, y, color=color, marker=marker, s=60, label=label, zorder=3)
    ax.set_yticks(y, [f"seed {one['seed']}" for one in table])
    ax.set_xlabel("log-loss of held-out reviews (nats)")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def speed(results):
    """Draw the time of other libraries over ours."""
    table = [line for line in lines(results, "influence") if line["times ours"]]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    ax = figure.subplots()
    names = [
        f"{one['library']}, {one['model'].removeprefix('one head, ')}, "
        f"{one['training rows']:,} rows"
        for one in table
    ]
    ax.barh(range(len(table)), [one["times ours"] for one in table], color=PEER)
    ax.axvline(1, color=OURS, linewidth=1.5)
    ax.set_yticks(range(len(table)), names)
    ax.invert_yaxis()
    ax.set_xlabel("processor time of first-order influence, times skclif's (line)")
    return figure


def drift(results):
    """Draw how often planted drift comes first in a report."""
    table = lines(results, "drift") + lines(results, "drift_weak")
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    ax = figure.subplots()
    y = np.arange(len(table))
    sets = list(dict.fromkeys(one["rows of"] for one in table))
    colors = [(OURS, PEER, THIRD)[sets.index(one["rows of"])] for one in table]
    ax.barh(y, [one["first"] for one in table], color=colors)
    ax.set_yticks(y, [f"{one['rows of']}: {one['what drifted']}" for one in table])
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of reports whose first row names what was planted, and where")
    return figure


def drift_themes(results):
    """Draw which themes moved in the comments of patients, by group and by part."""
    table = lines(results, "drift_nhs_themes")
    groups = [name for name in table[0] if name not in ("what moved", "theme")]
    themes = list(dict.fromkeys(one["theme"] for one in table))
    parts = {"inputs": OURS, "concept": PEER, "meaning": THIRD}
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    axes = figure.subplots(1, len(parts), sharey=True)
    for ax, (part, color) in zip(axes, parts.items(), strict=True):
        found = [
            (j, themes.index(one["theme"]), one[group])
            for one in table
            for j, group in enumerate(groups)
            if one["what moved"] == part and one[group] is not None
        ]
        x, y, effects = np.array(found, dtype=float).reshape(-1, 3).T
        # An AUC of .5 is no effect; the other two are none at 0.
        sizes = np.abs(effects - 0.5 if part == "inputs" else effects)
        ax.scatter(x, y, s=16 + 150 * sizes / max(sizes, default=1), color=color)
        ax.set_title(part, fontsize="medium")
        ax.set_xticks(range(len(groups)), groups, rotation=90)
        ax.set_yticks(range(len(themes)), themes)
        ax.set_xlim(-0.7, len(groups) - 0.3)
        ax.grid(axis="both")
    axes[0].set_ylim(len(themes) - 0.5, -0.5)
    return figure


def annotation(results):
    """Draw agreement with people by the number of annotations."""
    table = lines(results, "annotation")
    tasks = list(dict.fromkeys(line["task"] for line in table))
    looks = {"annotator": (OURS, "o-"), "supervised head alone": (PEER, "s--")}
    sizes = sorted({line["annotations"] for line in table})
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for ax, task in zip(
        figure.subplots(1, len(tasks), sharey=True), tasks, strict=True
    ):
        for method, (color, look) in looks.items():
            own = [
                (sizes.index(line["annotations"]), line["macro-F1"])
                for line in table
                if (line["task"], line["method"]) == (task, method)
            ]
            ax.plot(*zip(*sorted(own), strict=True), look, color=color, label=method)
        ax.set_xticks(range(len(sizes)), sizes, rotation=45)
        ax.set_title(task, fontsize="medium")
        ax.grid(axis="y")
    figure.axes[0].set_ylabel("macro-F1 of concepts")
    figure.supxlabel("annotated texts", fontsize="medium")
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2, frameon=False)
    return figure


def annotate_next(results):
    """Draw what each strategy reaches with the rows that it chose."""
    table = lines(results, "annotate_next_curves")
    tasks = list(dict.fromkeys(line["task"] for line in table))
    styles = {
        "random": ("0.5", "-"),
        "least confidence": (PEER, "--"),
        "largest entropy": (PEER, "-"),
        "suggest_annotations": (OURS, "-"),
        "suggest_annotations, target='loss'": (OURS, "--"),
    }
    measures = ("label log-loss", "concept macro-F1")
    figure = Figure(figsize=(8, 6), layout="constrained")
    grid = figure.subplots(len(measures), len(tasks), squeeze=False, sharex=True)
    for axes, measure in zip(grid, measures, strict=True):
        for ax, task in zip(axes, tasks, strict=True):
            for strategy, (color, line_style) in styles.items():
                own = [
                    one
                    for one in table
                    if (one["task"], one["strategy"]) == (task, strategy)
                ]
                ax.plot(
                    [one["rows annotated"] for one in own],
                    [one[measure] for one in own],
                    color=color,
                    linestyle=line_style,
                    label=strategy,
                )
            ax.set_title(f"{task}: {measure}", fontsize="medium")
    for ax in grid[-1]:
        ax.set_xlabel("annotated rows")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    return figure


def verdicts(results):
    """Draw what verdicts on a planted shortcut recover, with intervals over draws."""
    table = lines(results, "verdicts")
    tasks = list(dict.fromkeys(line["task"] for line in table))
    measures = {"recovered of log-loss": (OURS, "o", 0.12)}
    measures["recovered of worst group"] = (PEER, "s", -0.12)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for ax, task in zip(axes, tasks, strict=True):
        own = [
            line
            for line in table
            if line["task"] == task and line[next(iter(measures))]
        ]
        for measure, (color, marker, shift) in measures.items():
            cells = [line[measure].split(" ± ") for line in own]
            middle, half = np.array(cells, dtype=float).T
            y = np.arange(len(own))[::-1] + shift
            style = {"color": color, "fmt": marker, "capsize": 3, "label": measure}
            ax.errorbar(middle, y, xerr=half, **style)
        ax.set_yticks(range(len(own)), [line["model"] for line in own][::-1])
        ax.axvline(0, color="0.5", linewidth=0.8)
        ax.axvline(1, color="0.5", linewidth=0.8, linestyle="--")
        ax.set_xlabel("share of what the shortcut costs")
        ax.set_title(task, fontsize="medium")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return figure


FIGURES = {
    draw.__name__: draw
    for draw in (
        *(baselines, fidelity, detection, repair, speed, drift_themes, drift),
        annotation,
        annotate_next,
        verdicts,
    )
}


def draw_all(results, folder):
    """Write all figures as SVG.

    Parameters
    ----------
    results : Path
        The folder of the tables.
    folder : Path
        Where the figures go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        for name, draw in FIGURES.items():
            draw(results).savefig(folder / f"{name}.svg", metadata={"Date": None})


def setup(app):
    """Draw the figures before pages are read."""
    app.connect(
        "builder-inited",
        lambda app: draw_all(
            Path(app.srcdir, app.config.results_dir),
            Path(app.srcdir, "generated", "figures"),
        ),
    )
    return {"parallel_read_safe": True}
