"""Files of prompts: what is read, what is refused and at which line."""

import json

import pytest

from skclif import read_prompts, write_prompts
from skclif._annotate import prompts as module
from skclif._annotate.prompts import check_prompts
from skclif.exceptions import DataFileError

CONCEPTS = {
    "food": {"good": ["It was tasty."], "bad": ["It was: bland # so"], "unknown": []},
    "no": {"1": ["yes"], "null": ["Ünïcode 😀", "'quoted' \"twice\""]},
}


@pytest.fixture
def write(tmp_path):
    def write(content, name="concepts.yaml"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "a.json"])
def test_what_is_written_is_read(tmp_path, name):
    write_prompts(tmp_path / name, CONCEPTS)
    assert read_prompts(tmp_path / name) == CONCEPTS


def test_written_files_say_what_they_say_to_others(tmp_path):
    write_prompts(tmp_path / "a.json", CONCEPTS)
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == CONCEPTS


def test_people_may_write_one_prompt_or_none(write):
    path = write("no:\n  yes: It was.\n  1: [2020-01-01, 3.5]\n  not said:\n")
    expected = {"no": {"yes": ["It was."], "1": ["2020-01-01", "3.5"], "not said": []}}
    assert read_prompts(path) == expected


def test_a_byte_order_mark_and_tabs_in_json_are_read(write):
    text = '\ufeff{"a": {"x": "b",\n\t\t"y": ["c\\ud83d\\ude00 \\/"]}}'
    found = read_prompts(write(text, "a.json"))
    assert found == {"a": {"x": ["b"], "y": ["c😀 /"]}}


Y = "\n  y: c"
REFUSED = {
    "empty": ("", r"concepts.yaml has no concepts"),
    "a list": (
        "- a",
        r"line 1: the file is a list and must hold concepts, .* three levels",
    ),
    "values in a list": ("a: [b]", r"line 1: concept 'a' is a list and must hold v"),
    "values without a concept": (
        "x: [b]\ny: [c]",
        r"line 1: concept 'x' is a list .*\"food\"",
    ),
    "another file": (
        f"id,text,label {'word ' * 99}",
        r"line 1: the file is 'id,text,labe.*word' and must hold concepts",
    ),
    "a prompt without a value": ("a: b", r"line 1: concept 'a' is 'b' and must hold v"),
    "one value": ("a:\n  x: b", r"line 1: concept 'a' has 1 value, and needs two"),
    "a concept twice": (
        f"a:\n  x: b{Y}\na:\n  x: b{Y}",
        r"line 4: the concept 'a' is there already, at .*line 1",
    ),
    "a value twice": (
        "a:\n  x: b\n  x: c",
        r"line 3: the value 'x' of concept 'a' is there already, at .*line 2",
    ),
    "a prompt of two values": (
        "a:\n  x: b\n  y: b",
        r"line 3: the prompt 'b' stands for 'y' and, at .*line 2, for 'x'",
    ),
    "two silent values": ("a:\n  x:\n  y: []", r"line 3: of concept 'a', 'x' and 'y'"),
    "no word": ("a:\n  x: '...'" + Y, r"line 2: the prompt '...' of 'x' has no word"),
    "half a character": ('a:\n  x: "w \\ud83d"' + Y, None),
    "a reserved name": (f"label:\n  x: b{Y}", r"line 1: .* 'label' is reserved"),
    "an equals sign": (f"a=b:\n  x: b{Y}", r"line 1: .* 'a=b' has '=' in it"),
    "a blank": (f"' a':\n  x: b{Y}", r"line 1: the concept ' a' begins .* Write 'a'"),
    "an empty name": (f"'':\n  x: b{Y}", r"line 1: the concept '' is empty"),
    "capitals": (
        "a:\n  x: b\n  X: c",
        r"line 3: the value 'X' of concept 'a' differs from 'x', at .*line 2",
    ),
    "a colon": ("a:\n  x: b: c" + Y, r"line 2 has a ': ' where .* into quotes"),
    "a colon in a list": ("a:\n  x:\n  - b: c" + Y, r"line 3: .* is a mapping"),
    "an empty prompt": (
        "a:\n  x: [~]" + Y,
        r"line 2: a prompt of 'x' is ~, which is YAML's",
    ),
    "a name null": ("a:\n  null: b" + Y, r"line 2: a name in .* is null, .* in quotes"),
    "an object": (
        "a:\n  x: !!python/object:os.system b" + Y,
        r"line 2: the prompt of 'x' is 'b' of the type 'tag:yaml.*os.system', and must",
    ),
    "a merge": ("a:\n  <<: {x: b}" + Y, r"line 2: a name in concept 'a' is '<<'"),
    "an alias": ("a: &q\n  x: b\n  y: c\nd: *q", r"used again by '\*'"),
    "no UTF-8": (b"a:\n  x: \xff", r"line 2 is not UTF-8"),
    "a bell": ("a:\n  x: b\x07", r"line 2 has a character .*\(#x0007\)"),
    "a tab": ("a:\n\tx: b", r"line 2 is indented with a tab. Indent with blanks"),
    "a bracket": ("a:\n  x: [b\n  y: [c]", r"line 2: a bracket or a quote .*line 3\)"),
    "two documents": ("a:\n  x: b\n---\nb: 1", r"line 3 begins a second document"),
    "too deep": ("[\n" * 1000, r"has lists inside of lists without end"),
}
REFUSED_JSON = {
    "not JSON": ('{"a":\n,}', r"line 2 is not JSON: Expecting value"),
    "a name twice": ('{"a": {"x": "b",\n"x": "c"}}', r"line 2: .* at .*line 1"),
    "YAML": ("a:\n  x: b" + Y, r"line 1 is not JSON"),
    "too deep": ("[\n" * 100_000, r"has lists inside of lists without end"),
}
CASES = [("concepts.yaml", *case) for case in REFUSED.values()]
CASES += [("concepts.json", *case) for case in REFUSED_JSON.values()]


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [case for case in CASES if case[2]],
    ids=[key for key in [*REFUSED, *REFUSED_JSON] if key != "half a character"],
)
def test_what_is_refused_names_the_line(write, name, content, match):
    path = write(content, name)
    with pytest.raises(DataFileError, match=match) as caught:
        read_prompts(path)
    assert str(path) in str(caught.value)


