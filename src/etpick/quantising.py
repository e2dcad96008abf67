"""An int8 copy of the network for picking without a graphics card, calibrated on real tiles and judged by its picks."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save

from etpick.checkpoint import INT8, Model, read_json, write_json
from etpick.compiled import OpenVinoEngine, graph_of, installed, load_graph, openvino, save_graph
from etpick.data import Readable, Window, WorkingVolume
from etpick.engine import CPU, Engine, TorchEngine
from etpick.evaluation.metrics import evaluate
from etpick.inference import search
from etpick.io.atomic import make_folder
from etpick.preparation import ValidationVolume
from etpick.types import Box, Particles

RECORD, GRAPH, _ = INT8
ALLOWED_LOSS: Final = 0.005  # of the localisation F1 on validation, or one particle where that is more
ALLOWED_DISAGREEMENT: Final = 0.02  # where nothing is labelled: 1 − F1 of the picks against those in float
WORTH_VX: Final = 20_000_000  # a tomogram of fewer voxels is picked before a copy is made
_MOST_JUDGED_VX: Final = 150_000_000
_TILES: Final = 12
_TILE_VX: Final = 96
_JUDGED_VX: Final = (128, 256, 256)  # of a tomogram without labels
_RUNGS: Final = (0, 1, 2, 4)  # convolutions kept in float at either end of the network, until the picks agree


@dataclass(frozen=True)
class Int8:
    """What is known of an int8 copy: whose it is, how it was made, and what it costs.

    `loss` is how much of the F1 is lost against float, `judged_by` says by what, `accepted` whether that is little
    enough; `kept_float` names the convolutions that stayed in float.
    """

    weights: str
    accepted: bool
    loss: float
    judged_by: str
    tiles_of: tuple[str, ...]
    kept_float: tuple[str, ...]
    nncf: str

    def line(self) -> str:
        """What `etpick info` prints."""
        kept = f", {len(self.kept_float)} convolutions kept in float" if self.kept_float else ""
        verdict = (
            "used where there is neither a graphics card nor AMX" if self.accepted else "not used: it costs too much"
        )
        change = round(-self.loss, 3) or 0.0  # no −0.000
        return f"int8 copy: F1 {change:+.3f} by {self.judged_by}{kept}; {verdict}"


def can_quantise() -> bool:
    """Whether OpenVINO and NNCF, which make int8 copies, are there."""
    return installed() and find_spec("nncf") is not None


def fingerprint(model: Model) -> str:
    """Of the weights, to know whose an int8 copy is."""
    return hashlib.sha256(save({name: t.contiguous() for name, t in model.weights.items()})).hexdigest()


def read_int8(model: Model, folder: Path) -> Int8 | None:
    """The record of a model's int8 copy; None where there is none, or one of other weights."""
    if not (folder / RECORD).is_file():
        return None
    content = read_json(folder / RECORD)
    record = Int8(**content | {name: tuple(content[name]) for name in ("tiles_of", "kept_float")})
    return record if record.weights == fingerprint(model) else None


def int8_engine(model: Model, folder: Path) -> OpenVinoEngine:
    """The int8 copy, ready to score."""
    return OpenVinoEngine(load_graph(folder / GRAPH), model.network(CPU), int8=True)


def quantise(
    model: Model, folder: Path, volumes: Sequence[Readable], names: Sequence[str], judged: Sequence[ValidationVolume]
) -> Int8:
    """Make an int8 copy in a model's folder, calibrated on tiles of volumes and judged on labelled ones.

    Convolutions at both ends of the network stay in float, more and more of them, until at most ALLOWED_LOSS of
    the localisation F1 is lost; the record says so where it never is. NNCF's post-training quantisation.
    """
    judged = affordable(judged)
    count = max(1, sum(len(v.truth) for v in judged))
    return _first_accepted(model, folder, volumes, names, judged, max(ALLOWED_LOSS, 1.01 / count), "validation")


