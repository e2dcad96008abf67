"""What scores a tile: the network in PyTorch, or another program that computes the same function."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final, Protocol, TypeVar

import psutil
import torch
from torch import Tensor

from etpick.errors import EtpickError
from etpick.nn.networks import Network

CPU: Final = torch.device("cpu")
Result = TypeVar("Result")
ScoreMaps = tuple[Tensor, Tensor]
"""(z, y, x) float32 chance of any particle, 1 − P(background), and (c, z, y, x) float16 chance of each class."""


class Engine(Protocol):
    """Scores tiles; knows what the network wants to be fed.

    `name` says in words what computes, `stride` the input voxels of an output voxel along an axis, `tile_size` the
    only edge it takes, or None, and `voxel_bytes` the memory that a voxel of a tile takes at the peak.
    """

    name: str
    device: torch.device
    stride: int
    classes: int
    tile_size: int | None
    voxel_bytes: int

    def __call__(self, image: Tensor) -> ScoreMaps:
        """(z, y, x) normalised voxels, wherever they are → score maps at the output resolution, on `device`."""


class TorchEngine:
    """The network itself, on a device."""

    voxel_bytes: int = 160  # about what FastNet takes at its peak; PaperNet has tiles of its own size

    def __init__(self, network: Network, device: torch.device) -> None:
        self.network, self.device = network, device
        self.stride, self.classes, self.tile_size = network.stride, network.classes, network.tile_size
        kind = torch.bfloat16 if computes_in_bfloat16(device) else torch.float32
        self.name = f"PyTorch on {device}, {str(kind).removeprefix('torch.')}"
        self._dtype = kind if device.type == "cuda" else torch.float32  # on a card nothing is converted between layers
        self.network = network.to(self._dtype)

    def __call__(self, image: Tensor) -> ScoreMaps:
        """(z, y, x) → score maps."""
        # where all tiles have one size it pays to try which convolution is fastest; cuDNN is off unless asked for
        tuned = torch.backends.cudnn.flags(
            enabled=True, benchmark=self.tile_size is not None, deterministic=False, allow_tf32=True
        )
        with torch.inference_mode(), half_precision(self.device), tuned:
            x = image[None, None].to(self.device, self._dtype)
            p = self.network(x.to(memory_format=torch.channels_last_3d)).float().softmax(dim=1)[0, 1:]
            return p.sum(dim=0), p.to(torch.float16)


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether convolutions are faster in bfloat16: newer cards, processors with AMX, AMD's with AVX512-BF16.

    Intel's AVX512-BF16 without AMX is slower than float32 (docs/benchmarks.md).
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = _capabilities()
    intel = str(capabilities.get("cpu_name", "")).startswith("Intel")
    return has_amx() or bool(capabilities.get("avx512_bf16") and not intel)


def has_amx() -> bool:
    """Whether the processor has units that multiply matrices of bfloat16, so that int8 gains nothing."""
    return bool(_capabilities().get("amx_bf16"))


def _capabilities() -> dict[str, Any]:
    """Of the processor, as far as PyTorch tells; only newer ones do."""
    return dict(getattr(torch.cpu, "get_capabilities", dict)())


def half_precision(device: torch.device) -> torch.autocast:
    """Convolutions in bfloat16 where that is faster."""
    return torch.autocast(device.type, torch.bfloat16, enabled=computes_in_bfloat16(device))


def choose_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:N` → the device. Raises EtpickError where it is not there."""
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if cards else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise EtpickError(f"device {name!r} is not known: use auto, cpu, cuda or cuda:N")
    if kind == "cuda" and int(number or 0) >= cards:
        raise EtpickError(f"device {name!r} was asked for, but torch sees {cards} CUDA cards here: use --device cpu")
    return torch.device(name)


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device, the processor's included; on a card also what PyTorch keeps there for reuse."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return int(psutil.virtual_memory().available)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the processor or the card."""
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        said in text for said in ("allocate memory", "out of memory", "bad_alloc", "alloc_failed")
    )


def or_on_the_processor(
    device: torch.device, work: Callable[[torch.device], Result], say: Callable[[str], object]
) -> Result:
    """What work gives on a device, or on the processor where a card's memory is too small for it, which is said."""
    try:
        return work(device)
    except (MemoryError, RuntimeError) as error:
        if device.type == "cpu" or not is_out_of_memory(error):
            raise
    say(f"out of memory on {device}: the processor takes over")
    return work(CPU)


_TRIM_THRESHOLD: Final = -1  # glibc's malloc.h
_MMAP_MAX: Final = -4
_keepers = 0
_counting = Lock()


@contextmanager
def keeping_memory() -> Iterator[None]:
    """Memory freed by one layer stays with the process for the next, and goes back to the system at the end.

    glibc hands every block above 32 MB back at once, and the system clears its pages anew for each layer: a quarter
    of the time of a large tile (benchmarks/engines.py), a twentieth to a fifth of that of a training step. Does nothing
    where another library allocates. Of those that run at once or within each other, the last to end gives back.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt"):
        yield
        return
    _keep(libc, 1)
    try:
        yield
    finally:
        _keep(libc, -1)


def _keep(libc: ctypes.CDLL, more: int) -> None:
    """One more or one less keeps memory."""
    global _keepers
    with _counting:
        _keepers += more
        kept = _keepers > 0
        libc.mallopt(_MMAP_MAX, 0 if kept else 65536)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1 if kept else 128 * 1024)
        if not kept:
            libc.malloc_trim(0)
