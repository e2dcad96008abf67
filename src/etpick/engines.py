"""Which engine scores a tomogram: PyTorch, OpenVINO in float, or the network's int8 copy."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

from etpick.checkpoint import Model
from etpick.compiled import OpenVinoEngine, graph_of, installed
from etpick.config import PickingConfig
from etpick.data import WorkingVolume
from etpick.engine import Engine, TorchEngine, choose_device, has_amx
from etpick.errors import EtpickError, OutputError
from etpick.io.atomic import make_folder
from etpick.quantising import WORTH_VX, Int8, can_quantise, int8_engine, quantise_for, read_int8

_LARGE_VX: Final = 5_000_000  # a smaller tomogram is picked in the time that OpenVINO needs to take a network over


def choose_engine(model: Model, config: PickingConfig, volume: WorkingVolume, say: Callable[[str], None]) -> Engine:
    """The engine to pick a tomogram with, and others after it.

    A graphics card is PyTorch's. Without one, and without AMX, which is as fast in bfloat16, an int8 copy is made on
    first use, where the programs for it are installed, the tomogram is large enough to be worth it, and the model's
    folder can be written to. Raises EtpickError where what was asked for cannot be had.
    """
    device = choose_device(config.device)
    if device.type == "cuda" and config.engine in ("openvino", "int8"):
        raise EtpickError(f"--engine {config.engine} computes on the processor: use it with --device cpu")
    if device.type == "cuda" or config.engine == "torch" or (config.engine == "auto" and not installed()):
        return TorchEngine(model.network(device), device)
    asked = config.engine == "int8"
    if (asked or (config.engine == "auto" and not has_amx())) and (engine := _int8(model, asked, volume, say)):
        return engine
    network = model.network(device)
    if config.engine == "auto" and math.prod(volume.shape) < _LARGE_VX:
        return TorchEngine(network, device)
    return OpenVinoEngine(graph_of(network), network)


def _int8(model: Model, asked: bool, volume: WorkingVolume, say: Callable[[str], None]) -> Engine | None:
    """The int8 copy, made now if need be; None where it is not asked for and cannot be had or is not good enough."""
    folder = model.folder
    if folder is None:
        if asked:
            raise EtpickError("an int8 copy is kept in a model's folder, and this model has none: use another engine")
        return None
    record = read_int8(model, folder)
    if record is None and can_quantise() and (asked or math.prod(volume.shape) >= WORTH_VX):
        record = _made(model, folder, volume, say)
    if record is not None and record.accepted:
        return int8_engine(model, folder)
    if asked and record is not None:
        raise EtpickError(f"{record.line()}: pick with --engine openvino or torch")
    if asked and not can_quantise():
        raise EtpickError(f"{folder} has no int8 copy, and to make one takes pip install 'etpick[cpu]'")
    if asked:
        raise EtpickError(f"{folder} has no int8 copy and cannot be written to: copy the model to a folder of yours")
    return None


def _made(model: Model, folder: Path, volume: WorkingVolume, say: Callable[[str], None]) -> Int8 | None:
    try:
        make_folder(folder)
    except OutputError:
        return None  # somebody else's model: picked in float
    say(f"making an int8 copy of the network on tiles of {volume.tomogram.name}, once")
    record = quantise_for(model, folder, volume)
    say(record.line())
    return record
