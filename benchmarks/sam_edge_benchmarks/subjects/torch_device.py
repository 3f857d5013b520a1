"""What the torch subjects share: the device, the number formats, waiting for the GPU."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sam_edge_benchmarks.work import Opaque, Request, UnavailableError


class TorchDevice:
    """Sets torch up as a request says.

    Raises:
        UnavailableError: if there is no such device, or it has no such number format.
    """

    def __init__(self, request: Request) -> None:
        import torch

        if request.backend == "cuda" and not torch.cuda.is_available():
            raise UnavailableError("no CUDA device")
        if request.threads is not None:
            torch.set_num_threads(request.threads)
        self.name = request.backend
        self.compiled = request.mode == "compile"
        # "fp32" means float32: cuDNN would use tf32 unless told.
        torch.backends.cuda.matmul.allow_tf32 = request.precision == "tf32"
        torch.backends.cudnn.allow_tf32 = request.precision == "tf32"
        half = {"fp16": torch.float16, "bf16": torch.bfloat16}
        self._autocast = half.get(request.precision)
        if self.name == "cuda":
            capability = torch.cuda.get_device_capability()
            if request.precision in ("tf32", "bf16") and capability < (8, 0):
                raise UnavailableError(f"{request.precision} needs compute capability 8.0 or newer")
            torch.zeros(1, device="cuda")  # the context is part of loading, not of the first run

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute without gradients in the request's precision, and wait for the device."""
        import torch

        with torch.no_grad():
            if self._autocast is None:
                yield
            else:
                with torch.autocast(self.name, self._autocast):
                    yield
        if self.name == "cuda":
            torch.cuda.synchronize()

    def place(self, module: Opaque) -> Opaque:
        """Put a module onto the device, and compile it if asked."""
        import torch

        placed = module.eval().to(self.name)
        return torch.compile(placed) if self.compiled else placed

    def describe(self) -> dict[str, Any]:
        """Name the device."""
        import torch

        if self.name == "cpu":
            return {"name": platform.machine(), "threads": torch.get_num_threads()}
        properties = torch.cuda.get_device_properties(0)
        return {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "capability": ".".join(map(str, torch.cuda.get_device_capability())),
            "cuda": torch.version.cuda,
        }
