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


def resolve_precision(dtype: str, device: str) -> str:
    """Return the precision that "auto" stands for on a kind of device.

    Raises
    ------
    ValueError
        If the device cannot compute in this precision, or not faster than in float32.
    """
    if dtype == "auto":
        return "bfloat16" if computes_bfloat16(device) else "float32"
    if dtype == "float32" or device != "cpu":
        return dtype
    if dtype == "float16":
        raise ValueError(
            "dtype='float16' needs a GPU, and device='cpu'. Use dtype='float32' on the "
            "CPU, or 'bfloat16' if the CPU has it."
        )
    if not computes_bfloat16(device):
        raise ValueError(
            "dtype='bfloat16' on the CPU needs a processor with AVX512-BF16 or AMX, "
            "and a torch that can tell (torch.cpu.get_capabilities); this one does "
            "not say so. Use dtype='float32', or 'auto'."
        )
    return dtype
