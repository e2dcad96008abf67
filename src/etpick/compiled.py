"""The network compiled for the processor by OpenVINO, in float32 or int8: `pip install etpick[cpu]`."""

from __future__ import annotations

import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from etpick.engine import CPU, ScoreMaps, computes_in_bfloat16
from etpick.errors import EtpickError
from etpick.nn.networks import Network
from etpick.types import Shape3

_SHAPES_KEPT: Final = 4  # compiled for so many shapes of tiles at once


def installed() -> bool:
    """Whether OpenVINO is there."""
    return find_spec("openvino") is not None


def openvino() -> Any:
    """The module, its telemetry switched off. Raises EtpickError where it is not installed."""
    if not installed():
        raise EtpickError("OpenVINO is not installed: pip install 'etpick[cpu]', or use --engine torch")
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # its import then fails, as if absent
    import openvino

    return openvino


class _Scoring(nn.Module):
    """The network up to score maps: logits → (1 − P(background), P(class))."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        p = self.network(image).softmax(dim=1)[:, 1:]
        return p.sum(dim=1), p.half()


def graph_of(network: Network) -> Any:
    """OpenVINO's graph of a network ready to predict, in float32, from voxels to score maps."""
    ov = openvino()
    edge = network.tile_size or 64
    plain = network.to("cpu").to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of tracing: the shapes it would freeze are those of one network
        graph = ov.convert_model(_Scoring(plain), example_input=torch.zeros(1, 1, edge, edge, edge))
    if network.tile_size is None:
        graph.reshape([1, 1, -1, -1, -1])
    return graph


def load_graph(path: Path) -> Any:
    """A graph that was saved as PATH and PATH with the ending .bin."""
    return openvino().Core().read_model(path)


def save_graph(graph: Any, path: Path) -> None:
    """Write a graph as PATH (.xml) and the weights beside it (.bin)."""
    openvino().save_model(graph, path, compress_to_fp16=False)


class OpenVinoEngine:
    """A graph, compiled for each shape of tile that it meets."""

    device = CPU

    def __init__(self, graph: Any, network: Network, *, int8: bool = False) -> None:
        self.stride, self.classes, self.tile_size = network.stride, network.classes, network.tile_size
        self.voxel_bytes = 45 if int8 else 70  # about what FastNet takes at its peak
        bfloat16 = computes_in_bfloat16(self.device)
        self.name = f"OpenVINO on cpu, {'int8' if int8 else 'bfloat16' if bfloat16 else 'float32'}"
        self._graph, self._core, self._compiled = graph, openvino().Core(), dict[Shape3, Any]()
        self._options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }

    def __call__(self, image: Tensor) -> ScoreMaps:
        """(z, y, x) → score maps."""
        z, y, x = image.shape
        foreground, classes = self._request((z, y, x)).infer([image.contiguous().numpy()[None, None]]).to_tuple()
        return torch.from_numpy(foreground[0].copy()), torch.from_numpy(classes[0].copy())

    def _request(self, shape: Shape3) -> Any:
        if shape not in self._compiled:
            if len(self._compiled) == _SHAPES_KEPT:
                self._compiled.pop(next(iter(self._compiled)))
            self._graph.reshape([1, 1, *shape])
            self._compiled[shape] = self._core.compile_model(self._graph, "CPU", self._options).create_infer_request()
        return self._compiled[shape]
