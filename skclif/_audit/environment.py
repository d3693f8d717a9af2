"""What the bits of a fit depend on besides data and parameters, and how it differs."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from .._version import __version__

_PACKAGES = (
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "sentence-transformers",
    "torch",
    "transformers",
)


def environment() -> dict[str, str | None]:
    """Return versions, and the kind of machine with the libraries that compute on it.

    None is what is not known here. Of libraries that were never loaded, nothing is
    known, and nothing was computed with them.
    """
    return {
        "skclif": __version__,
        **versions(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "processor": _processor(),
        "blas": _blas(),
        **_of_torch(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries."""
    return {"python": ".".join(map(str, sys.version_info[:3])), **_package_versions()}


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what differs between two environments, in words."""
    return tuple(
        f"{name} {_word(then.get(name))} then, {_word(now.get(name))} now"
        for name in {**now, **then}
        if then.get(name) != now.get(name)
    )


def _word(value: Any) -> str:
    return "unknown" if value is None else str(value)


@cache  # to look them up takes ten times as long as to write a record
def _package_versions() -> dict[str, str]:
    return {name: version(name) for name in _PACKAGES}


@cache
def _processor() -> str | None:
    """Return the name of the processor; libraries choose their code by it."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or None


def _blas() -> str | None:
    """Return the BLAS of NumPy and SciPy, with the instruction set that it uses."""
    found = {
        " ".join(
            str(info[key])
            for key in ("internal_api", "version", "architecture")
            if info.get(key) is not None
        )
        for info in threadpool_info()
        if info["user_api"] == "blas"
    }
    return ", ".join(sorted(found)) or None


def _of_torch() -> dict[str, str | None]:
    """Return the BLAS and the instruction set of PyTorch."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {"torch blas": None, "torch instructions": None}
    built = torch.__config__.show()
    mkl = re.search(r"Math Kernel Library Version (\S+ Build \d+)", built)
    other = re.search(r"BLAS_INFO=(\w+)", built)
    name = f"mkl {mkl[1]}" if mkl else other[1] if other else None
    capability = torch.backends.cpu.get_cpu_capability()
    return {"torch blas": name, "torch instructions": capability}
