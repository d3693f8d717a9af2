"""In which precision a device computes, and how fast."""

from __future__ import annotations

PRECISIONS = ("float32", "float16", "bfloat16")
# Instructions that multiply in bfloat16. Without them a CPU imitates it, slowly.
_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def computes_bfloat16(device: str) -> bool:
    """Return whether the device multiplies in bfloat16: what it says of itself.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Kind of the device.
    """
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    known = torch.cpu.get_capabilities()
    return any(known.get(name, False) for name in _INSTRUCTIONS)


def resolve_precision(dtype: str, device: str, asked: str) -> str:
    """Return the precision that `dtype` stands for on a kind of device.

    Parameters
    ----------
    dtype : str
        One of `PRECISIONS`, or "auto".
    device : {"cpu", "cuda"}
        The kind of device that `asked` names.
    asked : str
        What the user said, for messages.

    Raises
    ------
    ValueError
        If the device cannot compute in this precision, or no faster than in float32.
    """
    if dtype == "auto":
        return "bfloat16" if computes_bfloat16(device) else "float32"
    if dtype == "float32" or device != "cpu":
        return dtype
    found = "" if asked == "cpu" else " found no GPU"
    if dtype == "float16":
        raise ValueError(
            f"dtype='float16' needs a GPU, and device={asked!r}{found}. Use "
            "dtype='float32' on the CPU, or 'auto'."
        )
    if not computes_bfloat16(device):
        raise ValueError(
            "dtype='bfloat16' needs a GPU or a processor with AVX512-BF16 or AMX, and "
            f"device={asked!r}{found}; this processor, or this version of torch, says "
            "that it has neither. Use dtype='float32', or 'auto'."
        )
    return dtype
