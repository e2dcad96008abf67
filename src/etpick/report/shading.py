"""The zones where nothing is picked, drawn over a plane through the tomogram."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from etpick.exclusion import AVOID, EDGE, GOLD, MASK, SLAB, Zones
from etpick.report.marks import View
from etpick.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ZONE_COLORS: Final[Mapping[str, str]] = {
    EDGE: "#9aa4b2", SLAB: "#3f8cff", GOLD: "#ffc533", MASK: "#a06bff", AVOID: "#ff5fb0",
}  # fmt: skip
_MOST_POINTS: Final = 240  # along an axis of the picture
_OPACITY: Final = 0.3


def shade(axes: Axes, zones: Zones, view: View) -> None:
    """Tint and outline each zone in axes whose units are voxels."""
    from matplotlib.colors import to_rgb

    up, right, names = zone_map(zones, view)
    tint = np.zeros((*names.shape, 4))
    for zone in zones.asked:
        inside = names == zone
        tint[inside] = (*to_rgb(ZONE_COLORS[zone]), _OPACITY)
        if inside.any() and not inside.all():
            axes.contour(right, up, inside.astype(float), [0.5], colors=[ZONE_COLORS[zone]], linewidths=1.3)
    frame = axes.axis()
    axes.imshow(tint, extent=_extent(up, right), origin="lower", interpolation="nearest", aspect="auto")
    axes.axis(frame)


def zone_map(zones: Zones, view: View) -> tuple[FloatArray, FloatArray, NDArray[np.str_]]:
    """Voxels upwards (u,) and to the right (r,), and the name of the zone (u, r) at each of their crossings."""
    up, right = (np.linspace(0, n - 1, min(n, _MOST_POINTS)) for n in (zones.shape[axis] for axis in view.shown))
    positions = np.empty((len(up), len(right), 3))
    positions[..., view.axis] = view.index
    positions[..., view.shown[0]] = up[:, None]
    positions[..., view.shown[1]] = right
    return up, right, zones.of(positions.reshape(-1, 3)).reshape(len(up), len(right))


def _extent(up: FloatArray, right: FloatArray) -> tuple[float, float, float, float]:
    """Left, right, bottom and top edge of a picture with a pixel around each point."""
    half = [(axis[-1] - axis[0]) / max(len(axis) - 1, 1) / 2 for axis in (right, up)]
    return right[0] - half[0], right[-1] + half[0], up[0] - half[1], up[-1] + half[1]
