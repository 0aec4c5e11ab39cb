"""Which device computes, and in which number format it does so fastest."""

from __future__ import annotations

import torch


def chosen_device(device: str | torch.device | None) -> torch.device:
    """Return the device: "auto" is CUDA, else MPS, else the CPU; None is torch's default.

    Raises ValueError for a device that torch does not know or that this machine lacks.
    """
    if device == "auto":
        device = _fastest_device()
    try:
        chosen = torch.get_default_device() if device is None else torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"Unknown device '{device}'; give cpu, cuda, mps, or auto for the fastest there is."
        ) from error
    if chosen.type not in _available_types():
        raise ValueError(
            f"This machine has no device '{chosen.type}'; it has {', '.join(_available_types())}."
        )
    return chosen


def computes_bfloat16_fast(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 for every kind of model.

    On a CPU that takes AMX; AVX-512's bfloat16 multiplies but leaves the rest of a convolutional
    tower, which memory binds, to conversions.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_amx_tile_supported()


def fastest_dtype(device: torch.device) -> torch.dtype:
    """Return the number format in which `device` runs a language model fastest.

    A language model is linear layers, so on a CPU AVX-512's bfloat16 is enough for that. Without
    it torch computes bfloat16 several times slower than float32.
    """
    if computes_bfloat16_fast(device):
        return torch.bfloat16
    if device.type == "cpu":
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    return torch.float16


def _fastest_device() -> str:
    return next(name for name in ("cuda", "mps", "cpu") if name in _available_types())


def _available_types() -> tuple[str, ...]:
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "meta": True,
    }
    return tuple(name for name, is_there in available.items() if is_there)