def test_half_a_character_cannot_come_in(write):
    found = read_prompts(write(REFUSED["half a character"][0]))
    assert found["a"]["x"] == ["w \ufffd"]
    with pytest.raises(ValueError, match="half a character"):
        check_prompts({"a": {"x": "w \ud83d", "y": "c"}})


def test_other_files_are_refused(write, tmp_path, monkeypatch):
    with pytest.raises(DataFileError, match="cannot be read: No such file"):
        read_prompts(tmp_path / "none.yaml")
    with pytest.raises(DataFileError, match="cannot be read: Is a directory"):
        read_prompts(tmp_path)
    with pytest.raises(DataFileError, match="is larger than 1 MB"):
        read_prompts(write("#" * 1_000_001))
    monkeypatch.setattr(module, "MOST_PROMPTS", 3)
    with pytest.raises(DataFileError, match="has 4 prompts, and 3 are the most"):
        read_prompts(write("a:\n  x: [b, c]\n  y: [d, e]"))


@pytest.mark.parametrize("path", [3, None, CONCEPTS])
def test_what_is_no_path_is_refused(path):
    for call in (read_prompts, lambda path: write_prompts(path, CONCEPTS)):
        with pytest.raises(TypeError, match="path must be a str or a path such as"):
            call(path)


def test_a_file_is_whole_or_as_before(tmp_path):
    path = tmp_path / "a.yaml"
    write_prompts(path, CONCEPTS)
    with pytest.raises(ValueError, match="must end in .yaml, .yml or .json"):
        write_prompts(tmp_path / "a.txt", CONCEPTS)
    with pytest.raises(ValueError, match="has 1 value"):
        write_prompts(path, {"a": {"x": "b"}})
    assert read_prompts(path) == CONCEPTS
    with pytest.raises(FileNotFoundError, match="Make it first"):
        write_prompts(tmp_path / "none" / "a.yaml", CONCEPTS)


@pytest.mark.parametrize(
    ("concepts", "error", "match"),
    [
        ("a.yaml", TypeError, "got str. Read a file with skclif.read_prompts"),
        ([("a", {})], TypeError, "concepts must be a mapping of concepts"),
        ({"a": ["b"]}, TypeError, r"concepts\['a'\] must be a mapping of values"),
        ({"a": {"x": 3, "y": "c"}}, TypeError, r"\['x'\] must be a prompt or a list"),
        ({"a": {"x": b"c", "y": "c"}}, TypeError, "must be a prompt or a list"),
        ({"a": {"x": [3], "y": "c"}}, TypeError, r"A prompt in concepts\['a'\]\['x'\]"),
        (
            {"a": {1: "b", 2: "c"}},
            TypeError,
            r"A value in concepts\['a'\] must be a st",
        ),
        ({1: {"x": "b", "y": "c"}}, TypeError, "The name of a concept in concepts"),
        ({}, ValueError, "concepts has no concepts; give one or more"),
        ({"a": {"x": "b", "y": ""}}, ValueError, r"\['y'\]\[0\]: the prompt '' of 'y'"),
        ({"a": {"x": [], "y": None}}, ValueError, "'x' and 'y' have no prompts"),
    ],
)
def test_concepts_in_python_are_checked(concepts, error, match):
    with pytest.raises(error, match=match):
        check_prompts(concepts)


def test_tuples_and_single_prompts_become_lists():
    found = check_prompts({"a": {"x": ("b", "d"), "y": "c", "z": None}})
    assert found == {"a": {"x": ["b", "d"], "y": ["c"], "z": []}}
