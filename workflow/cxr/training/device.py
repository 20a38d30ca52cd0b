"""The device and arithmetic that a job trains with."""

import platform
import resource
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch


@dataclass(frozen=True)
class Device:
    """A torch device with its arithmetic: `bfloat16`: whether forward passes in training run under autocast."""

    torch: torch.device
    bfloat16: bool

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.torch.type, torch.bfloat16) if self.bfloat16 else nullcontext()

    def exact(self) -> "Device":
        """Return the same device in float32, in which all predictions are computed, whatever the arithmetic of training."""
        return replace(self, bfloat16=False)

    def facts(self) -> dict[str, Any]:
        """Return name, precision, and peak memory so far in MiB (of the GPU, or of this process)."""
        if self.torch.type == "cuda":
            name = torch.cuda.get_device_name(self.torch)
            peak = torch.cuda.max_memory_allocated(self.torch) / 2**20
        else:
            name = f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        return {
            "device": name,
            "precision": "bfloat16 autocast" if self.bfloat16 else "float32",
            "peak_memory_mb": round(peak),
        }


def choose(precision: Literal["auto", "float32", "bfloat16"], threads: int) -> Device:
    """Return the first CUDA device, or the CPU with this many threads.

    `auto` uses bfloat16 autocast where the device has instructions for it (measured 3-4 times faster on such CPUs).
    """
    if torch.cuda.is_available():
        device = torch.device("cuda", 0)
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        torch.set_num_threads(threads)
        device = torch.device("cpu")
        able = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return Device(device, precision == "bfloat16" or (precision == "auto" and able))
