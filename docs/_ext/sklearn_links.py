"""Links to scikit-learn's reference, by its naming scheme instead of an inventory.

An inventory would have to be downloaded at every build.
"""

from docutils import nodes

_PAGE = "https://scikit-learn.org/stable/modules/generated/{}.html"


def _link(app, env, node, content):
    name = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not name.startswith("sklearn."):
        return None
    return nodes.reference("", "", content, refuri=_PAGE.format(name), internal=False)


def setup(app):
    """Listen for references that nothing else resolves."""
    app.connect("missing-reference", _link)
    return {"parallel_read_safe": True}
