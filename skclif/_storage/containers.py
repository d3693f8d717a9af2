"""One format for models and rows on disk: safetensors with JSON in its header.

Reading runs no code and takes no more memory than a few times the size of the file. A
SHA-256 of the content tells a damaged file from a whole one. It does not stop a forger;
the trail does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from .._version import __version__
from ..exceptions import ModelFileError
from .digests import sha256_of

_ENTRY = "skclif"  # of the metadata in the header
_KINDS = {
    "model": "a model",
    "rows": "the rows of an audit",
    "influence": "the record of influence that is written",
}


class Content(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    arrays : dict of str to ndarray
    about : dict
        What is known about them.
    format_version : int
    skclif_version : str
        The version of skclif that wrote the file.
    """

    arrays: dict[str, np.ndarray]
    about: dict[str, Any]
    format_version: int
    skclif_version: str


def pack(
    kind: str, version: int, arrays: Mapping[str, np.ndarray], about: dict[str, Any]
) -> bytes:
    """Return the bytes of a file.

    Parameters
    ----------
    kind : {"model", "rows", "influence"}
    version : int
        Of the format of this kind.
    arrays : dict of str to ndarray
    about : dict
        What ``json.dumps`` takes.
    """
    arrays = {name: np.ascontiguousarray(a) for name, a in sorted(arrays.items())}
    header = {
        "format": f"skclif-{kind}",
        "format_version": str(version),
        "skclif_version": __version__,
        "about": json.dumps(about, sort_keys=True, allow_nan=False),
    }
    header["sha256"] = _digest(arrays, header)
    # One entry, because safetensors writes several in an order of chance.
    return save(arrays, metadata={_ENTRY: json.dumps(header, sort_keys=True)})


def unpack(path: Path, kind: str, *versions: int) -> Content:
    """Return what a file of one of these format versions holds.

    Raises
    ------
    ModelFileError
        If the file is damaged, is something else, or has another format.
    FileNotFoundError
        If there is no such file.
    """
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder; name a file.")
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    content = path.read_bytes()
    header = _header(path, content)
    if header.get("format") != f"skclif-{kind}":
        raise ModelFileError(
            f"{path} does not hold {_KINDS[kind]}: it says it is "
            f"{header.get('format')!r}, not 'skclif-{kind}'."
        )
    found = header.get("format_version", "")
    if found not in map(str, versions):
        raise ModelFileError(
            f"{path} has format version {found!r}; skclif {__version__} reads "
            f"{_in_words(versions)}. Read it with skclif "
            f"{header.get('skclif_version')!r}, which wrote it."
        )
    try:
        arrays = dict(sorted(load(content).items()))
        intact = header.pop("sha256") == _digest(arrays, header)
        about, written_by = json.loads(header["about"]), header["skclif_version"]
    # The reader of arrays knows types that NumPy lacks; JSON can be nested too deep.
    except (SafetensorError, LookupError, TypeError, ValueError, RecursionError) as e:
        raise _damaged(path, e) from e
    if not intact or not isinstance(about, dict):
        raise _damaged(path, "what is read is not what was stored")
    return Content(arrays, about, int(found), written_by)


def _in_words(versions: tuple[int, ...]) -> str:
    """Return numbers as "1", "1 and 2" or "1, 2 and 3"."""
    *others, last = map(str, versions)
    return f"{', '.join(others)} and {last}" if others else last


def _header(path: Path, content: bytes) -> dict[str, str]:
    """Return the metadata; the readers of safetensors want a file name for that."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > len(content) - 8:
        raise ModelFileError(f"{path} is not a safetensors file, or not a whole one.")
    try:
        header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_ENTRY])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ModelFileError(
            f"{path} is not a file of skclif: it has no header that can be read."
        ) from error
    if not isinstance(header, dict) or not all(
        isinstance(value, str) for value in header.values()
    ):
        raise ModelFileError(f"{path} is not a file of skclif: its header is odd.")
    return header


def _damaged(path: Path, reason: object) -> ModelFileError:
    return ModelFileError(
        f"{path} is damaged ({reason}). Restore a copy of it, or make it again."
    )


def _digest(arrays: Mapping[str, np.ndarray], header: Mapping[str, str]) -> str:
    labelled = ((f"{name} {a.dtype.str}", a) for name, a in arrays.items())
    return sha256_of(labelled, json.dumps(dict(header), sort_keys=True).encode())
