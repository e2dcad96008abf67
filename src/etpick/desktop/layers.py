"""Tomograms and particles ↔ napari's layers, as the plain data that its readers and writers pass.

A layer's data are voxels, zyx, an integer being the centre of a voxel, as in etpick. Its scale is the spacing, so
that napari's world counts Å from the centre of the first voxel: world = index × spacing, as in other plugins, and
as the numbers in pick files of several binnings relate. So layers of different binning lie over each other to half a
voxel of the coarser one: binning by b shows (b − 1) / 2 fine voxels before the place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from etpick.desktop.looks import DEFAULT_DIAMETER_A, looks_of
from etpick.errors import InputError
from etpick.types import NAMELESS, FloatArray, ParticleClass, Particles, Shape3, Tomogram

KEY: Final = "etpick"
"""Under this name a layer's metadata hold what etpick knows of its tomogram."""

DEFAULT_DIAMETER_VX: Final = 20.0
_ANGLES = ("rot", "tilt", "psi")
_SLICES = 3  # looked at to choose the contrast
_AXES = {"scale": (1.0, 1.0, 1.0), "translate": (0.0, 0.0, 0.0)}
LayerData = tuple[Any, dict[str, Any], str]


def image_layer(tomogram: Tomogram) -> LayerData:
    """A tomogram as an image layer; copies with larger voxels make it multiscale, and nothing is read but slices."""
    data = [tomogram.data, *(copy.data for copy in tomogram.coarser)]
    knows = {"tomogram": tomogram.name, "spacing_A": tomogram.spacing_A, "shape": tomogram.shape}
    options = {
        "name": tomogram.name,
        "multiscale": len(data) > 1,
        "colormap": "gray",
        "contrast_limits": _contrast(tomogram),
        "metadata": {KEY: knows},
        **_in_space(tomogram.spacing_A),
    }
    return (data if len(data) > 1 else tomogram.data), options, "image"


def points_layer(
    particles: Particles, known: Sequence[ParticleClass] = (), shape: Shape3 | None = None
) -> tuple[LayerData, list[str]]:
    """Particles as a points layer, and the classes whose diameter is only the default.

    Spheres are drawn in their class's colour as wide as the particles, and smaller in slices beside their centres.
    """
    looks, unknown = looks_of(particles, known)
    spacing_A = particles.spacing_A
    diameters = {
        name: DEFAULT_DIAMETER_VX if spacing_A is None and name in unknown else look.diameter_A / (spacing_A or 1.0)
        for name, look in looks.items()
    }
    first = next(iter(looks), NAMELESS)
    colors: dict[str | None, str] = {None: "#ffffff"}  # of a class that is named in napari
    colors |= {name: look.color for name, look in looks.items()}
    default = DEFAULT_DIAMETER_VX if spacing_A is None else DEFAULT_DIAMETER_A / spacing_A
    knows = {
        "tomogram": particles.tomogram, "spacing_A": spacing_A, "shape": shape, "classes": list(looks),
        "diameters_vx": diameters, "default_vx": default,
    }  # fmt: skip
    size = sizes_vx(particles.classes, knows) if len(particles) else default
    options = {
        "name": particles.tomogram or "picks",
        "ndim": 3,
        "features": _features(particles),
        "feature_defaults": _defaults(particles, first),
        "size": size,
        "face_color": "transparent",
        "border_color": "class",
        "border_color_cycle": colors,
        "border_width": 0.08,
        "symbol": "disc",
        "projection_mode": "rescale_spherical",
        "metadata": {KEY: knows},
        **_in_space(spacing_A),
    }
    return (particles.positions, options, "points"), unknown


def sizes_vx(names: Any, knows: Mapping[str, Any]) -> FloatArray:
    """(n,) the width to draw for the class of each point, from what a layer's metadata know."""
    widths: Mapping[str, float] = knows["diameters_vx"]
    return np.array([widths.get(str(name), knows["default_vx"]) for name in names], dtype=np.float64)


def particles_of_layer(data: Any, options: Mapping[str, Any]) -> tuple[Particles, Shape3 | None, list[str]]:
    """The particles of a points layer, the shape of its tomogram, and what had to be assumed.

    Positions count in voxels of the tomogram whatever the layer's scale is now. A point added by hand where others
    have scores is certain, 1; where others have an orientation, its is 0, 0, 0. Raises InputError where the layer is
    turned or has no three axes.
    """
    points = np.asarray(data, dtype=np.float64)
    points = points.reshape(-1, 3) if not points.size else points
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"picks have three coordinates (z, y, x) and these points {points.shape[-1]}")
    knows = dict(options.get("metadata", {}).get(KEY, {}))
    features = options.get("features")
    notes: list[str] = []
    names = _column(features, "class", len(points))
    classes = np.full(len(points), NAMELESS) if names is None else _named(names, notes)
    particles = Particles(
        _voxels(points, options, knows.get("spacing_A")),
        classes,
        _scores(features, len(points)),
        _filled(features, "class_probability", len(points), 1.0),
        _angles(features, len(points), notes),
        knows.get("spacing_A"),
        knows.get("tomogram"),
    )
    return particles, knows.get("shape"), notes


