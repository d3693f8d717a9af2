"""A file that others publish: found on this machine or downloaded, always checked."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from http.client import HTTPException
from numbers import Integral, Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

from sklearn.datasets import get_data_home

from .._inputs.sklearn import Interval
from ..exceptions import DataFileError, warn_user

_TIMEOUT = 60  # seconds without an answer

# The arguments of every function that fetches, for `validate_params`.
FETCHING: dict[str, list[Any]] = {
    "data_home": [str, os.PathLike, None],
    "download_if_missing": ["boolean"],
    "as_frame": ["boolean"],
    "return_X_y": ["boolean"],
    "n_retries": [Interval(Integral, 0, None, closed="left")],
    "delay": [Interval(Real, 0, None, closed="left")],
}


def named_folder() -> Path | None:
    """Return the folder of data that `SKCLIF_DATA` names, if it names one."""
    folder = os.environ.get("SKCLIF_DATA")
    return Path(folder) if folder else None


@dataclass(frozen=True)
class OfficialFile:
    """A file at a fixed address, with the SHA-256 of its content.

    Attributes
    ----------
    name : str
        What the file is called on this machine.
    url : str
        Of one revision, so that the content never changes.
    sha256 : str
    """

    name: str
    url: str
    sha256: str

    def read(
        self,
        data_home: str | os.PathLike[str] | None,
        download_if_missing: bool,
        n_retries: int,
        delay: float,
    ) -> bytes:
        """Return the content, checked; it fits in memory.

        It is looked for in the folder that `SKCLIF_DATA` names, then in `data_home`.
        """
        named = named_folder()
        if named is not None and (path := named / self.name).is_file():
            content = path.read_bytes()
            return self.checked(content, path, "Replace it by the official one")
        path = Path(get_data_home(data_home), "skclif", self.name)
        if path.is_file():
            content = path.read_bytes()
            return self.checked(content, path, "Delete it and fetch it again")
        if not download_if_missing:
            raise OSError(
                f"{self.name} is neither in the folder that the environment variable "
                f"SKCLIF_DATA names ({named and str(named)!r}) nor at {str(path)!r}, "
                "and download_if_missing=False."
            )
        content = self._download(n_retries, delay)
        _write(path, content)
        return content

    def checked(self, content: bytes, source: object, remedy: str) -> bytes:
        """Return the content, or raise a DataFileError if it is not the official."""
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise DataFileError(
                f"{source} is not the official {self.name}: expected SHA-256 "
                f"{self.sha256}, got {found}. {remedy}, from {self.url}"
            )
        return content

    def _download(self, n_retries: int, delay: float) -> bytes:
        for _ in range(n_retries):
            try:
                return self._read_url()
            except (OSError, DataFileError) as error:
                warn_user(f"Trying again: {error}", UserWarning)
                time.sleep(delay)
        return self._read_url()

    def _read_url(self) -> bytes:
        try:
            with urlopen(self.url, timeout=_TIMEOUT) as response:
                content: bytes = response.read()
        except (OSError, HTTPException) as error:
            raise OSError(
                f"{self.name} could not be downloaded from {self.url} ({error}). "
                "Without a network, put the file in a folder and name that folder in "
                "the environment variable SKCLIF_DATA."
            ) from error
        return self.checked(content, "What was downloaded", "Try again later")


def _write(path: Path, content: bytes) -> None:
    """Write all or nothing, also when two processes fetch at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder, path.name)
        part.write_bytes(content)
        os.replace(part, path)
