"""What things are: tomograms, particles, boxes. No torch, no files.

Positions are float64 voxel indices in the order (z, y, x) of the tomogram's own grid; an integer is
the centre of a voxel. Arrays are indexed [z, y, x].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from etpick.errors import InputError

FloatArray = NDArray[np.float64]
NAMELESS: Final = "particle"
"""The class of picks whose file names none."""

NEGATIVE: Final = "not-a-particle"
"""The class of picks that mark where no particle is, to learn from."""

COLORS: Final = (
    "#e41a1c", "#377eb8", "#4daf4a", "#ff7f00", "#984ea3", "#17becf",
    "#f781bf", "#a65628", "#dede00", "#1b9e77", "#666666", "#7570b3",
)  # fmt: skip
"""Given to classes in turn (the first eight follow ColorBrewer's Set1, without its pale yellow)."""

Shape3 = tuple[int, int, int]


class Volume(Protocol):
    """Anything that can be cut like an array [z, y, x]: an array, a memory map, a Zarr array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along z, y, x in voxels."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""

    def __getitem__(self, key: Any, /) -> Any:
        """The sub-array at three slices."""


@dataclass(frozen=True, eq=False)
class Tomogram:
    """A 3D image with its spacing.

    `data` is [z, y, x] and may be a memory map: cut it before computing. `spacing_A` is the edge of a
    voxel in Å, the same on the three axes. `coarser` are copies of the same field of view with larger voxels,
    where the file holds such; positions are always in voxels of the tomogram itself.
    """

    data: Volume
    spacing_A: float
    name: str = "tomogram"
    path: Path | None = None
    coarser: tuple[Tomogram, ...] = ()

    def __post_init__(self) -> None:
        if len(self.data.shape) != 3:
            raise InputError(
                f"{self.name} has {len(self.data.shape)} dimensions {tuple(self.data.shape)}; "
                "a tomogram has three (z, y, x)"
            )
        if not (np.isfinite(self.spacing_A) and self.spacing_A > 0):
            raise InputError(f"voxel spacing {self.spacing_A} Å of {self.name} is not a positive number")

    @property
    def shape(self) -> Shape3:
        """Sizes along z, y, x in voxels."""
        z, y, x = self.data.shape
        return int(z), int(y), int(x)

    def at(self, spacing_A: float) -> Tomogram:
        """The copy nearest to a wanted spacing among those at most a fifth coarser, so that nothing is lost."""
        fitting = [copy for copy in self.coarser if self.spacing_A < copy.spacing_A <= 1.2 * spacing_A]
        return max(fitting, key=lambda copy: copy.spacing_A, default=self)


@dataclass(frozen=True)
class ParticleClass:
    """A kind of particle: its name, its diameter in Å and the colour it is drawn in."""

    name: str
    diameter_A: float
    color: str = COLORS[0]


@dataclass(frozen=True, eq=False)
class Particles:
    """Particle centres in one tomogram, in voxels of that tomogram's file.

    positions: (n, 3) float64, zyx voxel indices. classes: (n,) names. scores: (n,) in 0–1, or None where
    nobody scored (manual picks). class_probability: (n,) chance that the class is right, given that a
    particle is there, or None. angles: (n, 3) ZYZ intrinsic rot, tilt, psi in degrees, or None.
    spacing_A and tomogram travel along where they are known.
    """

    positions: FloatArray
    classes: NDArray[np.str_]
    scores: FloatArray | None = None
    class_probability: FloatArray | None = None
    angles: FloatArray | None = None
    spacing_A: float | None = None
    tomogram: str | None = None

    def __post_init__(self) -> None:
        positions = np.asarray(self.positions, dtype=np.float64).reshape(-1, 3)
        n = len(positions)
        object.__setattr__(self, "positions", positions)
        classes = np.asarray(self.classes, dtype=np.str_)
        object.__setattr__(self, "classes", np.broadcast_to(classes, (n,)) if classes.ndim == 0 else classes)
        for name, width in (("scores", ()), ("class_probability", ()), ("angles", (3,))):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, np.asarray(value, dtype=np.float64).reshape(n, *width))
        if self.classes.shape != (n,):
            raise InputError(f"{n} positions but {self.classes.shape} classes")

    def __len__(self) -> int:
        return len(self.positions)

    def select(self, index: NDArray[Any] | slice | Sequence[int]) -> Self:
        """The particles at a boolean mask, slice or list of indices, in that order."""
        rows = {
            name: value[index]
            for name in ("positions", "classes", "scores", "class_probability", "angles")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **rows)

    def of_class(self, name: str) -> Self:
        """The particles of one class."""
        return self.select(self.classes == name)

    @classmethod
    def empty(cls, spacing_A: float | None = None, tomogram: str | None = None) -> Self:
        """No particles."""
        none = np.zeros(0)
        return cls(np.zeros((0, 3)), np.zeros(0, dtype=np.str_), none, none, None, spacing_A, tomogram)


@dataclass(frozen=True)
class Box:
    """A box of voxels [start, stop) on the three axes; may reach beyond the volume."""

    start: Shape3
    stop: Shape3

    @property
    def shape(self) -> Shape3:
        """Sizes along z, y, x."""
        z, y, x = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """For indexing an array; only right for a box inside the volume."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    def contains(self, positions: FloatArray) -> NDArray[np.bool_]:
        """(n, 3) positions → (n,) whether each lies in the box, its voxels being one unit wide."""
        low, high = np.array(self.start) - 0.5, np.array(self.stop) - 0.5
        return np.asarray(((positions >= low) & (positions < high)).all(axis=1))


@dataclass(frozen=True)
class TrainingItem:
    """One labelled tomogram: the places marked in it, and whether it validates rather than trains."""

    tomogram: Tomogram
    particles: Particles
    validate: bool = False

    @property
    def real(self) -> Particles:
        """The particles marked, without the places marked as none."""
        return self.particles.select(self.particles.classes != NEGATIVE)


@dataclass(frozen=True)
class Dataset:
    """Labelled tomograms and the classes to learn; of those given in one colour each gets its own, as far
    as there are colours.

    `partial_labels` says that some particles in them were not marked.
    """

    classes: tuple[ParticleClass, ...]
    items: tuple[TrainingItem, ...] = field(default=())
    partial_labels: bool = False

    def __post_init__(self) -> None:
        taken, classes = {c.color for c in self.classes}, list[ParticleClass]()
        free = iter([color for color in COLORS if color not in taken])
        for one in self.classes:
            shared = any(one.color == other.color for other in classes)
            classes.append(replace(one, color=next(free, one.color)) if shared else one)
        object.__setattr__(self, "classes", tuple(classes))
