"""What training tells while it runs, and how it says that it was stopped."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from etpick.data import Readable
from etpick.errors import TrainingError
from etpick.types import ParticleClass, Particles


@dataclass(frozen=True)
class TrainingProgress:
    """What a progress bar shows after a step. Minutes are wall time; NaN where not known yet."""

    step: int
    steps: int
    loss: float
    minutes: float
    minutes_left: float
    validation_f1: float = math.nan
    best_f1: float = math.nan
    message: str = ""


OnProgress = Callable[[TrainingProgress], None]


@dataclass(frozen=True, eq=False)
class Validated:
    """What the averaged weights pick in the validation volumes after a step, and what is labelled there.

    picks and truths: one for each of the volumes, in its working voxels of `spacing_A`. `f1` is of localisation.
    """

    step: int
    f1: float
    spacing_A: float
    classes: tuple[ParticleClass, ...]
    volumes: tuple[Readable, ...]
    picks: tuple[Particles, ...]
    truths: tuple[Particles, ...]


OnValidated = Callable[[Validated], None]


class Interrupted(TrainingError):
    """Training was asked to stop; its state is saved."""
