"""Concepts as people write them down: values with prompts, in Python or in a file."""

from __future__ import annotations

import json
import os
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._inputs.concept_tables import RESERVED_NAMES
from .._results.words import how_many
from .._storage.files import write_whole
from ..exceptions import DataFileError

if TYPE_CHECKING:
    import yaml

__all__ = ["read_prompts", "write_prompts"]

Prompts = dict[str, dict[str, list[str]]]

MOST_BYTES = 1_000_000
MOST_PROMPTS = 10_000
_HAS_WORD = re.compile(r"\w")
_PLAIN = re.compile(r"tag:yaml\.org,2002:(str|int|float|bool|timestamp|value)")
_NULL = "tag:yaml.org,2002:null"
_QUOTES = "Put a text with ': ', ' #' or a special first character into quotes."
_LEVELS = "A file of prompts has three levels: concepts, their values, and prompts."
_EXAMPLE = (
    'for example {"food": {"Positive": ["The food was delicious."], '
    '"Negative": ["The food was bad."], "unknown": []}}'
)


@dataclass(frozen=True)
class _Entry:
    """A name or a prompt, where it is written, and what belongs to it."""

    text: str
    place: str
    items: tuple[_Entry, ...] = ()


def read_prompts(path: str | os.PathLike[str]) -> Prompts:
    r"""Read concepts with their values and prompts from a YAML or JSON file.

    Parameters
    ----------
    path : str or path-like
        The file, in UTF-8. It is JSON if its name ends in ``.json``, and YAML
        otherwise. Concepts hold values, and values hold a prompt or a list of prompts.
        What is written is taken as text, also ``no`` and ``1``.

    Returns
    -------
    concepts : dict of str to dict of str to list of str
        The prompts of each value of each concept, in the order of the file.

    Raises
    ------
    DataFileError
        If the file cannot be read, is not of this form, or is larger than 1 MB. The
        message names the line.

    See Also
    --------
    write_prompts : Write such a file.
    ConceptAnnotator : Annotate texts by prompts.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from skclif import read_prompts
    >>> lines = [
    ...     "food:",
    ...     "  good: [The food was delicious., We loved the soup.]",
    ...     "  bad: The food was terrible.",
    ...     "  not mentioned:",
    ... ]
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "concepts.yaml"
    ...     _ = path.write_text("\n".join(lines))
    ...     concepts = read_prompts(path)
    >>> list(concepts["food"])
    ['good', 'bad', 'not mentioned']
    """
    return read_with_content(_checked_path(path))[0]


def read_with_content(path: Path) -> tuple[Prompts, bytes]:
    """Return what `read_prompts` returns, and the bytes that it was read from."""
    path = path.expanduser()
    content = _content(path)
    entries = _Tree(path).entries(_compose(path, _decoded(path, content)))
    try:
        return _checked(entries, str(path)), content
    except (TypeError, ValueError) as error:
        raise DataFileError(str(error)) from error