def _in_space(spacing_A: float | None) -> dict[str, Any]:
    if spacing_A is None:
        return {"axis_labels": ("z", "y", "x")}
    return {"scale": (spacing_A,) * 3, "units": ("angstrom",) * 3, "axis_labels": ("z", "y", "x")}


def _contrast(tomogram: Tomogram) -> tuple[float, float]:
    """Grey levels from a few slices, so that napari need not read the whole file."""
    coarsest = tomogram.coarser[-1].data if tomogram.coarser else tomogram.data
    depth = coarsest.shape[0]
    places = sorted({depth // 2, depth // 3, (2 * depth) // 3})[:_SLICES]
    sample = np.concatenate([np.asarray(coarsest[z], dtype=np.float32).ravel() for z in places])
    sample = sample[np.isfinite(sample)]
    low, high = np.percentile(sample, (0.5, 99.5)) if len(sample) else (0.0, 1.0)
    return float(low), float(high if high > low else low + 1)


def _features(particles: Particles) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {"class": particles.classes.astype(object)}
    for name, values in (("score", particles.scores), ("class_probability", particles.class_probability)):
        if values is not None:
            columns[name] = values
    if particles.angles is not None:
        columns |= zip(_ANGLES, particles.angles.T, strict=True)
    return columns


def _defaults(particles: Particles, first: str) -> dict[str, Any]:
    values: dict[str, Any] = {"class": first, "score": 1.0, "class_probability": 1.0, **dict.fromkeys(_ANGLES, np.nan)}
    return {name: values[name] for name in _features(particles)}


def _voxels(points: FloatArray, options: Mapping[str, Any], spacing_A: float | None) -> FloatArray:
    if not np.allclose(np.asarray(options.get("rotate", np.eye(3))), np.eye(3)) or np.any(options.get("shear", 0)):
        raise InputError("the layer is turned or sheared: reset its transform before saving it as picks")
    affine = np.asarray(options.get("affine", np.eye(4)))
    if affine.shape == (4, 4) and not np.allclose(affine, np.eye(4)):
        raise InputError("the layer is moved by an affine transform: reset it before saving it as picks")
    if spacing_A is None:
        return points
    scale, translate = (np.asarray(options.get(name, none)) for name, none in _AXES.items())
    return np.asarray((points * scale + translate) / spacing_A, dtype=np.float64)


def _column(features: Any, name: str, count: int) -> NDArray[Any] | None:
    if features is None or name not in features:
        return None
    values = np.asarray(features[name])
    return values if len(values) == count else None


def _named(names: NDArray[Any], notes: list[str]) -> NDArray[np.str_]:
    blank = np.array([name is None or name != name or not str(name).strip() for name in names], dtype=bool)
    if blank.any():
        notes.append(f"{int(blank.sum())} points without a class are saved as 'particle'")
    return np.array([NAMELESS if none else str(name) for name, none in zip(names, blank, strict=True)], dtype=np.str_)


def _scores(features: Any, count: int) -> FloatArray | None:
    scores = _filled(features, "score", count, 1.0)
    if scores is not None and ((scores < 0) | (scores > 1)).any():
        raise InputError(f"a score lies outside 0–1 ({scores.min():g} to {scores.max():g}): correct the column score")
    return scores


def _filled(features: Any, name: str, count: int, missing: float) -> FloatArray | None:
    values = _column(features, name, count)
    if values is None:
        return None
    numbers = values.astype(np.float64)
    return None if len(numbers) and np.isnan(numbers).all() else np.where(np.isnan(numbers), missing, numbers)


def _angles(features: Any, count: int, notes: list[str]) -> FloatArray | None:
    columns = [_column(features, name, count) for name in _ANGLES]
    if any(column is None for column in columns):
        return None
    angles = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
    new = np.asarray(np.isnan(angles).any(axis=1))
    if len(new) and new.all():
        return None
    if new.any():
        notes.append(f"{int(new.sum())} points have no orientation and get 0, 0, 0")
    return np.where(new[:, None], 0.0, angles)
