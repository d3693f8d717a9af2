"""Small deliberate faults, one at a time: which of them do the tests see?

    python -m tests.mutants [--only FOLDER ...] [--full]

Every mutant is put into a copy of the working tree, and the tests of its own folder
run there until one fails: first the quick ones, then the slow ones. With `--full`, a
mutant that survives both is given to the tests marked `full`, which `make test` leaves
out: what only they catch, the thinned suite has lost. The table says which test caught
which mutant. A mutant that survives asks for a test, or is no fault at all and has to
be replaced.

A mutant names a folder of skclif, not a module, so that code may move inside it.
`tests/test_mutants.py` checks that every old text still occurs exactly once there.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOMES = {
    "_annotate": ("tests/annotate",),
    "_annotation_tools": ("tests/annotation_tools",),
    "_audit": ("tests/audit",),
    "_baselines": ("tests/baselines",),
    "_cluster": ("tests/cluster",),
    "_explain": ("tests/explain",),
    "_inputs": ("tests/inputs",),
    "_models": ("tests/models",),
    "_pages": ("tests/pages",),
    "_results": ("tests/results",),
    "_storage": ("tests/storage",),
    "_text": ("tests/text",),
    "cli": ("tests/cli",),
    "datasets": ("tests/datasets",),
    "metrics": ("tests/metrics",),
    "targets": ("tests/targets",),
    # Units first, because the whole folder takes minutes.
    "numerics": (
        "tests/numerics/test_heads.py",
        "tests/numerics/test_influence.py",
        "tests/numerics/test_reweighting.py",
        "tests/numerics/test_solvers.py",
        "tests/numerics",
    ),
}
# What takes longer to import than most tests to run; nothing of skclif.
PRELOADED = ("hypothesis", "matplotlib", "polars", "pyarrow", "sentence_transformers")
PRELOADED += ("sklearn.utils.estimator_checks", "sklearn.ensemble", "skops.io", "torch")
STAGES = ("not slow and not full", "slow and not full")
LONGEST = 1200  # seconds; a fault may keep a loop from ending


@dataclass(frozen=True)
class Mutant:
    """A fault.

    Attributes
    ----------
    where : str
        Folder or file of skclif that holds the old text exactly once.
    old, new : str
    breaks : str
        What no longer holds.
    tests : tuple of str
        Files or folders of tests; those of `HOMES` if there are none.
    """

    where: str
    old: str
    new: str
    breaks: str
    tests: tuple[str, ...] = ()

    @property
    def homes(self) -> tuple[str, ...]:
        """Where it has to be caught."""
        return self.tests or HOMES[self.where]

    def file(self, root: Path) -> Path:
        """Return the file that holds the old text."""
        place = root / "skclif" / self.where
        files = [place] if place.is_file() else sorted(place.rglob("*.py"))
        found = [file for file in files if self.old in file.read_text("utf-8")]
        if len(found) != 1 or found[0].read_text("utf-8").count(self.old) != 1:
            raise LookupError(f"{self.where}: not exactly once: {self.old!r}")
        return found[0]


MUTANTS = [
    Mutant(
        "_cluster",
        "before = (counts.cumsum(dim=0) - counts)[:, 1]",
        "before = counts.cumsum(dim=0)[:, 1]",
        "a sample on a cluster has the rows that it has in one process",
        ("tests/cluster/test_passes.py",),
    ),
    Mutant(
        "_cluster",
        "graph[key] = Task(key, run, *map(TaskRef, keys))\n"
        "        return self.client.get(graph, key)",
        "return run(*self.client.get(graph, keys))",
        "no row of a sample comes to the client",
        ("tests/cluster/test_influence.py",),
    ),
    Mutant(
        "_cluster",
        "found = _mapped(_plus, found, other)",
        "found = other",
        "totals of all shards are added",
        ("tests/cluster/test_passes.py",),
    ),
    Mutant(
        "_cluster",
        "bounds = pairwise(accumulate(self.lengths, initial=0))",
        "bounds = pairwise(accumulate(self.lengths, initial=1))",
        "rows of arguments in other partitions are matched by position",
        ("tests/cluster/test_fit.py",),
    ),
    Mutant(
        "_cluster",
        "weights=np.bincount(codes, weights=weights, minlength=len(distinct)),",
        "weights=np.bincount(codes, minlength=len(distinct)).astype(float),",
        "weights of labels add up over partitions",
        ("tests/cluster/test_learning.py",),
    ),
    Mutant(
        "_text",
        "if kept._fingerprint(find_model(kept.model)) != self.fingerprint:",
        "if False:",
        "workers have the model that the client has",
        ("tests/cluster/test_audit.py",),
    ),
    Mutant(
        "_explain",
        "edit.grown.values or edit.releases:",
        "edit.grown.values:",
        "weights that are let go can move, whatever was factorised before",
    ),
    Mutant(
        "numerics",
        "total += (rows.T @ rows).tril()",
        "total += rows.T @ rows",
        "Hessians on a GPU count every entry once",
        ("tests/gpu",),
    ),
    Mutant(
        "numerics",
        "lane.join(slot.sent)",
        "pass",
        "nothing is computed with rows that have not arrived",
        ("tests/numerics/test_streaming.py",),
    ),
    Mutant(
        "numerics",
        "with closing(_blocks(data, block_rows)) as blocks, full_precision():",
        "with closing(_blocks(data, block_rows)) as blocks:",
        "sums over rows are in full precision, whatever users allow",
        ("tests/numerics/test_precision.py",),
    ),
    Mutant(
        "_inputs",
        "return plain_floats(tensor).cpu().numpy()",
        "return tensor.cpu().numpy()",
        "tensors of bfloat16 are features",
        ("tests/inputs/test_tensors.py",),
    ),
    Mutant(
        "_inputs",
        "if holds_tensors(value):",
        "if False:",
        "equal tensors of a list are one group",
        ("tests/inputs/test_tensors.py",),
    ),
    Mutant(
        "_explain",
        "apart = tells_apart(target, questions[0].target, heads, features)",
        "apart = {}",
        "a folder of influence knows the groups and the function of its target",
        ("tests/explain/test_writing.py",),
    ),
    Mutant(
        "numerics",
        "factors = np.minimum(factors, MOST)",
        "factors = factors + 0",
        "no row alone stands against a shortcut",
    ),
    Mutant(
        "_annotate",
        "beyond = self._beyond[:, j]",
        "beyond = self._beyond[:, 0]",
        "a text is compared with the concept that is asked about",
    ),
    Mutant(
        "_annotate",
        "own = np.where(is_known[:, None], people, own)",
        "own = np.where(is_known[:, None], own, own)",
        "annotations of people come back as they are",
    ),
    Mutant(
        "_annotate",
        "if other != value.text:",
        "if False:",
        "a prompt stands for one value",
    ),
    Mutant(
        "_annotate",
        "if id(node) in self._seen:",
        "if False:",
        "aliases cannot make a small file large",
    ),
    Mutant(
        "_annotate",
        "(shares * log_softmax(logits, axis=1)).sum()",
        "log_softmax(logits, axis=1).sum()",
        "a head is fitted to the shares that people gave",
    ),
    Mutant(
        "_annotate",
        "mention -= RIVAL * self._unasked",
        "mention -= 0 * self._unasked",
        "with few concepts, a constant stands for the others",
    ),
    Mutant(
        "_annotate",
        "bias = np.full_like(mention, BIAS * np.sqrt(known))",
        "bias = np.full_like(mention, BIAS)",
        "one annotation does not tell how common a value is",
    ),
    Mutant(
        "_annotate",
        "offsets[:, has_prompts] += MENTION * mention",
        "offsets[:, has_prompts] -= MENTION * mention",
        "what is near a concept mentions it",
    ),
    Mutant(
        "_annotate",
        "mention = np.maximum.reduceat(beyond, starts)",
        "mention = np.add.reduceat(beyond, starts)",
        "the part that says most tells whether a concept is mentioned",
    ),
    Mutant(
        "_annotate",
        "return np.where(is_known[:, None], shares, corrected)",
        "return corrected",
        "labels do not correct what people said",
    ),
    Mutant(
        "_annotate",
        "        refuse_annotations(y, values)\n",
        "",
        "annotations in the place of labels are not forgotten",
    ),
    Mutant(
        "_annotate",
        "is_sure = own.max(axis=1) >= self.threshold",
        "is_sure = own.max(axis=1) > self.threshold",
        "a share that equals the threshold is sure",
    ),
    Mutant(
        "_annotate",
        "if len(given) < SAMPLE or (offsets",
        "if True or (offsets",
        "corrections that confirm nothing are named",
    ),
    # --- What to annotate next, several annotators -----------------------------------
    Mutant(
        "numerics",
        "other = 1 - now",
        "other = (now == 0).to(now.dtype)",
        "noise replaces a soft annotation as each of its values",
        ("tests/explain/test_annotations.py",),
    ),
    Mutant(
        "numerics",
        "return squares - mean[:, :, None] * mean[:, None]",
        "return squares",
        "noise that is drawn differs from its mean by its variance",
        ("tests/explain/test_annotations.py",),
    ),
    Mutant(
        "numerics",
        "surer = self.noise *",
        "surer = 2 * self.noise *",
        "an answer makes the model surer by half the trace",
        ("tests/numerics/test_answers.py",),
    ),
    Mutant(
        "numerics",
        "self.hat = self.hat - along @ middle @ along.mT",
        "self.hat = self.hat + 0 * along @ middle @ along.mT",
        "an answer that is given makes the next one surer",
        ("tests/numerics/test_answers.py",),
    ),
    Mutant(
        "numerics",
        "joint = prior * torch.stack(likelihoods, dim=1)",
        "joint = torch.stack(likelihoods, dim=1)",
        "an annotation is believed by text and label",
        ("tests/numerics/test_answers.py",),
    ),
    Mutant(
        "_explain",
        "damage.append(found.mean + found.spread)",
        "damage.append(found.mean)",
        "a concept's damage has a part by chance",
        ("tests/explain/test_annotations.py",),
    ),
    Mutant(
        "_explain",
        "answers[path].give(row)",
        "pass",
        "a batch holds no copies",
        ("tests/explain/test_annotations.py",),
    ),
    Mutant(
        "_explain",
        "solved = Solved.of(\n            heads, unweighted.below(training)",
        "Solved.of(\n            heads, unweighted.below(training)",
        "rows where no training row is are seen",
        ("tests/explain/test_annotations.py",),
    ),
    Mutant(
        "_inputs",
        "except AttributeError as error:  # of what is no text",
        "except LookupError as error:  # of what is no text",
        "the argument that is no list of texts is named",
        ("tests/explain/test_annotations.py",),
    ),
    Mutant(
        "_inputs",
        "if features is not X and count_rows(features) != count_rows(X):",
        "if False:",
        "a table is not taken for its names",
        ("tests/explain/test_annotations.py",),
    ),
    Mutant(
        "_inputs",
        "found[row] = best[0] if len(best) == 1 else np.nan",
        "found[row] = best[0]",
        "a tie of shares has no most probable value",
    ),
    Mutant(
        "_inputs",
        "some = missing.any(axis=1) & ~missing.all(axis=1)",
        "some = missing.all(axis=1) & False",
        "a row has all of its shares or none",
    ),
    Mutant(
        "datasets",
        '        _refuse_two_kinds(str(name), lines["value"])\n',
        "",
        "1 and '1' are not two values of one name",
        ("tests/datasets/test_aggregate.py",),
    ),
    Mutant(
        "numerics",
        "same = counts[self.texts, self.values] - 1",
        "same = counts[self.texts, self.values]",
        "an annotator does not agree with himself",
        ("tests/numerics/test_annotators.py",),
    ),
    Mutant(
        "numerics",
        "prior = np.repeat(common * first.confusions, votes.n_annotators, axis=0)",
        "prior = np.repeat(common * together, votes.n_annotators, axis=0)",
        "an annotator's matrix is shrunk to that of all",
        ("tests/numerics/test_annotators.py",),
    ),
    Mutant(
        "numerics",
        "_DROP = 3.841458820694124 / 2",
        "_DROP = 3.841458820694124",
        "the interval of a rate is that of the likelihood ratio",
        ("tests/numerics/test_rates.py",),
    ),
    Mutant(
        "_cluster",
        "found[name] = (before + difference, *earlier)",
        "found[name] = (difference, *earlier)",
        "an index in another order is told from all partitions",
        ("tests/cluster/test_fit.py",),
    ),
    Mutant(
        "_cluster",
        "if difference % _HASHES or not _is_unique(client, indexed[first], lengths):",
        "if difference % _HASHES:",
        "an index that begins anew in each partition is not looked at",
        ("tests/cluster/test_fit.py",),
    ),
    Mutant(
        "_cluster",
        "found.append((part, low - first, high - first))",
        "found.append((part, low, high))",
        "arguments in other partitions are matched by row",
        ("tests/cluster/test_fit.py",),
    ),
    Mutant(
        "_cluster",
        "yield slice(start + block.start, start + block.stop), part",
        "yield block, part",
        "a block of rows is told by its place among all rows",
        ("tests/cluster/test_passes.py",),
    ),
    Mutant(
        "_cluster",
        '    if not start:\n        return ""',
        '    if start >= 0:\n        return ""',
        "a message about a row says in which partition it is",
        ("tests/cluster/test_fit.py",),
    ),
    Mutant(
        "_text",
        "find = partial(embedder._in_one_piece, advance=advance)",
        "find = embedder._blocks",
        "a killed run continues to the bytes of a run that was not killed",
    ),
    Mutant(
        "_text",
        "if texts.state() != state:",
        "if False:",
        "vectors are not of a file that somebody writes to",
    ),
    Mutant(
        "_text",
        "if rows == self.path and record.sha256 is None:",
        "if False:",
        "a file of vectors that nobody finished is not taken for a whole one",
    ),
    # --- _storage: files, containers, cells ----------------------------------------
    Mutant(
        "_storage",
        '"pre_buffer": False',
        '"pre_buffer": True',
        "a long Parquet file is not kept in memory",
    ),
    Mutant(
        "_storage",
        "if (folder / name).is_dir():",
        "if False:",
        "a folder in the place of a file is named",
    ),
    Mutant(
        "_storage",
        'folder.glob(f".*.[0-9]*{_PART}")',
        'folder.glob("nothing")',
        "what killed processes left is swept away",
    ),
    Mutant(
        "_storage",
        "if not intact or not isinstance(about, dict):",
        "if not isinstance(about, dict):",
        "a damaged file is told by its checksum",
    ),
    Mutant(
        "_storage",
        "if found not in map(str, versions):",
        "if False:",
        "a file of another format version is refused",
    ),
    Mutant(
        "_storage",
        '(f"{name} {a.dtype.str}", a)',
        "(name, a)",
        "the checksum of a file covers the dtype of its arrays",
    ),
    Mutant(
        "_storage",
        r"\uff1d\uff0b\uff0d\uff20",
        "",
        "full-width signs begin a formula too",
    ),
    Mutant(
        "_storage",
        "columns[escape_cell(name)] = column",
        "columns[name] = column",
        "a column name is no formula",
    ),
    Mutant(
        "_storage",
        """cell[:1] == "'" and _is_formula(cell[1:])""",
        """cell[:1] == "'\"""",
        "an apostrophe that was there before stays",
    ),
    # --- _results -------------------------------------------------------------------
    Mutant(
        "_results",
        'self.group_losses["n_rows"] >= _FEWEST',
        'self.group_losses["n_rows"] >= 1',
        "the worst group of an edit is not one row",
        ("tests/explain/test_verdicts.py",),
    ),
    Mutant(
        "_explain",
        "if edit.rebalanced or old.label_weights is not None:",
        "if edit.rebalanced:",
        "later edits say what is left of a balance",
        ("tests/explain/test_verdicts.py",),
    ),
    Mutant(
        "_results",
        "return 1 if self.higher_is_better else -1",
        "return 1",
        "what raises a loss is harmful",
    ),
    Mutant(
        "_results",
        "middle = (first.shape[1] + 1) / 2",
        "middle = first.shape[1] / 2",
        "ranks are centred, so that constant rows have no correlation",
    ),
    Mutant(
        "_results",
        "(direction * parts).argmax",
        "parts.argmax",
        "the dominant path has the sign of the total",
    ),
    Mutant(
        "_results",
        "names = self._names(targets, columns)\n        frame",
        "names = columns\n        frame",
        "with top=k, columns stand for the rows that were kept",
    ),
    Mutant(
        "_results",
        "low, high = -high, -low",
        "low, high = -low, -high",
        "a list helps only if its whole interval is good",
        ("tests/results", "tests/explain/test_suggestions.py"),
    ),
    Mutant(
        "_results",
        "self.frame[columns][:k]",
        "self.frame[columns]",
        "as_edit(k) takes the first k changes",
        ("tests/results", "tests/explain/test_suggestions.py"),
    ),
    Mutant(
        "_results",
        "return all(head.converged for head in self.heads)",
        "return any(head.converged for head in self.heads)",
        "an edit has converged if every head has",
        ("tests/results", "tests/explain/test_edits.py"),
    ),
    # --- progress ----------------------------------------------------------------
    Mutant(
        "_inputs",
        "delay=max(0.0, DELAY - (time.monotonic() - self._start)),",
        "delay=DELAY,",
        "the two seconds before a bar are those of all stages",
    ),
    Mutant(
        "_models",
        "advance(n_rounds - self.n_tried)",
        "advance(0)",
        "rounds that are not needed count as done",
    ),
    Mutant(
        "_models",
        '("device", "class_weight", "verbose")',
        '("device", "class_weight")',
        "the file of a model says nothing of progress",
    ),
    # --- names of tables, and heads of many values -----------------------------------
    Mutant(
        "_inputs",
        "np.argsort(places)[codes]",
        "places[codes]",
        "codes follow the order of an ordered type",
        ("tests/explain/test_orders.py",),
    ),
    Mutant(
        "_inputs",
        "return weights[names]",
        "return weights",
        "weights of annotations find their concepts by name",
    ),
    Mutant(
        "numerics",
        "inner = _identity(len(gram), gram) - gram",
        "inner = _identity(len(gram), gram) + gram",
        "the inverse value by value is the inverse of the Hessian",
        ("tests/numerics/test_inverses.py",),
    ),
    # --- _pages -----------------------------------------------------------------------
    Mutant(
        "_pages",
        "autoescape=True",
        "autoescape=False",
        "no text of a user is HTML",
    ),
    Mutant(
        "_pages",
        "return text.translate(_ESCAPES)",
        "return text",
        "no text of a user ends the data of the scripts",
    ),
    Mutant(
        "_pages",
        'f"value:{value}" if value in alike else value',
        "value",
        "decisions name values that read like the word for none",
    ),
    Mutant(
        "_pages",
        'overall[overall["influence"] > 0]',
        'overall[overall["influence"] < 0]',
        "the page lists harmful rows",
    ),
    Mutant(
        "_pages",
        'n = len(record["forgotten"]) + len(record["held_out"])',
        'n = len(record["forgotten"])',
        "forgotten held-out rows count too",
    ),
    Mutant(
        "_pages",
        'return " ".join(text.split()) if text',
        "return text if text",
        "a reason of several lines cannot forge a line of the certificate",
    ),
    Mutant(
        "_pages",
        "space = text.rfind",
        "space = -text.rfind",
        "long texts are folded between words",
    ),
    Mutant(
        "_pages",
        'if line["id"] not in forgotten',
        'if line["id"]',
        "the trail on the page names no row that was forgotten",
    ),
    # --- _audit -----------------------------------------------------------------------
    Mutant(
        "_audit",
        "not 2 * low - high <= value <= 2 * high - low",
        "not low <= value <= high",
        "amounts near the others are not asked about",
        ("tests/audit/test_decisions.py",),
    ),
    Mutant(
        "_audit",
        "return self.is_no_better or self.n_rows >= _ENOUGH",
        "return False",
        "a model that learned nothing lists no suspects",
        ("tests/audit/test_doubts.py",),
    ),
    Mutant(
        "_audit",
        "relabel=LABEL not in nothing,",
        "relabel=True,",
        "where no label was learned, no other label is suggested",
        ("tests/audit/test_doubts.py",),
    ),
    Mutant(
        "_audit",
        'return [values[k] for k in np.argsort(numbers, kind="stable")]',
        "return sorted(values)",
        "numbers that are words are ordered by size",
        ("tests/audit/test_kinds.py",),
    ),
    Mutant(
        "_audit",
        "return known & (errors > spread)",
        "return known & (errors > 0)",
        "an amount that is nearly right is not misread",
        ("tests/pages/test_pages.py", "tests/audit/test_corrections.py"),
    ),
    Mutant(
        "_audit",
        "elif is_read is not None and not is_read[row]:",
        "elif False:",
        "no stage is named of rows that nobody read",
        ("tests/audit/test_corrections.py",),
    ),
    Mutant(
        "_explain",
        "more = min(_MORE_LABELS * expected[LABEL], as_annotations)",
        "more = as_annotations",
        "labels are read as often as they may be wrong, and a little more often",
        ("tests/explain/test_suspects.py",),
    ),
    Mutant(
        "_explain",
        "return np.where(share > 0, place / share.where(share > 0, 1.0), np.inf)",
        "return place / share.where(share > 0, 1.0)",
        "paths of which nothing is known are read last",
        ("tests/explain/test_unknown_suspects.py",),
    ),
    Mutant(
        "_results",
        'return frame[~frame["path"].isin(suspects.attrs.get(UNKNOWN, []))]',
        "return frame",
        "suspects of which nothing can be said are not listed",
        ("tests/pages/test_notebook.py",),
    ),
    Mutant(
        "_audit",
        "if is_nearer and (more < total).all():",
        "if is_nearer:",
        "the last rows of a label are trained on, whatever their group",
        ("tests/audit/test_splits.py",),
    ),
    Mutant(
        "_audit",
        "held: np.ndarray = all_times >= cut",
        "held: np.ndarray = all_times > cut",
        "rows of one time stay together",
        ("tests/audit/test_splits.py",),
    ),
    Mutant(
        "_audit",
        "_time(held_out.times.min())",
        "_time(held_out.times.max())",
        "where held-out rows begin",
        ("tests/audit/test_splits.py",),
    ),
    Mutant(
        "_audit",
        "if said != number or before != previous:",
        "if said != number:",
        "a record that does not follow the one before it shows",
    ),
    Mutant(
        "_audit",
        "same = own == _hash(record) and ",
        "same = ",
        "a record that was altered shows",
    ),
    Mutant(
        "_audit",
        "if clash:",
        "if False:",
        "content cannot overwrite what every record has",
    ),
    Mutant(
        "_audit",
        "if not _is_current(line, kind, old) and not _same(old, new):",
        "if False:",
        "a decision on a value that has changed since is refused",
    ),
    Mutant(
        "_audit",
        "if not _same(chosen.setdefault(key, change).new, change.new):",
        "chosen.setdefault(key, change)\n        if False:",
        "two accepted lines cannot contradict each other",
    ),
    Mutant(
        "_audit",
        'if not same_hash(line["text_hash"], short_hash(digest)):',
        "if False:",
        "a decision on another text is refused",
    ),
    Mutant(
        "_audit",
        "if is_right and not even_if_right:",
        "if False:",
        "a suggestion cannot replace a value that is believed right",
    ),
    Mutant(
        "_audit",
        "found.pop(_place(change), None)",
        "pass",
        "a rejection ends when its value changes",
    ),
    Mutant(
        "_audit",
        "json.dumps([digest, path, said])",
        "json.dumps([path, said])",
        "a rejection hides its values from those without the text",
    ),
    Mutant(
        "_audit",
        "harmful[total[harmful] > 0], helpful",
        "harmful, helpful",
        "culprits are rows that do harm",
    ),
    Mutant(
        "_audit",
        "order = order[kept[order]]",
        "",
        "dropped rows have no line in influence.csv",
    ),
    Mutant(
        "_audit",
        "np.where(codes[name] >= 0, found, 0.0)",
        "np.where(codes[name] > 0, found, 0.0)",
        "the probability of an annotation is that of its own value",
    ),
    Mutant(
        "_audit",
        "is_held[codes[orphaned]] = False",
        "pass",
        "every label keeps a row to train on",
    ),
    Mutant(
        "_audit",
        "if found[part] != said[part]:",
        'if part != "weights" and found[part] != said[part]:',
        "replay compares the weights of rows",
    ),
    Mutant(
        "_audit",
        "if found != value:",
        "if False:",
        "replay names the row whose label or annotation differs",
    ),
    Mutant(
        "_audit",
        "*model.concept_classes_]",
        "]",
        "the fingerprint of a model covers the values of its concepts",
    ),
    # --- _inputs ----------------------------------------------------------------------
    Mutant(
        "_inputs",
        "if length != n_samples:",
        "if length > n_samples:",
        "arguments that are too short are refused",
    ),
    Mutant(
        "_inputs",
        "if np.ma.is_masked(value):",
        "if False:",
        "masked entries are not read",
    ),
    Mutant(
        "_inputs",
        "is_date = any(dtype.is_temporal() for dtype in value.schema.dtypes())",
        "is_date = False",
        "dates are not read as numbers",
    ),
    Mutant(
        "_inputs",
        "(weights >= 1 / LARGEST) & ",
        "",
        "weights out of all proportion are refused",
    ),
    Mutant(
        "_inputs",
        "largest = max(values.max(initial=0), -values.min(initial=0))",
        "largest = values.max(initial=0)",
        "large negative features are refused",
    ),
    Mutant(
        "_inputs",
        'order=None if large else "C",',
        "order=None,",
        "features have one memory order whatever they came in",
    ),
    Mutant(
        "_inputs",
        "missing = np.flatnonzero(pd.isna(y))",
        "missing = ()",
        "a missing label is named by its row",
    ),
    Mutant(
        "_inputs",
        "if weights.shape != table.shape:",
        "if len(weights) != len(table):",
        "there is a weight for every annotation",
    ),
    Mutant(
        "_inputs",
        "if names.count(name) > 1",
        "if names.count(name) > 2",
        "concepts have different names",
    ),
    Mutant(
        "_inputs",
        "concepts = concepts.astype(concepts.dtype.newbyteorder",
        "_ = concepts.astype(concepts.dtype.newbyteorder",
        "big-endian annotations are read",
    ),
    Mutant(
        "_inputs",
        "isinstance(value, bool) == isinstance(known, bool) and ",
        "",
        "True is not the value 1",
        ("tests/inputs", "tests/explain/test_edit_errors.py"),
    ),
    Mutant(
        "_inputs",
        "(number and not number.isdigit())",
        "False",
        "the number of a device is a number",
        ("tests/inputs", "tests/models", "tests/text"),
    ),
    # --- _baselines -------------------------------------------------------------------
    Mutant(
        "_baselines",
        "np.maximum(proba[np.arange(len(y)), codes], least)",
        "np.maximum(proba.max(axis=1), least)",
        "the log-loss of a baseline is that of the true labels",
    ),
    Mutant(
        "_baselines",
        "if baseline.sees == GOLD:",
        "if False:",
        "the label from annotations sees no text",
    ),
    Mutant(
        "_baselines",
        "n_components = min(int(n_components), X.shape[1])",
        "n_components = int(n_components)",
        "there are no more components than words",
    ),
    Mutant(
        "_baselines",
        "    if seen:\n",
        "    if False:\n",
        "equal texts on both sides of a split are said",
    ),
    Mutant(
        "_baselines",
        'transformer_weights={"words": _WEIGHT}',
        "transformer_weights=None",
        "words have their weight beside vectors",
    ),
    Mutant(
        "_inputs",
        "(numbers - mean) / deviation",
        "(numbers - mean) * deviation",
        "annotations that are numbers are standardised",
    ),
    # --- _models ----------------------------------------------------------------------
    Mutant(
        "_models",
        'check_size("X_val", added)',
        'check_size("X_val", np.zeros(1))',
        "clean rows have values that can be computed with, sparse or not",
    ),
    Mutant(
        "_models",
        "counted = sample_weight > 0",
        "counted = sample_weight >= 0",
        "rows of weight 0 do not count for balanced class weights",
    ),
    Mutant(
        "_inputs",
        "counted = annotations.weights * sample_weight[:, None] > 0",
        "counted = annotations.weights > 0",
        "annotations of rows of weight 0 teach no value",
        ("tests/models/test_weights.py", "tests/inputs"),
    ),
    Mutant(
        "_models",
        "np.concatenate([-weights / 2, weights / 2])",
        "np.concatenate([weights / 2, -weights / 2])",
        "what speaks for the second of two classes speaks against the first",
    ),
    Mutant(
        "_models",
        'if model.solver == "liblinear":',
        "if False:",
        "a penalised intercept is refused",
        ("tests/models", "tests/explain"),
    ),
    Mutant(
        "_models",
        "if not ratios[worst] <= STATIONARY:",
        "if False:",
        "a frozen model away from its optimum is refused",
        ("tests/models", "tests/explain"),
    ),
    Mutant(
        "_models",
        "if array.dtype != np.float64 or not np.isfinite(array).all():",
        "if array.dtype != np.float64:",
        "parameters in a model file are finite",
    ),
    Mutant(
        "_models",
        "if len(clf.feature_names_in_) != n_features:",
        "if False:",
        "a model file has a name for every feature",
    ),
    Mutant(
        "_models",
        "if n_validation == n_samples:",
        "if False:",
        "validation rows that a search would slice are refused",
    ),
    Mutant(
        "_models",
        "if (n_tests[counted] != 1).any():",
        "if False:",
        "cv tests every row once",
    ),
    Mutant(
        "_models",
        "weights[~rows.adapted & ~rows.alone_in_class()] = 0",
        "weights[~rows.adapted] = 0",
        "without validation rows, a class that only they have keeps them",
    ),
    # --- _explain ---------------------------------------------------------------------
    Mutant(
        "_explain",
        'if method == "auto" and not isinstance(solved.inverse, Factors)',
        'if method == "auto" and isinstance(solved.inverse, str)',
        "without factors, auto has the paths of first order",
    ),
    Mutant(
        "_explain",
        'share = 1 / n_targets if reduce == "mean" else 1.0',
        "share = 1 / n_targets",
        'reduce="sum" is no mean',
    ),
    Mutant(
        "_explain",
        'order = np.argsort(-np.abs(totals), axis=1, kind="stable")[:, : self.k]',
        'order = np.argsort(-totals, axis=1, kind="stable")[:, : self.k]',
        "top keeps rows by magnitude",
        (
            "tests/explain/test_engine.py",
            "tests/explain/test_explainer.py",
            "tests/explain",
        ),
    ),
    Mutant(
        "_explain",
        "n_before = min(self.k, block.start)",
        "n_before = min(self.k, max(block.start - 1, 0))",
        "top loses no row between blocks",
        (
            "tests/explain/test_engine.py",
            "tests/explain/test_explainer.py",
            "tests/explain",
        ),
    ),
    Mutant(
        "_explain",
        "np.add.at(by_group, self.codes[block], by_row)",
        "by_group[self.codes[block]] = by_row",
        "groups are sums",
        (
            "tests/explain/test_engine.py",
            "tests/explain/test_explainer.py",
            "tests/explain",
        ),
    ),
    Mutant(
        "_explain",
        "variance = self.held_out().var(ddof=1) + self.variance_of_choice()",
        "variance = self.held_out().var(ddof=1)",
        "the interval of a list counts how far the choice depends on the rows",
        (
            "tests/numerics/test_mathematics.py",
            "tests/explain",
        ),
    ),
    Mutant(
        "_explain",
        "return effects if self.higher_is_better else -effects",
        "return -effects",
        "suggestions raise a target of which more is better",
        (
            "tests/explain/test_suggestions.py",
            "tests/explain",
        ),
    ),
    Mutant(
        "_explain",
        "if row in weighed or (path == ROW and row in changed):",
        "if row in weighed:",
        "a row whose weight changes has no other change",
        (
            "tests/explain/test_suggestions.py",
            "tests/explain",
        ),
    ),
    Mutant(
        "_explain",
        "label_weights[rows] = self._label_weights(rows, labels[rows])",
        "pass",
        "a new label has the class weight of its class",
        (
            "tests/explain/test_suggestions.py",
            "tests/explain",
        ),
    ),
    Mutant(
        "_explain",
        "both = sorted(dropped.intersection(changed))",
        "both = ()",
        "a row is not dropped and changed at once",
        (
            "tests/explain/test_edit_errors.py",
            "tests/explain",
        ),
    ),
    Mutant(
        "_explain",
        "return found, heads.schema.arrange(annotations)",
        "return found, weights",
        "added annotations have the weights that were given",
        (
            "tests/explain/test_edits.py",
            "tests/explain",
        ),
    ),
    # --- numerics ---------------------------------------------------------------------
    Mutant(
        "numerics",
        "math.sqrt(residual_C / C)",
        "math.sqrt(C / residual_C)",
        "one penalty serves activations and residual",
        ("tests/models/test_residual.py",),
    ),
    Mutant(
        "numerics",
        "kept[:, :, self.bottleneck.residual_inputs] = 0",
        "kept[:, :, self.bottleneck.residual_inputs] *= 1",
        "the label's path is split by what its residual does",
        ("tests/numerics/test_residual.py",),
    ),
    Mutant(
        "numerics",
        "+ [positions[stack.n_activations :]]",
        "+ [positions[-1:]]",
        "a dropped concept leaves the residual",
        ("tests/explain/test_residual.py",),
    ),
    Mutant(
        "numerics",
        "wrong = others - is_all * others.sum(",
        "wrong = others + is_all * others.sum(",
        "the residual of the own value is negative",
    ),
    Mutant(
        "numerics",
        "wrong = wrong - target * (1 - is_all)",
        "wrong = wrong - target",
        "a plain value beside soft ones loses its share once",
    ),
    Mutant(
        "numerics",
        "counts = shares if self.counts is None",
        "counts = None if self.counts is None",
        "a value of a soft annotation counts its share",
    ),
    Mutant(
        "_inputs",
        "n_after + len(there) + np.arange(len(before))",
        "n_after + np.arange(len(before))",
        "shares that are carried over come after those that are there",
    ),
    Mutant(
        "_inputs",
        "n_values + len(before) + np.arange(is_soft.sum())",
        "n_values + np.arange(is_soft.sum())",
        "new soft annotations leave the codes of others as they are",
    ),
    Mutant(
        "_inputs",
        "if not abs(total - 1) <= SUM_TOL:",
        "if abs(total - 1) <= -SUM_TOL:",
        "shares that do not add up to 1 are refused",
    ),
    Mutant(
        "numerics",
        "return probabilities - codes[..., None]",
        "return codes[..., None] - probabilities",
        "the residual of a number is what was predicted too much",
    ),
    Mutant(
        "numerics",
        "return trace / 2 if self.n_values == 2 else trace / self.n_scores",
        "return trace / self.n_scores",
        "the mean curvature of two values is halved",
    ),
    Mutant(
        "numerics",
        "self.per_score(self.penalties) * parameters[:, :-1]",
        "self.per_score(self.penalties) * parameters[:, -1:]",
        "the intercept is not penalised",
    ),
    Mutant(
        "numerics",
        "penalised[-1] = 0\n        self.factor",
        "self.factor",
        "the drift's regression does not penalise the constant",
    ),
    Mutant(
        "numerics",
        "identity - block_diagonal(curvature) @ hat, residual.flatten(1)",
        "identity + block_diagonal(curvature) @ hat, residual.flatten(1)",
        "leverage takes the row's own curvature out",
    ),
    Mutant(
        "numerics",
        "pulls.append(terms_removed @ self.to_label[j].T - _times(jacobian, shift))",
        "pulls.append(terms_removed @ self.to_label[j].T)",
        "a removed row's own activations pull nothing",
    ),
    Mutant(
        "numerics",
        "weights.append(share * data.label_weights)",
        "weights.append(data.label_weights)",
        "both copies of a row have its weight together",
    ),
    Mutant(
        "numerics",
        "moving.append(~given)",
        "moving.append(~nothing)",
        "true annotations do not follow the concept heads",
    ),
    Mutant(
        "numerics",
        "in range(0, columns.shape[2], len(block.data)):",
        "in range(0, len(block.data), len(block.data)):",
        "both copies of a removed row go",
        ("tests/numerics/test_newton.py",),
    ),
    Mutant(
        "numerics",
        "torch.stack(squares).sum(dim=0) * len(apart) / (len(apart) - 1)",
        "torch.stack(squares).sum(dim=0) / len(apart) ** 2",
        "estimated removals know how far they are off",
        ("tests/numerics/test_estimates.py",),
    ),
    Mutant(
        "numerics",
        "beyond += residual.transpose(0, 1) @ (moved - along).mT",
        "beyond += residual.transpose(0, 1) @ moved.mT",
        "estimated removals take to first order what is known for all rows",
        ("tests/numerics/test_estimates.py",),
    ),
    Mutant(
        "numerics",
        "own = self._own_moves(concept, term.shift(change))[:, -1]",
        "own = self._own_moves(concept, term.shift(change)).sum(dim=1)",
        "another annotation fixes only the copy that sees it",
        ("tests/numerics/test_mathematics.py",),
    ),
    Mutant(
        "numerics",
        "    weights = units[:, None] * weights\n",
        "",
        "one unit of a label's weight is left out",
        ("tests/numerics/test_mathematics.py", "tests/numerics/test_tuning.py"),
    ),
    Mutant(
        "numerics",
        "there = with_ones(held_out[block])",
        "there = copies[block, 0]",
        "a row's label is judged at activations without the row",
        ("tests/numerics/test_mathematics.py", "tests/numerics/test_tuning.py"),
    ),
    Mutant(
        "numerics",
        "for position in (best + 1, best - 1):",
        "for position in (best + 1,):",
        "the walk over penalties goes both ways",
        ("tests/numerics/test_tuning.py",),
    ),
    Mutant(
        "_models",
        'float(state["training"] == "independent")',
        'float(state["training"] == "sequential")',
        "older pickles keep their kind of training",
    ),
    Mutant(
        "_audit",
        "elif mended[row].argmax() == code:",
        "elif gold[row].argmax() == code:",
        "a mistake that corrections put right is a misread concept",
    ),
    Mutant(
        "numerics",
        "(part - label @ cross).T",
        "(part + label @ cross).T",
        "annotations move the label through the cross term",
    ),
    Mutant(
        "numerics",
        "right.flatten(0, 1) - self._through_concepts(label_adjoints)",
        "right.flatten(0, 1) + self._through_concepts(label_adjoints)",
        "without factors too, annotations move the label",
    ),
    Mutant(
        "numerics",
        "rows.eliminate_zeros()",
        "rows.sort_indices()",
        "a stored 0 is like one that is not stored",
    ),
    Mutant(
        "numerics",
        "weights[:, self.long] = parameters[:, :n_long]",
        "weights[:, self.long] = 0",
        "long columns of sparse features are coordinates of their own",
    ),
    Mutant(
        "numerics",
        "longest[sizes[longest] > _LONG * used.median()]",
        "longest[:0]",
        "long columns do not cost the digits of others",
    ),
    Mutant(
        "numerics",
        "jacobian[..., positions] += own.to(inputs.dtype)",
        "jacobian[..., positions] -= own.to(inputs.dtype)",
        "the cross term has both its parts",
    ),
    Mutant(
        "numerics",
        "effects[:, :, -1] -= effects[:, :, :-1].sum(dim=2)",
        "pass",
        "paths and interaction add up to the row",
    ),
    Mutant(
        "numerics",
        "effects = torch.where(kept, effects, 0.0)",
        "pass",
        "what is not there has no influence, to the last digit",
    ),
    Mutant(
        "numerics",
        "if undefined.any():\n        row = int",
        "if False:\n        row = int",
        "a row that is all that holds a head is refused",
    ),
    Mutant(
        "numerics",
        "other = (codes[0] != codes[1]) & (old > 0) & (new > 0)",
        "other = (codes[0] != codes[1]) & (old > 0) & (new < 0)",
        "a head with other codes is solved again",
        (
            "tests/explain/test_edits.py",
            "tests/numerics",
        ),
    ),
    Mutant(
        "_explain",
        "far = np.flatnonzero(chosen.reach > REACH)",
        "far = np.flatnonzero(chosen.reach > 1e9)",
        "changes that go far are solved again",
        ("tests/explain/test_suggestions.py",),
    ),
    Mutant(
        "numerics",
        "excess = change - (gradient - self.gradient - by_hessian)",
        "excess = change - (gradient - self.gradient)",
        "the row's own curvature is taken out of the Hessian",
        ("tests/explain/test_suggestions.py", "tests/numerics"),
    ),
    Mutant(
        "numerics",
        "added = factor - 1",
        "added = factor + 1",
        "a weight that is multiplied changes by the factor less one",
        (
            "tests/explain/test_suggestions.py",
            "tests/numerics",
        ),
    ),
    Mutant(
        "numerics",
        "_positive(log_p.exp() - rate / m, rate / m)",
        "_positive(log_p.exp(), rate / m)",
        "what wrong labels taught is taken off predictions",
        (
            "tests/explain/test_suspects.py",
            "tests/numerics",
        ),
    ),
    Mutant(
        "numerics",
        "self._share[:, group] += share",
        "self._share[:, group] += weight",
        "harm of rows that a model did not see does not count",
        ("tests/numerics/test_reweighting.py", "tests/models/test_reweighter.py"),
    ),
    Mutant(
        "numerics",
        "if own != held_out or not self._own_fold",
        "if own >= held_out or not self._own_fold",
        "every fold measures harm",
        ("tests/numerics/test_reweighting.py", "tests/models/test_reweighter.py"),
    ),
    Mutant(
        "numerics",
        "share = (weights[own] * values[own]).sum(dim=0) / of_class",
        "share = values[own].sum(dim=0) / of_class",
        "the share of a class is weighted",
        ("tests/numerics/test_reweighting.py", "tests/models/test_reweighter.py"),
    ),
    Mutant(
        "numerics",
        "right * (right >= _PROBABLY)",
        "right",
        "rows that are probably wrong lose all their weight",
        ("tests/numerics/test_reweighting.py", "tests/models/test_reweighter.py"),
    ),
    Mutant(
        "numerics",
        "if _gain([model], rate) <= 0:",
        "if rate <= 0:",
        "labels are noisy only if wrong ones make them more likely",
        ("tests/numerics/test_noise_model.py",),
    ),
    Mutant(
        "_models",
        "return loss < 0 and hits >= cast(Folds, self._folds).doubt(error)",
        "return hits >= cast(Folds, self._folds).doubt(error)",
        "held-out rows can speak against suspects",
        ("tests/models/test_reweighter.py",),
    ),
    Mutant(
        "_models",
        'return super().doubt(error) if self.is_gap else -float("inf")',
        'return -float("inf")',
        "a gap may not cost accuracy beyond doubt",
        ("tests/models/test_reweighter_targets.py",),
    ),
    Mutant(
        "numerics",
        "slopes = [self.in_probabilities(before + t * move)[1] for t in places]",
        "slopes = [self.in_probabilities(before)[1] for t in places]",
        "the derivative of a gap changes where it opens on the other side",
        ("tests/targets/test_targets.py",),
    ),
    Mutant(
        "numerics",
        "slopes[group, seen] = self.sign * slope",
        "slopes[group, seen] = slope",
        "what should rise is harmed by what lowers it",
        ("tests/models/test_reweighter_targets.py",),
    ),
    Mutant(
        "targets",
        "return replace(target, _rows=parts, _indexes=())",
        "return target",
        "groups are divided with the rows",
        ("tests/targets/test_targets.py", "tests/explain/test_set_targets.py"),
    ),
    Mutant(
        "metrics",
        "total += float(losses.mean()) / scale",
        "total += float(losses.mean())",
        "numbers are scored in units of their spread",
        ("tests/metrics/test_bottleneck_scorer.py",),
    ),
    Mutant(
        "_audit",
        "gain.mean() < NATS or not is_clear(gain)",
        "gain.mean() < NATS",
        "a gain over true annotations that chance could give is no leakage",
        ("tests/audit/test_honesty.py",),
    ),
    Mutant(
        "_explain",
        "part[:, self.solved.without_optimum[block]] = np.nan",
        "pass",
        "first order, too, gives no influence where a removal is not defined",
        ("tests/explain/test_label_heads.py",),
    ),
    Mutant(
        "_explain",
        "pieces = pieces[self.record.n_done :]",
        "pieces = pieces[self.record.n_done + 1 :]",
        "a call that was killed continues with the piece that it was at",
        ("tests/explain/test_writing.py",),
    ),
    Mutant(
        "_explain",
        "if checksum(values[one.answers, rows]) != expected:",
        "if checksum(values[one.answers, rows]) != expected and rows.start == 0:",
        "every piece of a folder is checked",
        ("tests/explain/test_writing.py",),
    ),
    Mutant(
        "_explain",
        "chosen[row, np.arange(len(row)) - first] = column",
        "chosen[row, (np.arange(len(row)) - first) // 2] = column",
        "no row of a block that is among the best is lost",
        ("tests/explain/test_influence_speed.py",),
    ),
    Mutant(
        "numerics",
        "total.addmm_(part, gradients.T)",
        "torch.mm(part, gradients.T, out=total)",
        "the influence of a whole row is the sum of its paths",
        ("tests/numerics/test_influence.py",),
    ),
    Mutant(
        "_explain",
        "np.sort(most_influential(kept, n_rows))",
        "np.sort(most_influential(kept, 1))",
        "as many top rows are confirmed as the work allows",
        ("tests/explain/test_engine.py",),
    ),
    Mutant(
        "metrics",
        "sample_weight=clean.astype(float)",
        "sample_weight=None",
        "only clean rows count in a clean score",
        ("tests/metrics/test_clean_scorer.py",),
    ),
    Mutant(
        "numerics",
        "short = trial.value > look.value + 1e-4 * length * slope + slack",
        "short = trial.value > look.value - 1e-4 * length * slope - slack",
        "near the optimum a step is taken whole",
    ),
    Mutant(
        "numerics",
        "held = self.bounded & (coordinates <= 0) & (gradient > 0)",
        "held = self.bounded & (coordinates <= 0)",
        "a bound that pulls inside is left",
        ("tests/numerics/test_ordinal.py",),
    ),
    Mutant(
        "numerics",
        "between = terms.lower[..., :-1] * ratio * (1 + ratio)",
        "between = terms.lower[..., :-1] * ratio * ratio",
        "the distance of thresholds curves the loss",
        ("tests/numerics/test_ordinal.py",),
    ),
    Mutant(
        "numerics",
        "if problems.solved.head.is_bounded:",
        "if False:",
        "a removal can let a constraint go",
        ("tests/explain/test_label_heads.py",),
    ),
    Mutant(
        "numerics",
        "share[list(reshaped)], changed[list(reshaped)] = 1, True",
        "share[list(reshaped)] = 1",
        "a concept that loses a value is solved again",
        ("tests/explain/test_label_heads.py",),
    ),
    Mutant(
        "_models",
        "return listed[::asked]",
        "return listed",
        "-1 turns the order of values round",
        ("tests/models/test_label_heads.py",),
    ),
    # --- _text ------------------------------------------------------------------------
    Mutant(
        "_text",
        'start.update(f"{len(part)}:{part}".encode())',
        "start.update(part.encode())",
        "options that run together give different keys",
    ),
    Mutant(
        "_text",
        "intact = all(_checksum(*row[:3]) == row[3] for row in rows)",
        "intact = True",
        "a damaged vector is not used",
    ),
    Mutant(
        "_text",
        "        read = self.long_text\n",
        '        read = ""\n',
        "vectors of whole texts and of their beginnings have other keys",
    ),
    Mutant(
        "_text",
        'suffixes = suffixes | {".npz"}',
        "pass",
        "other weights of the multilingual model are another model",
        ("tests/text/test_multilingual.py",),
    ),
    Mutant(
        "_text",
        "if not np.allclose(found, _BEGINS, rtol=0, atol=_ROUNDING):",
        "if False:",
        "another computation of the multilingual model is refused",
        ("tests/text/test_multilingual.py",),
    ),
    Mutant(
        "_text",
        'if dtype not in ("float32", "auto") or device not in ("cpu", "auto"):',
        'if dtype not in ("float32", "auto"):',
        "no GPU is promised to the multilingual model",
        ("tests/text/test_multilingual.py",),
    ),
    Mutant(
        "_text",
        "weights=n_tokens",
        "weights=None",
        "chunks count by their tokens",
    ),
    Mutant(
        "_text",
        'return {name: value for name, value in state.items() if name != "_loaded"}',
        "return state",
        "a stored embedder holds no model",
    ),
    Mutant(
        "_text",
        "if any(found.get(name) != digest for name, digest in expected.items()):",
        "if False:",
        "the weights of the default model are the official ones",
    ),
    Mutant(
        "_text",
        "if pickled or not weights:",
        "if not weights:",
        "pickled weights are refused",
    ),
    Mutant(
        "_text",
        "if not text.isascii():\n            _check_encodable",
        "if False:\n            _check_encodable",
        "half a character is named by its row",
    ),
    Mutant(
        "_text",
        "self._fit(self._rows[~is_own], 2, advance, n_epochs=self._n_epochs)",
        "self._fit(self._rows, 2, advance, n_epochs=self._n_epochs)",
        "vectors out of fold do not know their labels",
        ("tests/text/test_finetune.py",),
    ),
    Mutant(
        "_text",
        "of_rows: np.ndarray = parts[self._of_row]",
        "of_rows: np.ndarray = np.arange(len(self._of_row)) % n_parts",
        "equal texts are in one part",
        ("tests/text/test_finetune.py",),
    ),
    Mutant(
        "_text",
        'f"{self.trained_on} {self._digest}"',
        "self.trained_on",
        "vectors in a store are those of the learned weights",
        ("tests/text/test_finetune.py",),
    ),
    Mutant(
        "_text",
        "weights[:, 0] /= weights[:, 0].mean()",
        "weights[:, 0] = 1",
        "rows count by their weight",
        ("tests/text/test_finetune.py",),
    ),
    Mutant(
        "_text",
        "if epoch + 1 - best >= settings.patience:",
        "if False:",
        "training stops when rows held out get worse",
        ("tests/text/test_finetune.py",),
    ),
    Mutant(
        "_text",
        "return (self.model, self._options())",
        "return self.model",
        "names of features follow the layers",
        ("tests/text/test_readout.py",),
    ),
    Mutant(
        "_text",
        "return () if isinstance(values, Mapping | Set) else tuple(values)",
        "return tuple(values)",
        "layers and poolings have an order",
        ("tests/text/test_embedder.py",),
    ),
    # --- cli --------------------------------------------------------------------------
    Mutant(
        "cli",
        "if message in self.warnings:",
        "if False:",
        "a warning is said once",
    ),
    Mutant(
        "cli",
        "audit.folder.path.resolve() and path.name in TABLES:",
        "path.name in ():",
        "decisions are not written into a table that is written anew",
    ),
    Mutant(
        "cli",
        "if not result.close or not stored:",
        "if not result.close:",
        "replay fails if the model's file is not the recorded one",
    ),
    Mutant(
        "cli",
        'if options["no_text"]:',
        "if False:",
        "--no-text keeps texts out",
    ),
    Mutant(
        "cli",
        'if options["id"] is None:  #',
        "if False:  #",
        "rows of both files have different names",
    ),
    Mutant(
        "cli",
        "if not result.close or not stored:",
        "if not stored:",
        "replay fails if a record differs",
        ("tests/audit/test_replay.py",),
    ),
    Mutant(
        "_audit",
        "values.setdefault(i, {})[path] = true",
        "values.setdefault(i, {})[path] = said",
        "the truth about planted errors is the right value",
    ),
    Mutant(
        "_audit",
        'lines["decision"] = np.where(is_wrong, "accept", "reject")',
        'lines["decision"] = "accept"',
        "the reader of a demo rejects what is right",
    ),
    Mutant(
        "cli",
        "folder.begin_again()",
        "pass",
        "a second demo begins its trail again",
    ),
    Mutant(
        "cli",
        'table.to_dict("records")]\n    return "".join',
        'table[:-1].to_dict("records")]\n    return "".join',
        "every row has a line of JSON",
    ),
    # --- datasets ---------------------------------------------------------------------
    Mutant(
        "datasets",
        "return (codes + rng.integers(1, n_codes",
        "return (codes + rng.integers(0, n_codes",
        "a wrong value is another value",
    ),
    Mutant(
        "datasets",
        "_plant(annotation_noise, ~is_missing,",
        "_plant(annotation_noise, is_missing == is_missing,",
        "a missing annotation is not wrong",
    ),
    Mutant(
        "datasets",
        "if found != self.sha256:",
        "if False:",
        "only the official file is read",
    ),
    Mutant(
        "datasets",
        "np.nan if stars == _NO_MAJORITY else int(stars)",
        "0 if stars == _NO_MAJORITY else int(stars)",
        "a label without majority is missing",
    ),
    Mutant(
        "datasets",
        "if any(is_text) and any(is_other):",
        "if False:",
        "text among numbers is refused",
    ),
    Mutant(
        "datasets",
        "if all(map(_THOUSANDS.fullmatch, with_comma)):",
        "if False:",
        "a number that can be two is refused",
    ),
    Mutant(
        "datasets",
        "if all(map(is_exact, values)):",
        "if True:",
        "a code of many digits is a word in every format",
    ),
    Mutant(
        "datasets",
        "several = [value is not None and len(value) > 1 for value in values]",
        "several = [False for value in values]",
        "several values in one cell are refused",
    ),
    Mutant(
        "datasets",
        "if use in (_LABEL, _CONCEPT, _GROUP):\n            values",
        "if use in (_LABEL, _CONCEPT):\n            values",
        "groups are read",
    ),
    Mutant(
        "_storage",
        'return separator != "\\t" if layout.quoted is None else layout.quoted',
        "return True if layout.quoted is None else layout.quoted",
        "tabs separate fields as they are written",
        ("tests/datasets/test_layouts.py",),
    ),
    Mutant(
        "_storage",
        "if self.n_plain == self.n_rows:",
        "if False:",
        "an open quote that swallows rows is refused",
        ("tests/datasets/test_layouts.py",),
    ),
    Mutant(
        "_storage",
        "size > _SMALL and size > _DENSEST * compressed",
        "False",
        "what would fill the memory is refused",
        ("tests/datasets/test_layouts.py",),
    ),
    Mutant(
        "_storage",
        "if len(record) < len(pairs):",
        "if False:",
        "a name that stands twice in a JSON object is refused",
        ("tests/datasets/test_reviews.py",),
    ),
    Mutant(
        "_storage",
        'encoding = "utf-8-sig"  # skips',
        "pass  # skips",
        "a byte order mark is no part of a name",
        ("tests/datasets/test_reviews.py",),
    ),
    Mutant(
        "_storage",
        "names.count(name) > 1:\n                raise DataFileError(",
        "names.count(name) > 2:\n                raise DataFileError(",
        "a column that stands twice is refused",
        ("tests/datasets/test_reviews.py",),
    ),
    Mutant(
        "_results",
        "squares = (share**2 * (differences",
        "squares = (share * (differences",
        "a row is one draw however large its weight",
        ("tests/results/test_interventions.py",),
    ),
    Mutant(
        "_results",
        "n_rows = np.count_nonzero(weight)",
        "n_rows = len(weight)",
        "a row of weight 0 is none",
        ("tests/results/test_interventions.py",),
    ),
    Mutant(
        "_results",
        "    if amount.high < least:\n        return NO\n",
        "    if amount.value < least:\n        return NO\n",
        "a verdict claims what its whole interval holds",
        ("tests/results/test_verdicts.py",),
    ),
    # --- metrics ----------------------------------------------------------------------
    Mutant(
        "metrics",
        "    counted = concepts.notna().all(axis=1).to_numpy() & (weight > 0)\n",
        "    counted = weight > 0\n",
        "a missing annotation is no leakage",
        ("tests/metrics/test_bottleneck_report.py",),
    ),
    Mutant(
        "metrics",
        '        found["leakage", kind][chosen] = losses["gold"] - losses[kind]\n',
        '        found["leakage", kind][chosen] = losses[kind] - losses["gold"]\n',
        "leakage is positive if activations tell more",
        ("tests/metrics/test_bottleneck_report.py",),
    ),
    Mutant(
        "metrics",
        "    rows = replace(rows, predicted=rows.known_values)\n",
        "",
        "concepts are ranked given what is known already",
        ("tests/metrics/test_next_concept.py",),
    ),
    Mutant(
        "metrics",
        "outputs[counterfactual] - outputs[base]",
        "outputs[base] - outputs[counterfactual]",
        "an effect is the counterfactual minus the base",
        ("tests/metrics/test_counterfactuals.py",),
    ),
    Mutant(
        "metrics",
        "if base == other or len(concepts) != 1:",
        "if base == other or not concepts:",
        "edits of two concepts are no pair",
        ("tests/metrics/test_counterfactuals.py",),
    ),
    Mutant(
        "metrics",
        "+ 0.5 * (guess[larger] == guess[smaller])",
        "+ 1.0 * (guess[larger] == guess[smaller])",
        "equal estimates order nothing",
        ("tests/metrics/test_counterfactuals.py",),
    ),
    Mutant(
        "metrics",
        "= -np.log(np.clip(own,",
        "= np.log(np.clip(own,",
        "a loss is minus the log-probability",
    ),
    Mutant(
        "metrics",
        '("harmful", np.argsort(harm, kind="stable"))',
        '("harmful", np.argsort(-harm, kind="stable"))',
        "harmful rows go first",
    ),
    Mutant(
        "metrics",
        "np.sqrt((n - 1) / n *",
        "np.sqrt(1 / n *",
        "the jackknife interval has its width",
    ),
    Mutant(
        "metrics",
        'if not result.target.endswith("log-loss"):',
        "if False:",
        "influence on something else than the loss is refused",
    ),
    Mutant(
        "metrics",
        "if most > removable:",
        "if False:",
        "the last row of a class is not removed",
    ),
    Mutant(
        "metrics",
        "sliced = _check_method_params(X, params, rows)",
        "sliced = params",
        "metadata is sliced with the rows",
    ),
    Mutant(
        "metrics",
        "rows.known & (places < step)",
        "rows.known & (places <= step)",
        "a curve starts without corrections",
    ),
    Mutant(
        "metrics",
        "np.where(known, keys, np.inf)",
        "keys",
        "a value that is not known takes no step",
    ),
    Mutant(
        "metrics",
        "yield _places(-_scores(order, rows, proba)",
        "yield _places(_scores(order, rows, proba)",
        "the most uncertain concept is corrected first",
    ),
    Mutant(
        "metrics",
        "impacts[:, j] += chances[:, code] * divergence",
        "impacts[:, j] += divergence",
        "the change of a correction is expected over predicted values",
    ),
    Mutant(
        "metrics",
        "known=self.known & np.isin(self.names, names)",
        "known=self.known",
        "a concept that the order does not name stays as predicted",
    ),
    Mutant(
        "_annotation_tools",
        "if not is_skipped(one)",
        "if True",
        "a skipped annotation is no annotation",
    ),
    Mutant(
        "_annotation_tools",
        "values[int(np.argmax(row))] if some and not tied else None",
        "values[int(np.argmax(row))] if some else None",
        "a tie of annotators leaves no value",
    ),
    Mutant(
        "_annotation_tools",
        "rows += [{**row, WEIGHT: 1 / len(found)} for _, row in found]",
        "rows += [{**row, WEIGHT: 1.0} for _, row in found]",
        "the rows of one text weigh 1 together",
    ),
    Mutant(
        "_annotation_tools",
        'if word == data["current"]:',
        'if word == data["proposed"]:',
        "the present value rejects, another one is accepted",
    ),
    Mutant(
        "_annotation_tools",
        'if state in (None, "submitted")',
        "if True",
        "a discarded response does not count",
    ),
    Mutant(
        "_audit",
        "if len(alike) == 1:",
        "if alike:",
        "an id that a spreadsheet changed is taken only if one row can be meant",
    ),
    Mutant(
        "_audit",
        "close = [word for word in words if can_become(word, said)]",
        "close = [word for word in words if can_become(said, word)]",
        "numbers are compared as exactly as the cell says them",
    ),
    # --- concepts with one value ----------------------------------------------------
    Mutant(
        "_explain",
        "back = {row: v for row, v in values.items() if weights.get(row)}",
        "back = {}",
        "what rows without weight said comes back with their weight",
    ),
    Mutant(
        "_explain",
        "by_value[:, _places(old, new)] = weights_by_value(part, len(old))",
        "by_value[:, : len(old)] = weights_by_value(part, len(old))",
        "a value that comes first moves the weights of the others",
    ),
    Mutant(
        "_explain",
        "terms = {path: term for path, term in terms.items() if not term.is_constant}",
        "terms = dict(terms)",
        "annotations of a constant are never suspect",
    ),
    Mutant(
        "_models",
        "chosen[_constants(data)] = 1.0",
        "chosen = chosen",
        "no penalty of a constant is at an edge of what is tried",
    ),
    # --- drift ----------------------------------------------------------------------
    Mutant(
        "numerics",
        "parts.append(scores + shift - removed @ at_middle)",
        "parts.append(scores + shift)",
        "left-out scores do not tell annotations by the constant alone",
        ("tests/numerics/test_drift.py",),
    ),
    Mutant(
        "numerics",
        "columns[:, problems, rows + (first - block.rows.start)] = 0",
        "columns[:, :, rows + (first - block.rows.start)] = 0",
        "every set of rows is missing in its own problem",
    ),
    Mutant(
        "numerics",
        "return (there - back) / (2 * _SIDE) + (there + back) / (2 * _SIDE**2)",
        "return (there - back) / (2 * _SIDE) + (there + back) / _SIDE**2",
        "pairs of rows count half their product",
    ),
    Mutant(
        "numerics",
        "codes = torch.arange(len(parent.log_proba), device=data.labels.device)",
        "codes = torch.zeros(len(parent.log_proba), dtype=torch.int64)",
        "a row is removed for what it does to each label",
    ),
    Mutant(
        "numerics",
        "meat - crossed - crossed.mT + share @ all_meat @ share.mT,",
        "meat,",
        "the variance of scores is that without what parameters explain",
        ("tests/numerics/test_drift.py",),
    ),
    Mutant(
        "_explain",
        "q_value = share_reaching(size, highest)",
        "q_value = p_value",
        "q-values hold for all tests of a report together",
        ("tests/explain/test_drift.py",),
    ),
    Mutant(
        "_explain",
        "abs(shares[0] - shares[1]) <= _SAME_SHARE",
        "abs(shares[0] - shares[1]) <= 1",
        "annotations are not compared with predictions",
        ("tests/explain/test_drift.py",),
    ),
    Mutant(
        "_explain",
        "halves = _Halves(new.rows(chosen), new.rows(judged), chosen)",
        "halves = _Halves(new.rows(chosen), new.rows(chosen), chosen)",
        "remedies are judged by rows that did not choose them",
        ("tests/explain/test_drift.py",),
    ),
    Mutant(
        "_text",
        "np.where(group == len(spans), -1, group)",
        "group",
        "tokens that a model adds are no part of layers that are read",
        ("tests/text/test_words.py",),
    ),
    Mutant(
        "_explain",
        "return points[1:] - points[0], points[0]",
        "return points[1:], points[0]",
        "words keep their shares behind steps that add a constant",
        ("tests/explain/test_word_evidence.py",),
    ),
    Mutant(
        "_explain",
        "head.activation_jacobian(part)[0].numpy()",
        "head.activation_jacobian(0 * part)[0].numpy()",
        "shares of the label are the derivative at the text itself",
        ("tests/explain/test_word_evidence.py",),
    ),
    Mutant(
        "_explain",
        "if path in (None, j)",
        "if path is None or True",
        "a path is split by itself",
        ("tests/explain/test_words.py",),
    ),
    Mutant(
        "_pages",
        "return len(text) + sum(character > ",
        "return len(text) + 0 * sum(character > ",
        "browsers find marked words behind an emoji",
        ("tests/audit/test_marks.py",),
    ),
    Mutant(
        "_explain",
        "partial(copy(self)._words,",
        "partial(self._words,",
        "words of an influence are those of the model that gave it",
        ("tests/explain/test_words.py",),
    ),
    Mutant(
        "numerics",
        "curved = along @ self.bend",
        "curved = along @ (0 * self.bend)",
        "the Hessian of joint training knows that activations bend",
        ("tests/numerics/test_joint.py",),
    ),
    Mutant(
        "numerics",
        'influence[:, :, 0] -= torch.einsum("nms,ns->mn", along, through)',
        'influence[:, :, 0] += torch.einsum("nms,ns->mn", along, through)',
        "a label trains the concept heads in joint training",
        ("tests/numerics/test_joint.py",),
    ),
    Mutant(
        "_models",
        "concept_weight=float(model.concept_weight),",
        "concept_weight=1.0,",
        "concepts count by their weight in joint training",
        ("tests/models/test_joint.py",),
    ),
]