def write_prompts(
    path: str | os.PathLike[str], concepts: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write concepts with their values and prompts as a YAML or JSON file.

    The file is whole or as before. :func:`read_prompts` returns the same concepts.

    Parameters
    ----------
    path : str or path-like
        The file: JSON if its name ends in ``.json``, YAML if it ends in ``.yaml`` or
        ``.yml``.
    concepts : mapping of str to mapping of str to str or list of str
        The prompts of each value of each concept.

    Raises
    ------
    TypeError, ValueError
        If concepts are not of this form, or the name of the file has another ending.
    OSError
        If the file cannot be written.

    See Also
    --------
    read_prompts : Read such a file.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from skclif import write_prompts
    >>> concepts = {"noise": {"loud": "It was loud.", "quiet": "It was quiet."}}
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "concepts.yaml"
    ...     write_prompts(path, concepts)
    ...     print(path.read_text())
    noise:
      loud:
      - It was loud.
      quiet:
      - It was quiet.
    <BLANKLINE>
    """
    path, checked = _checked_path(path).expanduser(), check_prompts(concepts)
    if path.suffix == ".json":
        text = json.dumps(checked, indent=2, ensure_ascii=False) + "\n"
    elif path.suffix in (".yaml", ".yml"):
        import yaml

        text = yaml.safe_dump(checked, sort_keys=False, allow_unicode=True, width=88)
    else:
        raise ValueError(
            f"path={str(path)!r} must end in .yaml, .yml or .json, which says how the "
            "file is written."
        )
    write_whole(path, text.encode())


def _checked_path(path: Any) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            "path must be a str or a path such as 'concepts.yaml', got "
            f"{type(path).__name__}."
        )
    return Path(path)


def check_prompts(concepts: Any) -> Prompts:
    """Return the argument `concepts` as plain dicts and lists.

    Raises
    ------
    TypeError, ValueError
        If it is not a mapping of concepts to mappings of values to prompts, or breaks a
        rule. The message names the concept and the value.
    """
    _need_mapping(concepts, "concepts", "concepts to their values")
    entries = []
    for name, values in concepts.items():
        place = f"concepts[{name!r}]"
        _need_text(name, "The name of a concept", "concepts")
        _need_mapping(values, place, "values to prompts")
        found = []
        for value, prompts in values.items():
            own = f"{place}[{value!r}]"
            _need_text(value, "A value", place)
            found.append(_Entry(value, own, tuple(_prompts(prompts, own))))
        entries.append(_Entry(name, place, tuple(found)))
    return _checked(entries, "concepts")


def _prompts(prompts: Any, place: str) -> Iterator[_Entry]:
    if prompts is None:
        return
    if isinstance(prompts, str):
        prompts = [prompts]
    if not isinstance(prompts, Sequence) or isinstance(prompts, bytes):
        raise TypeError(
            f"{place} must be a prompt or a list of prompts, got "
            f"{type(prompts).__name__}."
        )
    for i, prompt in enumerate(prompts):
        _need_text(prompt, "A prompt", place)
        yield _Entry(prompt, f"{place}[{i}]")


def _need_mapping(given: Any, place: str, what: str) -> None:
    if not isinstance(given, Mapping):
        advice = " Read a file with skclif.read_prompts." * isinstance(
            given, str | os.PathLike
        )
        raise TypeError(
            f"{place} must be a mapping of {what}, {_EXAMPLE}; got "
            f"{type(given).__name__}.{advice}"
        )


def _need_text(given: Any, what: str, place: str) -> None:
    if not isinstance(given, str):
        raise TypeError(
            f"{what} in {place} must be a string, got {given!r} of type "
            f"{type(given).__name__}. Write it in quotes."
        )


# --- Rules, for Python and for files --------------------------------------------------


def _checked(concepts: Sequence[_Entry], source: str) -> Prompts:
    if not concepts:
        raise ValueError(f"{source} has no concepts; give one or more, {_EXAMPLE}.")
    n_prompts = sum(len(value.items) for one in concepts for value in one.items)
    if n_prompts > MOST_PROMPTS:
        raise ValueError(
            f"{source} has {n_prompts} prompts, and {MOST_PROMPTS} are the most. A few "
            "short ones for each value are enough."
        )
    _check_names(concepts, "concept")
    for concept in concepts:
        _check_concept(concept)
    return {
        concept.text: {
            value.text: [prompt.text for prompt in value.items]
            for value in concept.items
        }
        for concept in concepts
    }


def _check_concept(concept: _Entry) -> None:
    if concept.text in RESERVED_NAMES or "=" in concept.text:
        why = "has '=' in it, which ends the name in 'concept=value'"
        if concept.text in RESERVED_NAMES:
            why = "is reserved for a path of influence"
        raise ValueError(
            f"{concept.place}: the name of the concept {concept.text!r} {why}. Use "
            "another name."
        )
    if len(concept.items) < 2:
        raise ValueError(
            f"{concept.place}: concept {concept.text!r} has "
            f"{how_many(len(concept.items), 'value')}, and needs two or more. Add what "
            "else it can be; a value without prompts stands for 'not mentioned'."
        )
    _check_names(concept.items, "value", f" of concept {concept.text!r}")
    silent = [value for value in concept.items if not value.items]
    if len(silent) > 1 or len(silent) == len(concept.items):
        raise ValueError(
            f"{silent[1].place}: of concept {concept.text!r}, {silent[0].text!r} and "
            f"{silent[1].text!r} have no prompts. One value of a concept may have "
            "none: it is what no prompt of the others matches."
        )
    seen: dict[str, tuple[str, str]] = {}
    for value in concept.items:
        for prompt in value.items:
            _check_prompt(prompt, value.text, concept.text)
            other, place = seen.setdefault(prompt.text, (value.text, prompt.place))
            if other != value.text:
                raise ValueError(
                    f"{prompt.place}: the prompt {prompt.text!r} stands for "
                    f"{value.text!r} and, at {place}, for {other!r}. Let it stand for "
                    f"one value of concept {concept.text!r}."
                )


def _check_prompt(prompt: _Entry, value: str, concept: str) -> None:
    if not _HAS_WORD.search(prompt.text):
        raise ValueError(
            f"{prompt.place}: the prompt {prompt.text!r} of {value!r} has no word in "
            "it. Write what a text would say, or leave the list of prompts empty: one "
            f"value of concept {concept!r} may be what no prompt matches."
        )
    if any("\ud800" <= character <= "\udfff" for character in prompt.text):
        raise ValueError(
            f"{prompt.place}: the prompt {prompt.text!a} has half a character in it. "
            "Write it again."
        )


def _check_names(entries: Sequence[_Entry], what: str, of: str = "") -> None:
    seen: dict[str, _Entry] = {}
    for entry in entries:
        named = f"{entry.place}: the {what} {entry.text!r}{of}"
        if not entry.text.strip():
            raise ValueError(f"{named} is empty. Give it a name.")
        if entry.text != entry.text.strip():
            raise ValueError(
                f"{named} begins or ends with a blank. Write {entry.text.strip()!r}."
            )
        first = seen.setdefault(entry.text.casefold(), entry)
        if first is entry:
            continue
        if first.text == entry.text:
            raise ValueError(
                f"{named} is there already, at {first.place}. Give it once."
            )
        raise ValueError(
            f"{named} differs from {first.text!r}, at {first.place}, in capital "
            "letters only. Give it once, or choose a name that people tell apart."
        )


# --- Files ----------------------------------------------------------------------------


def _content(path: Path) -> bytes:
    try:
        with open(path, "rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataFileError(
            f"The file of prompts {str(path)!r} cannot be read: {error.strerror}."
        ) from error
    if len(content) > MOST_BYTES:
        raise DataFileError(
            f"The file of prompts {str(path)!r} is larger than {MOST_BYTES // 10**6} "
            "MB. It seems to be another file: prompts are a few short sentences."
        )
    return content


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataFileError(
            f"{path}, line {line} is not UTF-8. Save the file as UTF-8."
        ) from error


def _compose(path: Path, text: str) -> yaml.Node | None:
    """Return the tree of a file, with lines; nothing is constructed from it."""
    import yaml

    if path.suffix == ".json":
        _check_json(path, text)
        # JSON is YAML, except for tabs, which a valid file has between tokens only.
        text = text.replace("\t", " ")
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise DataFileError(f"{path}, {_no_yaml(error, text)}") from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise DataFileError(
            f"{path}, line {line} has a character that cannot be printed "
            f"(#x{ord(text[error.position]):04x}). Delete it."
        ) from error
    except RecursionError as error:
        raise DataFileError(
            f"{path} has lists inside of lists without end. It must hold concepts, "
            f"their values, and lists of prompts, {_EXAMPLE}."
        ) from error


def _no_yaml(error: yaml.MarkedYAMLError, text: str) -> str:
    """Say at which line a text is no YAML, and what may mend it."""
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        return f"line {line} is indented with a tab. Indent with blanks."
    if "another document" in str(error.problem):
        return f"line {line} begins a second document. Keep one, without '---'."
    if error.context and ("flow" in error.context or "quoted" in error.context):
        begin = (error.context_mark or mark).line + 1
        return (
            f"line {begin}: a bracket or a quote that opens here is not closed, or two "
            f"texts after it have no comma between them (seen in line {line})."
        )
    if "mapping values" in str(error.problem):
        return f"line {line} has a ': ' where none can be. {_QUOTES}"
    return f"line {line} is not YAML: {error.problem}. {_QUOTES}"


def _check_json(path: Path, text: str) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise DataFileError(
            f"{path}, line {error.lineno} is not JSON: {error.msg}."
        ) from error
    except RecursionError:
        return  # as in YAML


class _Tree:
    """The tree of a file, walked once.

    Parameters
    ----------
    path : Path
        The file, for messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: set[int] = set()

    def entries(self, root: yaml.Node | None) -> list[_Entry]:
        """Return the concepts of a file with their values and prompts."""
        if root is None:
            return []
        return [
            _Entry(name, place, tuple(self._values(name, values)))
            for name, place, values in self._pairs(root, "the file", "concepts")
        ]

    def _values(self, concept: str, node: yaml.Node) -> Iterator[_Entry]:
        what = f"concept {concept!r}"
        for value, place, prompts in self._pairs(node, what, "values with prompts"):
            yield _Entry(value, place, tuple(self._prompts(value, prompts)))

    def _prompts(self, value: str, node: yaml.Node) -> Iterator[_Entry]:
        if node.id != "sequence":
            if node.tag != _NULL:
                yield self._entry(node, f"the prompt of {value!r}")
            return
        self._refuse_again(node)
        for item in node.value:
            yield self._entry(item, f"a prompt of {value!r}")

    def _pairs(
        self, node: yaml.Node, what: str, held: str
    ) -> Iterator[tuple[str, str, Any]]:
        """Yield the names in a mapping, where they are, and what they hold."""
        if node.id != "mapping":
            raise self._odd(node, what, f"hold {held}, {_EXAMPLE}. {_LEVELS}")
        self._refuse_again(node)
        for key, under in node.value:
            entry = self._entry(key, f"a name in {what}")
            yield entry.text, entry.place, under

    def _entry(self, node: yaml.Node, what: str) -> _Entry:
        """Return what is written: `no` and `1` are texts, as people mean them."""
        if node.id != "scalar" or not _PLAIN.fullmatch(node.tag):
            raise self._odd(node, what, f"be a text. {_QUOTES}")
        text: str = node.value
        if any("\ud800" <= character <= "\udbff" for character in text):
            # JSON writes what is beyond 16 bits as two halves; YAML leaves them so.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return _Entry(text, self._place(node))

    def _refuse_again(self, node: yaml.Node) -> None:
        """Refuse aliases, with which a small file can hold what no memory can."""
        if id(node) in self._seen:
            raise DataFileError(
                f"{self._place(node)}: what is named here by '&' is used again by '*'. "
                "Write it out where it is used."
            )
        self._seen.add(id(node))

    def _odd(self, node: yaml.Node, what: str, expected: str) -> DataFileError:
        found = {"mapping": "a mapping", "sequence": "a list"}.get(node.id)
        if node.tag == _NULL and node.value:
            return DataFileError(
                f"{self._place(node)}: {what} is {node.value}, which is YAML's word "
                f'for nothing. Write "{node.value}", in quotes, if it is meant.'
            )
        if node.tag == _NULL:
            found = "empty"
        elif found is None:
            # Of another file, a text can be all that is in it.
            found = reprlib.repr(node.value)
            if not _PLAIN.fullmatch(node.tag):
                found += f" of the type {reprlib.repr(node.tag)},"
        return DataFileError(
            f"{self._place(node)}: {what} is {found} and must {expected}"
        )

    def _place(self, node: yaml.Node) -> str:
        return f"{self.path}, line {node.start_mark.line + 1}"
