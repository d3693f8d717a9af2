"""Pages for people: HTML from results, everything escaped."""

from jinja2 import Environment, PackageLoader


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("skclif", "report/templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def influence_html(result, n_targets: int = 3, k: int = 5) -> str:
    """Return a short HTML view of an influence result."""
    top = result.top(k)
    tables = [
        {"target": t, "rows": top[top["target"] == t].drop(columns="target")}
        for t in range(min(n_targets, len(result.values)))
    ]
    template = _environment().get_template("influence.html")
    return template.render(summary=repr(result), tables=tables)
