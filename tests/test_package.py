"""What the package promises as a whole: imports, layers, names."""

import ast
import pickle
import pickletools
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import skclif

ROOT = Path(skclif.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
HEAVY = {"torch", "sentence_transformers", "transformers", "sklearn", "matplotlib"}
# Imports go down this list only: a folder imports from itself and what is below it.
# Folder = layer; `metrics`, `targets` and `datasets` are public doors, `exceptions` is
# for all.
LAYERS = [
    *(
        "__init__",
        "cli",
        "_pages",
        "_audit",
        "_baselines",
        "_explain",
        "metrics",
        "_models",
        "targets",
    ),
    *(
        "_annotate",
        "_text",
        "datasets",
        "_annotation_tools",
        "_cluster",
        "_inputs",
        "numerics",
        "_results",
    ),
    *("_storage", "exceptions", "_version"),
]
# Presentation is the one import that goes up, and only inside of a function.
PRESENTED = {"_results", "_explain"}
PUBLIC_FOLDERS = {"datasets", "metrics", "targets"}  # with private files


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
    [
        *("SentenceEmbedder, ConceptEncoder", "datasets", "metrics", "targets"),
        *("InfluenceResult", "EditSuggestions", "AnnotationSuggestions"),
        *("compare_baselines", "make_text_pipeline"),
    ],
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


@pytest.mark.parametrize("name", skclif._PARTS)
def test_parts_of_results_name_where_pickles_find_them(name):
    part = getattr(skclif, name)
    assert (part.__module__, part.__qualname__) == ("skclif", name)


def test_pickles_name_no_private_module():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), np.arange(30) % 2
    explainer = skclif.ConceptInfluenceExplainer(skclif.ConceptBottleneckClassifier())
    explainer.fit(X, y)
    step = skclif.ReplayStep(1, "fit", True, True)
    results = [
        explainer,
        explainer.influence(X, y),
        explainer.validate(X, y, n_rows=2, n_paths=0, random_state=0),
        explainer.edit(drop=[1]),
        explainer.suggest_edits(X, y, random_state=0),
        skclif.InfluenceReweighter(LogisticRegression(), strength=0).fit(X, y),
        skclif.SentenceEmbedder(),
        explainer.suspect_labels(),
        explainer.report(X, y, random_state=0),
        skclif.ReplayResult((step,), None),
    ]
    for result in results:
        pickled = pickle.dumps(result)
        assert pickle.loads(pickled) is not None
        modules = {
            words.split(" ")[0]
            for opcode, words, _ in pickletools.genops(pickle.dumps(result, protocol=2))
            if opcode.name == "GLOBAL"
        }
        ours = {m for m in modules if m.split(".")[0] == "skclif"}
        assert ours == {"skclif"}, ours


def test_version_is_the_installed_one():
    assert version("skclif") == skclif.__version__


def _home(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _dotted(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _targets(path):
    """Yield (module, name) of every import from skclif in a file."""
    package = path.relative_to(ROOT.parent).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        base = package[: len(package) - node.level + 1] if node.level else ()
        module = ".".join([*base, *(node.module.split(".") if node.module else [])])
        if module.split(".")[0] == "skclif":
            yield from ((module, alias.name) for alias in node.names)


def _imports(path):
    """Yield the layer of every import from skclif in a file."""
    for module, name in _targets(path):
        parts = [*module.split("."), name]
        yield parts[1] if parts[1] in LAYERS else "__init__"


def _modules(path):
    """Yield the module of every import from skclif in a file, its own doors aside."""
    known = {_dotted(source) for source in SOURCES}
    for module, name in _targets(path):
        found = f"{module}.{name}" if f"{module}.{name}" in known else module
        lazy = _home(path) in PRESENTED and found.startswith("skclif._pages")
        if found != "skclif" and found != _dotted(path) and not lazy:
            yield found


def test_every_folder_is_a_layer():
    homes = {_home(path) for path in SOURCES}
    assert homes == set(LAYERS)
    folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert folders == {home for home in homes if (ROOT / home).is_dir()}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    home = _home(path)
    if home == "__init__":
        return  # the lazy front door names everything
    for imported in _imports(path):
        if home in PRESENTED and imported == "_pages":
            continue  # inside of `_repr_html_` and `report`; see the next test
        assert LAYERS.index(imported) >= LAYERS.index(home), f"{home}: {imported}"


@pytest.mark.parametrize("home", sorted(PRESENTED))
def test_presentation_is_imported_when_it_is_asked_for(home):
    found = []
    for path in (ROOT / home).rglob("*.py"):
        top = ast.parse(path.read_text()).body
        imports = [node for node in top if isinstance(node, ast.ImportFrom)]
        assert not [node for node in imports if "_pages" in (node.module or "")]
        found += [m for m, _ in _targets(path) if m.startswith("skclif._pages")]
    assert found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_private_folders_hold_plain_names(path):
    *folders, name = path.relative_to(ROOT).parts
    if folders and folders[0] not in PUBLIC_FOLDERS:
        assert name == "__init__.py" or not name.startswith("_")


def test_no_module_imports_itself_in_a_circle():
    graph = {_dotted(path): set(_modules(path)) for path in SOURCES}
    done: set[str] = set()

    def visit(module, above):
        assert module not in above, " -> ".join([*above, module])
        if module not in done:
            for other in graph[module]:
                visit(other, [*above, module])
            done.add(module)

    for module in graph.keys() - {"skclif"}:
        visit(module, [])


def test_numerics_know_no_scikit_learn():
    for path in (ROOT / "numerics").rglob("*.py"):
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
            if parts[0] == "sklearn" and path.name != "sklearn.py":
                private = [part for part in parts if part.startswith("_")]
                assert not private, f"{path.name} imports {private}"
