"""Slices of a tomogram with picks drawn in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from etpick.report.marks import Marks, View, busiest_slices, mark
from etpick.report.shading import shade
from etpick.types import ParticleClass, Particles, Tomogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from etpick.exclusion import Zones

# Apart in lightness as well as in hue; wrong and left-out picks also wear a cross, missed particles a dashed circle.
STATE_COLORS: Mapping[str, str] = {
    "right": "#37d67a",
    "other class": "#4db5ff",
    "wrong": "#ff4d4d",
    "missed": "#ffc533",
    "left out": "#ffffff",
}
CROSSED: Final = ("wrong", "left out")
_CONTRAST_PERCENTILES = (1.0, 99.0)
_INCHES = 5.0
_LEAST_RADIUS = 0.3  # of the particle's: smaller circles only clutter the slice
DASHES = (0, (2.4, 1.6))


def draw_slices(
    tomogram: Tomogram,
    picks: Particles,
    truth: Particles | None,
    classes: Sequence[ParticleClass],
    *,
    slices: Sequence[int] | None = None,
    count: int = 3,
) -> Figure:
    """Slices side by side; with truth, picks are green where right, red where wrong, missed ones dashed.

    A circle has the particle's diameter where the slice cuts its middle and shrinks like a sphere above and
    below. Where `slices` are not given, the `count` that cut the most particles are taken. y points up, as
    in 3dmod.
    """
    marks = mark(picks, truth, classes, tomogram.spacing_A)
    chosen = list(slices) if slices is not None else busiest_slices(marks, tomogram.shape[0], count)
    return draw_marks(tomogram, marks, classes, chosen, titles=True)


def draw_marks(
    tomogram: Tomogram,
    marks: Marks,
    classes: Sequence[ParticleClass],
    slices: Sequence[int],
    *,
    titles: bool = False,
) -> Figure:
    """One panel for each slice, with marks already made; `titles` adds the slice number and a legend."""
    from matplotlib.figure import Figure

    _, height, width = tomogram.shape
    extra = 0.62 if titles else 0.0
    panel = _INCHES * height / width
    figure = Figure(figsize=(_INCHES * len(slices), panel + extra), facecolor="white" if titles else "none")
    for i, z in enumerate(slices):
        box = (i / len(slices), extra / 2 / (panel + extra), 1 / len(slices), panel / (panel + extra))
        margin = 0.012 / len(slices) if titles else 0.0
        axes = figure.add_axes((box[0] + margin / 2, box[1], box[2] - margin, box[3]))
        _draw_view(axes, tomogram, marks, classes, View(0, z))
        if titles:
            axes.set_title(f"z = {z}", fontsize=11, pad=5)
    if titles:
        _legend(figure, marks, classes)
    return figure


def draw_view(
    tomogram: Tomogram, marks: Marks, classes: Sequence[ParticleClass], view: View, zones: Zones | None = None,
    *, colors: Mapping[str, str] = STATE_COLORS,
) -> Figure:  # fmt: skip
    """One plane through a tomogram, seen along any axis, with the zones where nothing is picked shaded.

    `colors` are those of the marks' states; picks of no other state have the colour of their class.
    """
    from matplotlib.figure import Figure

    up, right = view.shown
    figure = Figure(figsize=(_INCHES, _INCHES * tomogram.shape[up] / tomogram.shape[right]), facecolor="none")
    axes = figure.add_axes((0, 0, 1, 1))
    _draw_view(axes, tomogram, marks, classes, view, colors)
    if zones is not None:
        shade(axes, zones, view)
    return figure


def slab(tomogram: Tomogram, index: int, half: int, axis: int = 0) -> NDArray[np.float32]:
    """Mean over slices index − half … index + half, stretched to 0–1 between its 1st and 99th percentile."""
    low, high = max(index - half, 0), min(index + half + 1, tomogram.shape[axis])
    cut = tuple(slice(low, high) if a == axis else slice(None) for a in range(3))
    mean = np.asarray(tomogram.data[cut], dtype=np.float32).mean(axis=axis)
    dark, bright = np.percentile(mean, _CONTRAST_PERCENTILES)
    return np.asarray(np.clip((mean - dark) / max(float(bright - dark), 1e-12), 0, 1), dtype=np.float32)


def colors_of(classes: Sequence[ParticleClass]) -> dict[str, str]:
    """The colour of each class as #rrggbb; grey where what was given is no colour."""
    from matplotlib.colors import is_color_like, to_hex

    return {c.name: to_hex(c.color) if is_color_like(c.color) else "#888888" for c in classes}


