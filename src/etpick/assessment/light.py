"""The light path: refinement in Python, without RELION."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from etpick.assessment.particles import Extracted
from etpick.assessment.result import Averaged
from etpick.averaging.refine import Refiner

NAME: Final = "light path"
LIKELIHOOD: Final = "log-likelihood, above noise alone"


def refiner_of(
    extracted: Extracted, diameter_A: float, reach_A: float, seed: int, on_step: Callable[[], None]
) -> Refiner:
    """A refiner of the particles; `reach_A` is how far a particle may lie from its pick."""
    scale = extracted.spacing_A
    return Refiner(extracted.spectra, extracted.grid, diameter_A / scale, reach_A / scale, seed, on_step)


def refine_light(
    extracted: Extracted, diameter_A: float, reach_A: float, seed: int, on_step: Callable[[], None]
) -> Averaged:
    """Refine two halves apart from a common start at low resolution; see `etpick.averaging.refine`."""
    refined = refiner_of(extracted, diameter_A, reach_A, seed, on_step).run()
    one, other = (np.asarray(volume.double().numpy()) for volume in refined.half_maps)
    evidence, top, correlation = (
        np.asarray(values.double().numpy()) for values in (refined.evidence, refined.top, refined.correlation)
    )
    return Averaged(
        NAME, (one, other), extracted.spacing_A, np.asarray(refined.half.double().numpy()), refined.poses, evidence,
        LIKELIHOOD, top, correlation, extracted.box_A / refined.start_shell,
    )  # fmt: skip
