"""The model folder: JSON and safetensors, so that loading runs nobody's code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from etpick import __version__
from etpick.class_averages import FILE as AVERAGES
from etpick.class_averages import ClassAverages, load_averages, save_averages
from etpick.config import BINARY_FLOOR, PickingConfig, TrainingConfig, build
from etpick.data import label_widths
from etpick.decision import Decision
from etpick.errors import ModelError
from etpick.inference import PeakFinder
from etpick.io.atomic import atomic_write
from etpick.nn.networks import NETWORKS, Network, PaperNet, fold_normalisation, on_device
from etpick.ops.calibrate import Calibration
from etpick.types import ParticleClass

FORMAT: Final = 1
DESCRIPTION: Final = "model.json"
WEIGHTS: Final = "weights.safetensors"
HISTORY: Final = "history.json"
STATE: Final = "state.safetensors"
STATE_FORMAT: Final = 2
INT8: Final = ("int8.json", "int8.xml", "int8.bin")  # `etpick.quantising` makes them


@dataclass(frozen=True, eq=False)
class Model:
    """A trained picker: network weights, and everything needed to pick with them.

    `trained_on` says with what (tomograms, labels, their spacing, steps, minutes, machine), `validation`
    how well it did there, `history` how it got there, `averages` what its classes look like; `folder` is where it is
    kept, if it is.
    """

    config: TrainingConfig
    decision: Decision
    weights: Mapping[str, Tensor]
    trained_on: Mapping[str, Any] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    picking: PickingConfig = field(default_factory=PickingConfig)
    averages: ClassAverages | None = None
    version: str = __version__
    folder: Path | None = None

    @property
    def classes(self) -> tuple[ParticleClass, ...]:
        """The classes it picks."""
        return self.decision.classes

    @property
    def spacing_A(self) -> float:
        """The working spacing in Å per voxel."""
        return self.decision.spacing_A

    @property
    def second_decision(self) -> Decision:
        """The decision on candidates that had a second look; the network's where that has no say in scores."""
        a = self.averages
        if a is None or a.calibration is None:
            return self.decision
        return replace(self.decision, calibration=a.calibration, thresholds=a.thresholds)

    @property
    def unjudged(self) -> bool:
        """Whether validation found no particle, so that scores and thresholds rest on nothing."""
        return bool(self.validation.get("localisation", {}).get("tp") == 0)

    def network(self, device: torch.device) -> Network:
        """The trained network, ready to predict on a device."""
        network = make_network(self.config, len(self.classes))
        try:
            network.load_state_dict(dict(self.weights))
        except RuntimeError as error:
            raise ModelError(f"the weights do not fit the network {self.config.network!r}: {error}") from None
        return on_device(fold_normalisation(network), device)

    def finder(self, picking: PickingConfig) -> PeakFinder:
        """MP-NMS for the labels it was trained with."""
        return make_finder(self.config, self.classes, self.spacing_A, picking)

    def lines(self) -> list[str]:
        """What `etpick info` prints."""
        return _model_lines(self)


def _model_lines(model: Model) -> list[str]:
    on, place = model.trained_on, model.validation.get("localisation", {})
    lines = [
        f"model of etpick {model.version}: network {model.config.network}, working spacing {model.spacing_A:g} Å",
        f"  trained on {', '.join(on.get('tomograms', [])) or 'unknown tomograms'}, "
        f"validated on {', '.join(on.get('validation_tomograms', [])) or 'unknown tomograms'}",
        f"  {on.get('steps', '?')} steps in {on.get('minutes', '?')} minutes, seed {model.config.seed}",
    ]
    if place.get("f1") is not None:
        lines.append(
            f"  validation: localisation F1 {place['f1']:.3f}, precision {place['precision']:.3f}, "
            f"recall {place['recall']:.3f}"
        )
    if on.get("partial_labels"):
        share = model.decision.calibration.labelled_share
        lines.append(f"  partial labels: about {share:.0%} of the particles, to judge by validation")
    for number, (c, threshold) in enumerate(zip(model.classes, model.second_decision.thresholds, strict=True)):
        count = on.get("labels", {}).get(c.name, "?")
        none = ", no average" if model.averages and not model.averages.known[number] else ""
        lines.append(
            f"  class {c.name}: diameter {c.diameter_A:g} Å, {count} labels{none}, picks from score {threshold:.2f}"
        )
    return [*lines, f"  {model.averages.line()}"] if model.averages else lines


