"""What an assessment finds out about one set of picks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from etpick.averaging.expectation import Poses
from etpick.errors import InputError
from etpick.evaluation.resolution import BFactor, Halves, b_factor, resolution_A
from etpick.io.atomic import atomic_write
from etpick.types import FloatArray

FILE: Final = "assessed.json"


@dataclass(frozen=True, eq=False)
class Averaged:
    """A refinement of two halves.

    half_maps: two volumes [z, y, x] of `spacing_A`, not filtered. half: (n,) 0 or 1, of each particle. poses: final.
    log_likelihood: (n,) contribution of each particle (see `likelihood_is`). top: (n,) maximum-value probability.
    correlation: (n,) with its half-map. start_A: wavelength down to which the halves began from one reference.
    curves: Fourier shell correlations, where the refining program has made them itself.
    """

    how: str
    half_maps: tuple[FloatArray, FloatArray]
    spacing_A: float
    half: FloatArray
    poses: Poses
    log_likelihood: FloatArray
    likelihood_is: str
    top: FloatArray
    correlation: FloatArray
    start_A: float
    curves: Halves | None = None


@dataclass(frozen=True, eq=False)
class SetResult:
    """A set of picks assessed. Lengths in Å.

    how: the program. box_A: edge of the half-maps, shell j of a curve holds waves of box_A / j. subset_counts and
    subset_resolutions_A: (m,) of random subsets, no finer than subset_limit_A. local_A: (q,) local resolutions within
    the mask. moved_A: (n,) from each pick to where its particle was found.
    """

    name: str
    how: str
    particles: int
    box_A: float
    spacing_A: float
    start_A: float
    curves: Halves
    local_A: FloatArray
    subset_counts: FloatArray
    subset_resolutions_A: FloatArray
    subset_limit_A: float
    log_likelihood: FloatArray
    likelihood_is: str
    top: FloatArray
    correlation: FloatArray
    moved_A: FloatArray

    @property
    def resolution_A(self) -> float:
        """At a corrected correlation of 0.143."""
        return resolution_A(self.curves.corrected, self.box_A)

    @property
    def limit_A(self) -> float:
        """The shortest wave of a curve."""
        return self.box_A / (len(self.curves.corrected) - 1)

    @property
    def at_limit(self) -> bool:
        """Whether the resolution is as good as the spacing allows, so that it tells nothing apart."""
        return self.resolution_A <= self.limit_A * (1 + 1e-6)

    @property
    def b_factor(self) -> BFactor | None:
        """Of the subsets whose resolution the spacing does not limit."""
        return b_factor(self.subset_counts[self.free], self.subset_resolutions_A[self.free])

    @property
    def free(self) -> NDArray[np.bool_]:
        """(m,) which of the subsets' resolutions the spacing does not limit."""
        return np.asarray(self.subset_resolutions_A > self.subset_limit_A * (1 + 1e-6))

    def line(self) -> str:
        """In a sentence, for the terminal."""
        found = "no resolution" if np.isinf(self.resolution_A) else f"{self.resolution_A:.1f} Å"
        limit = " (the limit of the spacing)" if self.at_limit else ""
        return (
            f"{self.name}: {self.particles} particles, {found}{limit}, mean correlation with the average "
            f"{self.correlation.mean():.3f}, mean maximum-value probability {self.top.mean():.2f}"
        )

    def write(self, path: Path) -> None:
        """As JSON, to be read again."""
        content = {name: _plain(value) for name, value in asdict(self).items()}
        content |= {"resolution_A": _plain(self.resolution_A), "b_factor_A2": self.b_factor and self.b_factor.b_A2}
        with atomic_write(path, overwrite=True) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_result(path: Path) -> SetResult:
    """What `SetResult.write` wrote; raises InputError where another version of etpick did."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if missing := SetResult.__dataclass_fields__.keys() - content.keys():
        raise InputError(
            f"{path} was written by another version of etpick (it lacks {', '.join(sorted(missing))}): begin anew with "
            "--overwrite"
        )
    curves = content.pop("curves")
    random_from = curves.pop("random_from")
    halves = Halves(**{name: _array(values) for name, values in curves.items()}, random_from=random_from)
    known = {name: content[name] for name in SetResult.__dataclass_fields__ if name in content}
    arrays = {name: _array(value) for name, value in known.items() if isinstance(value, list)}
    return SetResult(**(known | arrays), curves=halves)


def _array(values: list[float | None]) -> FloatArray:
    return np.array([np.inf if value is None else value for value in values], dtype=np.float64)


def _plain(value: Any) -> Any:
    """For JSON, which has no infinity."""
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value.tolist()]
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