# --- Running them --------------------------------------------------------------------


def chosen(only: list[str] | None) -> list[Mutant]:
    """Return the mutants of some folders, of all if none is named."""
    unknown = set(only or ()) - HOMES.keys()
    if unknown:
        raise SystemExit(f"--only takes {', '.join(HOMES)}; not {min(unknown)!r}.")
    return [mutant for mutant in MUTANTS if not only or mutant.where in only]


def copy_tree(place: Path) -> None:
    """Copy the working tree, as it is, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)


@contextmanager
def applied(mutant: Mutant, place: Path) -> Iterator[None]:
    """Put a fault into a tree, and take it out again."""
    file = mutant.file(place)
    before = file.read_text("utf-8")
    file.write_text(before.replace(mutant.old, mutant.new), "utf-8")
    try:
        yield
    finally:
        file.write_text(before, "utf-8")


def caught_by(mutant: Mutant, place: Path, full: bool) -> str:
    """Return the test that a mutant fails, "" if it survives."""
    for stage in (*STAGES, "full") if full else STAGES:
        status, said = _pytest(place, stage, mutant.homes)
        if status in (0, 5):  # 5: there is no test of that stage
            continue
        found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", said, re.MULTILINE)
        name = found[1] if found else f"exit status {status}"
        return f"{name} (full only)" if stage == "full" else name
    return ""


def _pytest(place: Path, stage: str, homes: tuple[str, ...]) -> tuple[int, str]:
    """Run tests in a child that has what takes long to import; return what it says."""
    said = place.parent / f"{place.name}.txt"
    child = os.fork()
    if not child:
        status = 70
        try:
            signal.alarm(LONGEST)
            stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(stream, 1)
            os.dup2(stream, 2)
            os.chdir(place)
            os.environ["PYTHONPATH"] = sys.path[0] = str(place)
            # Files of one size that change within a second would pass for unchanged.
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            sys.dont_write_bytecode = True
            for name in [name for name in sys.modules if name.startswith("tests")]:
                del sys.modules[name]
            options = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
            status = pytest.main([*options, "-m", stage, *homes])
            sys.stdout.flush()
        finally:
            os._exit(int(status))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said.read_text("utf-8", "replace")


def run(mutants: list[Mutant], full: bool) -> int:
    """Print a line for every mutant; return how many survive."""
    for name in PRELOADED:
        importlib.import_module(name)
    survivors, start = 0, time.perf_counter()
    print("| folder | no longer holds | caught | seconds | by |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "tree")
        copy_tree(place)
        for mutant in mutants:
            begin = time.perf_counter()
            with applied(mutant, place):
                test = caught_by(mutant, place, full)
            said, seconds = "yes" if test else "NO", time.perf_counter() - begin
            line = (mutant.where, mutant.breaks, said, f"{seconds:.0f}", test)
            print(f"| {' | '.join(line)} |", flush=True)
            survivors += not test
    minutes = (time.perf_counter() - start) / 60
    print(f"\n{len(mutants)} mutants, {survivors} survive; {minutes:.0f} minutes.")
    return survivors


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="FOLDER", help="of skclif")
    parser.add_argument("--full", action="store_true", help="survivors to all tests")
    options = parser.parse_args()
    # As tests/conftest.py, before anything is imported.
    os.environ.setdefault("SCIPY_ARRAY_API", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if data := os.environ.get("SKCLIF_DATA"):
        os.environ["SKCLIF_DATA"] = str(Path(data).resolve())
    sys.exit(run(chosen(options.only), options.full) > 0)


if __name__ == "__main__":
    main()