def make_network(config: TrainingConfig, classes: int) -> Network:
    """A fresh network as the configuration says."""
    kind = NETWORKS[config.network]
    return PaperNet(classes, tile_size=config.patch_vx) if kind is PaperNet and config.patch_vx else kind(classes)


def make_finder(
    config: TrainingConfig, classes: tuple[ParticleClass, ...], spacing_A: float, picking: PickingConfig
) -> PeakFinder:
    """MP-NMS for the smallest label in use, which must not be pooled away."""
    stride = NETWORKS[config.network].stride
    labels = label_widths(config, np.array([c.diameter_A for c in classes]) / spacing_A, stride)
    return PeakFinder(float(labels.min()), stride, BINARY_FLOOR if picking.binary else picking.floor, picking.binary)


def save_model(model: Model, folder: Path) -> None:
    """Write a model into a folder, each file whole or not at all."""
    with atomic_write(folder / WEIGHTS, overwrite=True) as path:
        save_file({name: tensor.contiguous() for name, tensor in model.weights.items()}, path)
    description = {
        "etpick": model.version,
        "format": FORMAT,
        "spacing_A": model.spacing_A,
        "classes": [
            asdict(c) | {"threshold": t, "threshold_of_network": network}
            for c, t, network in zip(
                model.classes, model.second_decision.thresholds, model.decision.thresholds, strict=True
            )
        ],
        "calibration": asdict(model.decision.calibration),
        "config": model.config.model_dump(),
        "picking": model.picking.model_dump(include={"halo_vx", "floor"}),
        "trained_on": dict(model.trained_on),
        "validation": dict(model.validation),
    }
    if model.averages:
        save_averages(model.averages, folder)
    else:
        (folder / AVERAGES).unlink(missing_ok=True)
    write_json(folder / HISTORY, list(model.history))
    write_json(folder / DESCRIPTION, description)


def load_model(folder: Path | str) -> Model:
    """Read a model folder. Raises ModelError where it is missing, incomplete or of another format."""
    folder = Path(folder)
    if not (folder / DESCRIPTION).is_file():
        found = "there is no such folder" if not folder.exists() else "it holds no model.json"
        hint = "; its training was stopped before the first validation" if (folder / STATE).exists() else ""
        raise ModelError(f"{folder} is not a model: {found}{hint}. Give the folder that etpick train wrote")
    d = read_json(folder / DESCRIPTION)
    if d.get("format") != FORMAT:
        raise ModelError(
            f"{folder} is of model format {d.get('format')!r}, this etpick {__version__} reads {FORMAT}: "
            "pick with the etpick that wrote it, or train again"
        )
    try:
        classes = tuple(ParticleClass(c["name"], c["diameter_A"], c["color"]) for c in d["classes"])
        thresholds = tuple(float(c.get("threshold_of_network", c["threshold"])) for c in d["classes"])
        calibration = Calibration(**d["calibration"] | {"offsets": tuple(d["calibration"]["offsets"])})
        decision = Decision(classes, float(d["spacing_A"]), calibration, thresholds)
        weights = load_file(folder / WEIGHTS)
        history = read_json(folder / HISTORY) if (folder / HISTORY).exists() else []
        config = build(TrainingConfig, d["config"])
        picking = build(PickingConfig, d["picking"])
        return Model(
            config,
            decision,
            weights,
            d["trained_on"],
            d["validation"],
            tuple(history),
            picking,
            load_averages(folder),
            d["etpick"],
            folder,
        )
    except (KeyError, TypeError, OSError, SafetensorError) as error:
        raise ModelError(f"{folder} is damaged ({error}): train again, or restore it from a copy") from None


def save_state(folder: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write what training needs to go on, in one file, so that a crash cannot leave half of it."""
    with atomic_write(folder / STATE, overwrite=True) as path:
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            path,
            metadata={"description": json.dumps(description)},
        )


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_state` wrote. Raises ModelError where it cannot be read."""
    try:
        with safe_open(folder / STATE, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["description"])  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ModelError(f"the training state in {folder} is damaged ({error}): train again with --overwrite") from None


def stored_config(folder: Path) -> dict[str, Any]:
    """The configuration of the unfinished training in a folder; empty where there is none."""
    return dict(load_state(folder)[1]["config"]) if (folder / STATE).exists() else {}


def clear(folder: Path) -> None:
    """Remove a model and the state of its training, if they are there."""
    for name in (STATE, DESCRIPTION, WEIGHTS, HISTORY, AVERAGES, *INT8):
        (folder / name).unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Indented JSON, whole or not at all."""
    with atomic_write(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises ModelError where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