def quantise_for(model: Model, folder: Path, volume: WorkingVolume) -> Int8:
    """The same without labels, for a tomogram about to be picked: its picks in float are what int8 should find."""
    middle, edge = np.array(volume.shape) // 2, np.minimum(volume.shape, _JUDGED_VX) // 2
    (z0, y0, x0), (z1, y1, x1) = (middle - edge).tolist(), (middle + edge).tolist()
    window = Window(volume, Box((z0, y0, x0), (z1, y1, x1)))
    everywhere = Box((0, 0, 0), window.shape)
    picks = _picks(model, TorchEngine(model.network(CPU), CPU), window, everywhere)
    judged = [ValidationVolume(window, everywhere, picks)]
    names = [volume.tomogram.name]
    return _first_accepted(model, folder, [volume], names, judged, ALLOWED_DISAGREEMENT, "agreement with float")


def _first_accepted(
    model: Model, folder: Path, volumes: Sequence[Readable], names: Sequence[str], judged: Sequence[ValidationVolume],
    allowed: float, judged_by: str,
) -> Int8:  # fmt: skip
    network = model.network(CPU)
    best = 1.0 if judged_by != "validation" else _f1(model, TorchEngine(network, CPU), judged)
    tiles = list(_tiles(volumes, network.tile_size))
    in_float = graph_of(network)
    convolutions = _convolutions(in_float)
    for rung in _RUNGS:
        kept = (*convolutions[:rung], *convolutions[len(convolutions) - rung :])
        graph = _quantised(in_float.clone(), tiles, kept)
        loss = best - _f1(model, OpenVinoEngine(graph, network, int8=True), judged)
        if accepted := loss <= allowed:
            break
    record = Int8(fingerprint(model), accepted, round(loss, 5), judged_by, tuple(names), kept, version("nncf"))
    make_folder(folder)
    if accepted:
        _replace_graph(graph, folder)
    write_json(folder / RECORD, asdict(record))
    return record


def affordable(judged: Sequence[ValidationVolume]) -> list[ValidationVolume]:
    """The first volumes, of no more voxels than are picked in a minute or two; at least one."""
    sizes = np.cumsum([np.prod(v.volume.shape) for v in judged])
    return list(judged[: max(1, int((sizes <= _MOST_JUDGED_VX).sum()))])


def _f1(model: Model, engine: Engine, judged: Sequence[ValidationVolume]) -> float:
    """Of localisation; 0 where there is nothing to find."""
    picks = [_picks(model, engine, v.volume, v.inside) for v in judged]
    score = evaluate(picks, [v.truth for v in judged], model.classes, [model.spacing_A] * len(judged))
    return score.localisation.f1


def _picks(model: Model, engine: Engine, volume: Readable, inside: Box) -> Particles:
    found = search(volume, engine, model.finder(model.picking), model.picking)
    return model.decision(found.select(inside.contains(found.positions)))


def _replace_graph(graph: Any, folder: Path) -> None:
    """Two files that belong together, neither ever half written under its name; the record, written last, counts."""
    (folder / RECORD).unlink(missing_ok=True)
    temporary = folder / f".{os.getpid()}.xml"
    save_graph(graph, temporary)
    for ending in (".bin", ".xml"):
        temporary.with_suffix(ending).replace((folder / GRAPH).with_suffix(ending))


def _quantised(graph: Any, tiles: Sequence[NDArray[np.float32]], kept: Sequence[str]) -> Any:
    openvino()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import nncf

        nncf.set_log_level(logging.ERROR)
        scope = nncf.IgnoredScope(names=list(kept)) if kept else None
        return nncf.quantize(graph, nncf.Dataset(tiles), subset_size=len(tiles), ignored_scope=scope)


def _convolutions(graph: Any) -> list[str]:
    return [op.get_friendly_name() for op in graph.get_ordered_ops() if "Convolution" in op.get_type_name()]


def _tiles(volumes: Sequence[Readable], edge: int | None) -> Iterator[NDArray[np.float32]]:
    """Tiles [1, 1, z, y, x] at random places, the same for the same volumes."""
    rng = np.random.default_rng(0)
    for number in range(_TILES):
        volume = volumes[number % len(volumes)]
        size = [edge or min(_TILE_VX, -(-n // 8) * 8) for n in volume.shape]
        z, y, x = (int(rng.integers(0, max(n - s, 0) + 1)) for n, s in zip(volume.shape, size, strict=True))
        yield volume.read(Box((z, y, x), (z + size[0], y + size[1], x + size[2])))[None, None]