def round_length_nm(longest_nm: float) -> float:
    """The largest of 1, 2, 5 × 10^k that is not above `longest_nm`."""
    power = 10.0 ** math.floor(math.log10(longest_nm))
    return max(step * power for step in (1, 2, 5) if step * power <= longest_nm * (1 + 1e-9))


def _draw_view(
    axes: Axes, tomogram: Tomogram, marks: Marks, classes: Sequence[ParticleClass], view: View,
    colors: Mapping[str, str] = STATE_COLORS,
) -> None:  # fmt: skip
    height, width = (tomogram.shape[axis] for axis in view.shown)
    smallest = min((c.diameter_A / 2 / tomogram.spacing_A for c in classes), default=3.0)
    axes.imshow(
        slab(tomogram, view.index, max(1, round(smallest / 3)), view.axis), cmap="gray", vmin=0, vmax=1, origin="lower",
        interpolation="lanczos", aspect="auto",
    )  # fmt: skip
    axes.set(xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))
    axes.set_axis_off()
    radii = np.sqrt(np.clip(marks.radii**2 - (marks.positions[:, view.axis] - view.index) ** 2, 0, None))
    for state in (*colors, "pick"):
        shown = (radii > _LEAST_RADIUS * marks.radii) & (marks.states == state)
        if shown.any():
            color = colors.get(state) or [colors_of(classes)[str(name)] for name in marks.classes[shown]]
            _circles(axes, marks, radii, shown, state, color, view)
    _scale_bar(axes, tomogram.spacing_A, height, width)


def _circles(
    axes: Axes, marks: Marks, radii: NDArray[np.float64], shown: NDArray[np.bool_], state: str, color: Any, view: View,
) -> None:  # fmt: skip
    from matplotlib.collections import EllipseCollection
    from matplotlib.patheffects import withStroke

    up, right = marks.positions[shown][:, view.shown].T
    halo: list[Any] = [withStroke(linewidth=2.6, foreground="#00000090")]
    circles = EllipseCollection(
        2 * radii[shown], 2 * radii[shown], np.zeros(len(up)), units="xy", offsets=np.column_stack([right, up]),
        offset_transform=axes.transData, facecolors="none", edgecolors=color, linewidths=1.5,
        linestyles=[DASHES if state == "missed" else "-"],
    )  # fmt: skip
    circles.set_path_effects(halo)
    axes.add_collection(circles, autolim=False)
    if state in CROSSED:
        axes.scatter(right, up, s=14, marker="x", c=color, linewidths=1.2, path_effects=halo)


def _scale_bar(axes: Axes, spacing_A: float, height: int, width: int) -> None:
    from matplotlib.patches import Rectangle

    nm_per_voxel = spacing_A / 10
    length_nm = round_length_nm(0.3 * width * nm_per_voxel)
    x, y, thick = 0.03 * width, 0.03 * height, 0.011 * width
    bar = Rectangle((x, y), length_nm / nm_per_voxel, thick, facecolor="white", edgecolor="#000000a0", linewidth=0.8)
    axes.add_patch(bar)
    axes.text(
        x + length_nm / nm_per_voxel / 2, y + thick * 1.6, f"{length_nm:g} nm", color="white", fontsize=10,
        ha="center", va="bottom", path_effects=_text_halo(),
    )  # fmt: skip


def _text_halo() -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.2, foreground="#000000c0")]


def _legend(figure: Figure, marks: Marks, classes: Sequence[ParticleClass]) -> None:
    from matplotlib.lines import Line2D

    def circle(color: str, label: str, dashed: bool = False) -> Line2D:
        text = label.replace("$", r"\$")
        return Line2D([], [], color=color, label=text, linestyle=DASHES if dashed else "-", linewidth=2)

    present = set(marks.states.tolist())
    entries = [circle(STATE_COLORS[s], s, s == "missed") for s in STATE_COLORS if s in present]
    if "pick" in present:
        names = set(marks.classes.tolist())
        entries += [circle(color, name) for name, color in colors_of(classes).items() if name in names]
    if entries:
        figure.legend(handles=entries, loc="lower center", ncols=len(entries), frameon=False, fontsize=10)
