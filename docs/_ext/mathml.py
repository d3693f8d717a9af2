"""Equations as MathML, which browsers show without a script from a network."""

import re

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.locale import _
from sphinx.util.math import get_node_equation_number


def to_mathml(tex, **options):
    """Return the MathML of an equation in TeX."""
    # docutils puts the index of an accented letter below it; a group keeps it beside.
    tex = re.sub(r"\\(tilde|hat|bar) (\w)(?=_)", r"{{}\\\1 \2}", tex)
    return latex2mathml.tex2mathml(tex, **options)


def _inline(translator, node):
    translator.body.append(to_mathml(node.astext()))
    raise nodes.SkipNode


def _display(translator, node):
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    if node["number"]:
        number = get_node_equation_number(translator, node)
        translator.body.append(f'<span class="eqno">({number})')
        translator.add_permalink_ref(node, _("Link to this equation"))
        translator.body.append("</span>")
    translator.body.append(to_mathml(node.astext(), as_block=True))
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app):
    """Register the renderer; `html_math_renderer` names it."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True}
