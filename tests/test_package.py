"""What the package promises as a whole: imports, layers, names."""

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import skclif

ROOT = Path(skclif.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
HEAVY = {"torch", "sentence_transformers", "transformers", "sklearn", "matplotlib"}
# Imports go one way: a module may import from its own layer and those before it.
LAYERS = [
    {"__init__", "exceptions", "_ranks", "_files", "_cells", "_containers"},
    {
        *("_results", "_metric_results", "_suggestion_results"),
        *("_edit_results", "_validation", "_display"),
    },
    {"numerics"},
    {"_sklearn", "_devices", "_checks", "_concepts", "_pipelines", "_rows"},
    {"_around"},
    {"_embedding_cache", "_embedding_models", "_embedding", "datasets"},
    {"_bottleneck"},
    {"_explainable", "_methods", "_leave_one_out", "_questions"},
    {"_suspects", "_suggestions", "_edits", "_editing"},
    {"_explainer", "_reweighting", "metrics"},
    {"_audit_data", "_fingerprints", "_model_files", "_trail"},
    {"_audit", "_revisions", "_replay", "_decisions", "_audit_folder"},
    {"report"},
    {"cli"},
]


def _loaded_by(code):
    program = (
        f"import sys; {code}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_skclif_is_cheap():
    assert not _loaded_by("import skclif") & HEAVY


@pytest.mark.parametrize(
    "name",
    ["SentenceEmbedder", "datasets", "metrics", "InfluenceResult", "EditSuggestions"],
)
def test_names_that_need_no_torch_load_none(name):
    loaded = _loaded_by(f"from skclif import {name}")
    assert not loaded & {"torch", "sentence_transformers", "transformers"}


def test_every_public_name_is_there_and_listed():
    for name in skclif.__all__:
        assert getattr(skclif, name) is not None
        assert name in dir(skclif)
    assert sorted(skclif.__all__) == skclif.__all__
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = skclif.Nothing


def test_version_is_the_installed_one():
    assert version("skclif") == skclif.__version__


def _home(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _imports(path):
    """Yield the top-level module or name of every import from skclif in a file."""
    package = path.relative_to(ROOT.parent).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1]]
            full = [*base, *(node.module.split(".") if node.module else [])]
            names = [full] if len(full) > 1 else [[*full, a.name] for a in node.names]
            yield from (parts[1] for parts in names)
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "skclif":
            yield (node.module.split(".") + ["__init__"])[1]


def _layer(home):
    return next(i for i, layer in enumerate(LAYERS) if home in layer)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    home = _home(path)
    if home == "__init__":
        return  # the lazy front door names everything
    for imported in _imports(path):
        if (home, imported) in [
            ("_results", "report"),
            ("_suggestion_results", "report"),
        ]:
            continue  # the one lazy import of presentation, in `_repr_html_`
        if not any(imported in layer for layer in LAYERS):
            imported = "__init__"  # a name such as __version__
        assert _layer(imported) <= _layer(home), f"{home} imports {imported}"


def test_numerics_know_no_scikit_learn():
    for path in (ROOT / "numerics").glob("*.py"):
        names = {
            node.module or "" if isinstance(node, ast.ImportFrom) else alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not {name.split(".")[0] for name in names} & {"sklearn", "pandas"}


def test_private_scikit_learn_has_one_door():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or node.level:
                continue
            parts = [*node.module.split("."), *(alias.name for alias in node.names)]
            if parts[0] == "sklearn" and path.name != "_sklearn.py":
                private = [part for part in parts if part.startswith("_")]
                assert not private, f"{path.name} imports {private}"
