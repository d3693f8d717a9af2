"""Docstrings agree with signatures and follow numpydoc."""

import ast
import inspect
import re

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

import skclif
from skclif import datasets, metrics

# Not asked for: extended summaries, examples and "See Also" for every small method;
# how a lone summary line is laid out; "reviews : Bunch" as a return value.
LEFT_OUT = {"GL01", "GL08", "ES01", "EX01", "SA01", "SA04", "RT02", "YD01"}
INHERITED = {"set_output", "get_params", "set_params", "fit_transform", "score"}


def _is_ours(member):
    return getattr(member, "__module__", "").startswith("skclif")


def _public():
    for module in (skclif, datasets, metrics):
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
    "_edit_results.EditResult",
    "_replay.ReplayResult",
    "_results.InfluenceResult",
    "_metric_results.LinearDatamodelingScore",
    "_metric_results.RemovalCurve",
    "_suggestion_results.EditSuggestions",
    "_validation.ValidationResult",
):
    PUBLIC.pop(f"skclif.{result}")


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
