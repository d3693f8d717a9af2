"""A review with its words marked, from the shares that a benchmark wrote.

The directive ``marked-words`` shows what a notebook shows of ``explainer.evidence``.
"""

import numpy as np
import pandas as pd
from docutils import nodes
from results import _path, read_results
from sphinx.util.docutils import SphinxDirective

from skclif import WordEvidence


class MarkedWords(SphinxDirective):
    """Render ``NAME.json`` of the folder `results_dir`, a view for each concept."""

    required_arguments = 1

    def run(self):
        """Return the views as HTML."""
        found = read_results(_path(self, self.arguments[0]))
        views = [one._repr_html_() for one in evidence_of(found)]
        return [nodes.raw("", view, format="html") for view in views]


def evidence_of(found):
    """Return the results that a table of words was made of."""
    frame = pd.DataFrame(found["rows"], columns=found["columns"])
    (text,) = found["notes"]
    return [
        _result(text, concept, own)
        for concept, own in frame.groupby("concept", sort=False)
    ]


def _result(text, concept, lines):
    words = lines[lines["start"].notna()]
    special = lines.loc[lines["word"] == "(special tokens)", "share"].sum()
    bias = lines.loc[lines["word"] == "(bias)", "share"].sum()
    return WordEvidence(
        concept=concept,
        unit="log-odds",
        against="the average value",
        texts=(text,),
        values=lines["value"].to_numpy(dtype=object)[:1],
        spans=(words[["start", "stop"]].to_numpy(dtype=int),),
        shares=(words["share"].to_numpy(dtype=float),),
        special=np.array([special]),
        bias=np.array([bias]),
        scores=np.array([lines["share"].sum()]),
        read=np.array([len(text)]),
        linearised=False,
    )


def setup(app):
    """Register the directive."""
    app.add_directive("marked-words", MarkedWords)
    return {"parallel_read_safe": True}
