"""Docstrings agree with signatures and follow numpydoc."""

import ast
import doctest
import inspect
import io
import re
from importlib import import_module

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

import skclif
from skclif import datasets, metrics, targets

# Not asked for: extended summaries, examples and "See Also" for every small method;
# how a lone summary line is laid out; "reviews : Bunch" as a return value.
LEFT_OUT = {"GL01", "GL08", "ES01", "EX01", "SA01", "SA04", "RT02", "YD01"}
INHERITED = {"set_output", "get_params", "set_params", "fit_transform", "score"}


def _is_ours(member):
    return getattr(member, "__module__", "").startswith("skclif")


def _public():
    for module in (skclif, datasets, metrics, targets):
        for name in module.__all__:
            thing = getattr(module, name)
            if not inspect.isclass(thing) and not inspect.isfunction(thing):
                continue
            path = f"{thing.__module__}.{name}"
            yield path, thing
            if not inspect.isclass(thing):
                continue
            for method, member in inspect.getmembers(thing):
                if method.startswith("_") or method in INHERITED:
                    continue
                if inspect.isfunction(member) and _is_ours(member):
                    yield f"{path}.{method}", member


PUBLIC = dict(_public())
# Nobody constructs a result: its fields are documented as attributes.
for result in (
    "AnnotationSuggestions",
    "AuditReport",
    "BaselineComparison",
    "ConceptContributions",
    "DriftReport",
    "EditComparison",
    "EditResult",
    "EditSuggestions",
    "FlipSet",
    "InfluenceResult",
    "ReplayResult",
    "ValidationResult",
    "WordEvidence",
    "metrics.BottleneckReport",
    "metrics.ConceptEffects",
    "metrics.InterventionCurve",
    "metrics.LinearDatamodelingScore",
    "metrics.RemovalCurve",
    "targets.Target",
):
    PUBLIC.pop(f"skclif.{result}")


@pytest.mark.parametrize("path", PUBLIC)
def test_public_things_name_where_users_import_them_from(path):
    *module, name = path.split(".")
    doors = ("skclif", "datasets", "metrics", "targets")
    if inspect.isclass(PUBLIC[path]) or module[-1] in doors:
        assert getattr(import_module(".".join(module)), name) is PUBLIC[path]


@pytest.mark.parametrize("path", PUBLIC)
def test_examples_run(path):
    # pytest looks for examples where a thing says that it comes from, and where it is
    # written: public things are in neither place at once.
    thing = PUBLIC[path]
    (example,) = doctest.DocTestFinder(recurse=False).find(thing, path, module=False)
    said = io.StringIO()
    failed, _ = doctest.DocTestRunner().run(example, out=said.write)
    assert not failed, said.getvalue()


@pytest.mark.parametrize("path", PUBLIC)
def test_numpydoc_finds_nothing(path):
    found = [(c, m) for c, m in validate(path)["errors"] if c not in LEFT_OUT]
    assert not found


@pytest.mark.parametrize("path", PUBLIC)
def test_documented_defaults_are_the_signatures(path):
    thing = PUBLIC[path]
    documented = {
        p.name: p.type for p in NumpyDocString(inspect.getdoc(thing))["Parameters"]
    }
    for name, parameter in inspect.signature(thing).parameters.items():
        if name == "self" or parameter.default is inspect.Parameter.empty:
            continue
        assert name in documented
        if documented[name] == "None":
            continue  # ignored, and there for scikit-learn's signature only
        (given,) = re.findall(r"default=(.+)$", documented[name])
        assert ast.literal_eval(given) == parameter.default, name


@pytest.mark.parametrize(
    "path", [p for p, thing in PUBLIC.items() if inspect.isclass(thing)]
)
def test_classes_have_an_example(path):
    assert "Examples" in inspect.getdoc(PUBLIC[path])
