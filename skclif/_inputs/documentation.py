"""Where the documentation of this version is, for links from diagrams of estimators."""

from __future__ import annotations

import os
from urllib.parse import quote

from .._version import __version__

# The pages are not published yet, and a link that leads nowhere is worse than none.
# Once they are: the address of their root, with {version} for "0.1" or "dev".
PUBLISHED: str | None = None
VARIABLE = "SKCLIF_DOCS"
_SCHEMES = ("https://", "http://", "file://")


class DocumentedMixin:
    """An estimator whose box in a diagram links to its page, if there is one."""

    _doc_link_module = "skclif"
    _doc_link_template = "{address}"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"address": page_of(type(self).__name__)}


def page_of(name: str) -> str:
    """Return the address of the page of a public name; empty if nobody said where.

    Raises
    ------
    ValueError
        If the environment variable names no address.
    """
    root = os.environ.get(VARIABLE) or PUBLISHED
    if not root:
        return ""
    if not root.startswith(_SCHEMES):
        raise ValueError(
            f"{VARIABLE}={root!r} must be the address of the root of skclif's "
            "documentation, which begins with https://, http:// or file://. Set the "
            "environment variable to such an address, or leave it empty for diagrams "
            "without links."
        )
    root = root.rstrip("/").replace("{version}", _version_in_address())
    # scikit-learn writes the address into an attribute as it is.
    return f"{quote(root, safe=':/?&=@%~+,;')}/generated/skclif.{name}.html"


def _version_in_address() -> str:
    if ".dev" in __version__:
        return "dev"
    return ".".join(__version__.split(".")[:2])
