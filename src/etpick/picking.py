"""Pick one tomogram with a model: open → measure → search → decide, back in the file's own voxels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from etpick.checkpoint import Model
from etpick.config import BINARY_FLOOR, PickingConfig, build
from etpick.data import WorkingVolume, open_volume
from etpick.decision import Decision
from etpick.errors import SpacingError
from etpick.inference import choose_device, search
from etpick.nn.networks import Network
from etpick.ops.calibrate import identity
from etpick.types import Particles, Tomogram

COARSEST_RATIO: Final = 2.5  # a tomogram this much coarser than the model's spacing has lost the particles
FINEST_RATIO: Final = 0.1


@dataclass(frozen=True, eq=False)
class Found:
    """Picks of one tomogram, and what stood behind the decision.

    `all` holds every candidate with its score, `picks` those above the thresholds, both in the file's
    voxels; `why_empty` says in a sentence why there are no picks, where there are none.
    """

    picks: Particles
    all: Particles
    why_empty: str = ""


class Picker:
    """A model loaded onto a device, to pick many tomograms with.

    `options` are fields of PickingConfig that stand in for the model's own; None changes nothing.
    """

    def __init__(self, model: Model, **options: Any) -> None:
        given = {name: value for name, value in options.items() if value is not None}
        self.model = model
        self.config = build(PickingConfig, model.picking.model_dump() | given)
        self.device: torch.device = choose_device(self.config.device)
        self.network: Network = model.network(self.device)
        self.finder = model.finder(self.config)
        self.decision = as_published(model.decision) if self.config.binary else model.decision

    def __call__(self, tomogram: Tomogram, on_progress: Callable[[int, int], None] | None = None) -> Found:
        """Find the particles of a tomogram. Raises SpacingError, InputError (NaN, no image)."""
        check_spacing(tomogram, self.model.spacing_A)
        volume = open_volume(tomogram, self.model.spacing_A, self.model.config)
        candidates = search(volume, self.network, self.finder, self.config, self.device, on_progress)
        everything = self._in_file(self.decision.all(candidates), volume)
        picks = self._in_file(self.decision(candidates, self.config.min_score), volume)
        return Found(picks, everything, "" if len(picks) else self._why_empty(everything))

    def _in_file(self, picks: Particles, volume: WorkingVolume) -> Particles:
        positions = np.clip(volume.to_file(picks.positions), -0.5, np.array(volume.tomogram.shape) - 0.5)
        t = volume.tomogram
        return replace(picks, positions=positions, spacing_A=t.spacing_A, tomogram=t.name)

    def _why_empty(self, everything: Particles) -> str:
        if not len(everything):
            return (
                "the score map has no maximum above its floor anywhere: check the contrast (particles must be as "
                "dark or bright as in training), the spacing, and that this is a tomogram like those trained on"
            )
        best = float(everything.scores.max()) if everything.scores is not None else 0.0
        needed = self.config.min_score
        least = min(self.decision.thresholds) if needed is None else needed
        return (
            f"{len(everything)} candidates were found, the best with score {best:.3f}, but none reaches the "
            f"threshold ({least:.3f} at the lowest): lower it with --min-score to see them"
        )


def as_published(decision: Decision) -> Decision:
    """For the binary map: its pooled share is the score, and every maximum above t_lm = 0.1 a pick."""
    count = len(decision.classes)
    return replace(decision, calibration=identity(count), thresholds=(BINARY_FLOOR,) * count)


def check_spacing(tomogram: Tomogram, model_A: float) -> None:
    """Refuse a tomogram whose spacing cannot be brought to the model's. Raises SpacingError."""
    ratio = tomogram.spacing_A / model_A
    if not FINEST_RATIO <= ratio <= COARSEST_RATIO:
        raise SpacingError(
            f"{tomogram.name} has {tomogram.spacing_A:g} Å voxels and the model works at {model_A:g} Å: too far "
            "apart to rescale. If the header is wrong pass --spacing, otherwise use a tomogram binned like those "
            "trained on"
        )
