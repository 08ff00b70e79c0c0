"""Mixed precision: which kinds of numbers a device computes with, and how they are chosen."""

from typing import Literal

import torch

from posekit.errors import PosekitError

#: "auto" is the fastest that the device does well.
Precision = Literal["auto", "float32", "bfloat16", "float16"]

_KINDS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast_kind(precision: Precision, device: torch.device) -> torch.dtype:
    """Return what torch.autocast is to compute with; float32 means no autocast.

    Raises PosekitError for float16 on a processor: it has no gradient scaling to go with it.
    """
    if precision not in ("auto", *_KINDS):
        raise PosekitError(f"precision: found '{precision}', expected one of auto, {', '.join(_KINDS)}")
    if precision == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    if precision == "float16" and device.type != "cuda":
        raise PosekitError(f"precision: found float16 on {device.type}, expected cuda; use bfloat16 or float32")
    return _KINDS[precision]


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether the device multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
