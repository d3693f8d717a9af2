"""Sphinx configuration; the build needs no network and takes warnings as errors."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import skclif  # noqa: E402

project = "skclif"
author = "The skclif developers"
copyright = f"2026, {author}"
release = version = skclif.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "changelog",
    "figures",
    "marked",
    "mathml",
    "results",
    "sklearn_links",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
nitpicky = False

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # _templates/autosummary/class.rst lists them

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "generated/gallery",
    "ignore_pattern": r"make_reviews\.py",  # a tool, not an example
    "within_subsection_order": "gallery_order.InOrderOfLearning",
    "backreferences_dir": None,
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    # Running times would make two builds differ.
    "min_reported_time": float("inf"),
    "write_computation_times": False,
    "default_thumb_file": str(Path(__file__).parent / "_static" / "overview.svg"),
}

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "skclif"
html_static_path = ["_static"]
html_css_files = ["skclif.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {
    page: [] for page in ("index", "install", "tour", "results", "changelog")
}
html_theme_options = {
    "logo": {"text": "skclif"},
    "navbar_end": ["theme-switcher"],
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": False,
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
