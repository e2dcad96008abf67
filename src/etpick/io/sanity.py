"""Do picks fit a tomogram: another spacing, picks outside, listed twice, and the mistakes that would explain them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from etpick.types import FloatArray, Shape3, Tomogram

MARGIN_VX = 1.0
"""How far outside a centre may lie: other programs count from 1 or from the edge of a voxel."""

SPACING_TOLERANCE = 0.01
"""Relative difference up to which two spacings are one: headers round."""

Undo = Callable[[FloatArray, Shape3], FloatArray]

SWAPS: Final = ("xy", "xz", "yz")
FLIPS: Final = ("x", "y", "z")
_AXES: Final = "zyx"


def swapped(positions: FloatArray, axes: str) -> FloatArray:
    """(n, 3) zyx voxels with two axes exchanged, "xz" say."""
    one, other = (_AXES.index(axis) for axis in axes)
    out = positions.copy()
    out[:, [one, other]] = positions[:, [other, one]]
    return out


def flipped(positions: FloatArray, shape: tuple[float, float, float], axis: str) -> FloatArray:
    """(n, 3) zyx voxels in a volume of that shape, one axis of which is counted from its other end."""
    number = _AXES.index(axis)
    out = positions.copy()
    out[:, number] = shape[number] - 1 - out[:, number]
    return out


MISTAKES: Mapping[str, Undo] = MappingProxyType(
    {
        "x and z are swapped (convert --swap xz)": lambda p, _: swapped(p, "xz"),
        "y and z are swapped (convert --swap yz)": lambda p, _: swapped(p, "yz"),
        "x and y are swapped (convert --swap xy)": lambda p, _: swapped(p, "xy"),
        "they are in voxels 2 times finer (binning = 2)": lambda p, _: p / 2,
        "they are in voxels 4 times finer (binning = 4)": lambda p, _: p / 4,
        "they are in voxels 2 times coarser (binning = 0.5)": lambda p, _: p * 2,
        "they are in voxels 4 times coarser (binning = 0.25)": lambda p, _: p * 4,
        "z runs the other way (convert --flip z)": lambda p, shape: flipped(p, shape, "z"),
        "y runs the other way (convert --flip y)": lambda p, shape: flipped(p, shape, "y"),
        "x runs the other way (convert --flip x)": lambda p, shape: flipped(p, shape, "x"),
    }
)
"""What may have happened to picks in a volume of a shape, with what mends their file, and what undoes it here:
(n, 3) zyx → (n, 3) zyx."""


def is_outside(positions: FloatArray, shape: Shape3) -> NDArray[np.bool_]:
    """(n, 3) zyx voxels → (n,) whether each lies more than a voxel outside the volume."""
    beyond = (positions < -0.5 - MARGIN_VX) | (positions > np.array(shape) - 0.5 + MARGIN_VX)
    return np.asarray(beyond.any(axis=1))


def fitting_mistakes(positions: FloatArray, shape: Shape3) -> list[str]:
    """The mistakes that, undone, put every pick inside; the simplest first."""
    return [what for what, undo in MISTAKES.items() if not is_outside(undo(positions, shape), shape).any()]


def describe_outside(positions: FloatArray, shape: Shape3, cause: str | None = None) -> str | None:
    """How many picks lie outside, where they reach, and what would explain it; None where all are inside.

    `cause` is the explanation, where the caller knows better than sizes tell.
    """
    outside = int(is_outside(positions, shape).sum())
    if not outside:
        return None
    low, high = positions.min(axis=0), positions.max(axis=0)
    reach = ", ".join(f"{axis} {low[i]:.0f} to {high[i]:.0f}" for i, axis in ((2, "x"), (1, "y"), (0, "z")))
    size = " × ".join(str(n) for n in shape[::-1])
    guess = next(iter(fitting_mistakes(positions, shape)), "they belong to another tomogram")
    why = cause or f"perhaps {guess}"
    return f"{outside} of {len(positions)} picks lie outside: they reach {reach}, the volume is {size}; {why}"


def same_spacing(one_A: float, other_A: float) -> bool:
    """Whether two spacings agree within 1 %."""
    return abs(one_A / other_A - 1) <= SPACING_TOLERANCE


def describe_spacing(stated_A: float | None, tomogram: Tomogram, binning: float = 1.0) -> str | None:
    """What to do where picks read with `binning` say that they are in other voxels than the tomogram's.

    `stated_A` is the spacing that their file states, times `binning`; None where it states none.
    """
    spacing_A = tomogram.spacing_A
    if not stated_A or same_spacing(stated_A, spacing_A):
        return None
    read = "" if binning == 1 else f" at binning = {binning:g}"
    return (
        f"the picks are for voxels of {stated_A:g} Å{read}, {tomogram.name} has {spacing_A:g} Å: "
        f"set binning = {binning * spacing_A / stated_A:.4g} for them in the project file, "
        f"or spacing_A = {stated_A:g} where the tomogram's is wrong"
    )


def repeated(positions: FloatArray, distance_vx: float = 1.0) -> NDArray[np.bool_]:
    """(n,) whether an earlier, kept pick is nearer than `distance_vx`: the same particle listed again."""
    from scipy.spatial import cKDTree

    again = np.zeros(len(positions), dtype=bool)
    if len(positions):
        for first, second in sorted(cKDTree(positions).query_pairs(distance_vx)):
            again[second] |= not again[first]
    return again
