"""What napari calls: readers of tomograms and picks, writers of picks; named in napari.yaml.

npe2 chooses readers by patterns of file names, so each looks into the file and returns None where it is another's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from etpick.desktop.layers import KEY, LayerData, image_layer, particles_of_layer, points_layer, sizes_vx
from etpick.desktop.looks import DEFAULT_DIAMETER_A, classes_near
from etpick.desktop.opening import is_picks, open_picks
from etpick.errors import EtpickError, InputError, OutputError, SpacingError
from etpick.io.formats.base import PickFormat, class_order
from etpick.io.formats.registry import BY_NAME
from etpick.io.picks import write_picks
from etpick.io.sanity import describe_outside
from etpick.io.tomograms import open_tomogram
from etpick.types import Particles, Tomogram

Reader = Callable[[Any], list[LayerData]]
Writer = Callable[[str, Any, dict[str, Any]], list[str]]


def tomogram_reader(path: str | list[str]) -> Reader | None:
    """napari's reader of tomograms; None where a file is no volume of numbers."""
    return _each(path, _is_tomogram, _read_tomogram)


def picks_reader(path: str | list[str]) -> Reader | None:
    """napari's reader of picks; None where a file holds none."""
    return _each(path, is_picks, _read_picks)


def _each(
    path: str | list[str], ours: Callable[[Path], bool], read: Callable[[Path], list[LayerData]]
) -> Reader | None:
    paths = [Path(entry) for entry in ([path] if isinstance(path, str) else path)]
    if not all(ours(entry) for entry in paths):
        return None
    return lambda _: [layer for entry in paths for layer in read(entry)]


def _is_tomogram(path: Path) -> bool:
    try:
        open_tomogram(path, spacing_A=1.0)  # whatever its header says, which is told when it is read
    except EtpickError:
        return False
    return True


def _read_tomogram(path: Path) -> list[LayerData]:
    try:
        return [image_layer(open_tomogram(path))]
    except SpacingError as error:
        _warn(f"{error}. Shown in voxels, not in Å: correct the header")
        data, options, kind = image_layer(open_tomogram(path, spacing_A=1.0))
        unscaled = {name: value for name, value in options.items() if name not in ("scale", "units", "metadata")}
        return [(data, unscaled, kind)]


def _read_picks(path: Path) -> list[LayerData]:
    every = open_picks(path, _open_tomograms())
    known = classes_near(path, {str(name) for opened in every for name in opened.particles.classes})
    layers = []
    _dress_from_now_on()
    for opened in every:
        layer, unknown = points_layer(opened.particles, known, opened.shape)
        layers.append(layer)
        for note in (*opened.notes, *_about_size(unknown, opened.particles.spacing_A)):
            _warn(note)
    return layers


def _about_size(unknown: list[str], spacing_A: float | None) -> list[str]:
    if not unknown or spacing_A is None:
        return []
    return [
        f"no project file or model beside the picks tells the diameter of {', '.join(unknown)}: drawn "
        f"{DEFAULT_DIAMETER_A:g} Å wide"
    ]


def _open_tomograms() -> list[Tomogram]:
    """The tomograms that etpick has opened in napari's window."""
    import napari

    viewer = napari.current_viewer()
    return [] if viewer is None else [t for layer in viewer.layers if (t := _tomogram_of(layer))]


def _tomogram_of(layer: Any) -> Tomogram | None:
    from napari.layers import Image

    knows = layer.metadata.get(KEY)
    if knows is None or not isinstance(layer, Image):
        return None
    data = layer.data[0] if layer.multiscale else layer.data
    return Tomogram(data, knows["spacing_A"], knows["tomogram"])


def _dress_from_now_on() -> None:
    """See to it that spheres of layers that come into napari's window stay as wide as their class."""
    import napari

    viewer = napari.current_viewer()
    if viewer is not None:
        viewer.layers.events.inserted.connect(_dress)  # connecting the same function again changes nothing


def _dress(event: Any) -> None:
    import napari

    follow_classes(event.value)
    if (viewer := napari.current_viewer()) is not None:
        see_beside(viewer, event.value)


def see_beside(viewer: Any, layer: Any) -> None:
    """Let a slice show spheres whose centres are beside it: napari looks as far as the dimensions' margins reach."""
    widths = list(layer.metadata.get(KEY, {}).get("diameters_vx", {}).values())
    if widths and viewer.dims.ndim == len(layer.scale):
        reach = max(widths) / 2 * np.asarray(layer.scale)
        viewer.dims.margin_left = tuple(np.maximum(viewer.dims.margin_left, reach))
        viewer.dims.margin_right = tuple(np.maximum(viewer.dims.margin_right, reach))


def follow_classes(layer: Any) -> None:
    """Draw points as wide as their class and in its colour, when one is added and when a class is changed."""
    knows = layer.metadata.get(KEY, {})
    if "diameters_vx" not in knows:
        return

    def redraw(_: Any = None) -> None:
        names = layer.features["class"]
        if len(names) == len(layer.data) == len(layer.size):
            wanted = sizes_vx(names, knows)
            if (wanted != layer.size).any():
                layer.size = wanted
            layer.refresh_colors()

    layer.events.data.connect(redraw)
    layer.events.features.connect(redraw)


def _writer(style: str) -> Writer:
    def write(path: str, data: Any, options: dict[str, Any]) -> list[str]:
        """Save a points layer; napari has asked before it replaces the file, but not those written beside it."""
        form, target = BY_NAME[style], Path(path)
        particles, shape, notes = particles_of_layer(data, _placed(options))
        _refuse_beside(target, form.beside)
        if shape is not None and (outside := describe_outside(particles.positions, shape)):
            notes.append(f"saved all the same: {outside}")
        try:
            written = write_picks(
                target, particles, tomogram_shape=shape, classes=_order(options), style=style, overwrite=True
            )
        except OutputError as error:
            hint = "" if shape else ". In napari: open the tomogram with etpick first, then the picks"
            raise OutputError(f"{error}{hint}") from None
        for note in notes:
            _warn(note)
        lost = [
            name for name in ("scores", "angles") if getattr(particles, name) is not None and name not in form.holds
        ]
        if lost:
            _warn(f"{' and '.join(lost)} have no place in {form.title} and were left out of {target.name}")
        if "class numbers" in form.holds and (order := class_order(particles.classes, _order(options))):
            _warn("classes are numbered: " + ", ".join(f"{number} {name}" for name, number in order.items()))
        return [str(written), *(str(target.with_suffix(suffix)) for suffix in form.beside)]

    return write


def _left_out(particles: Particles, form: PickFormat, classes: list[str]) -> list[str]:
    """What a format has no place for, and how it numbers classes."""
    notes = []
    lost = [name for name in ("scores", "angles") if getattr(particles, name) is not None and name not in form.holds]
    if lost:
        notes.append(f"{' and '.join(lost)} have no place in {form.title} and were left out")
    order = class_order(particles.classes, classes)
    if "class numbers" in form.holds and order:
        notes.append("classes are numbered: " + ", ".join(f"{number} {name}" for name, number in order.items()))
    elif "class names" not in form.holds and len(order) > 1:
        notes.append(f"{form.title} does not tell the classes {', '.join(order)} apart")
    return notes


def _refuse_beside(target: Path, beside: Mapping[str, Any]) -> None:
    for suffix in beside:
        if (other := target.with_suffix(suffix)).exists():
            raise OutputError(f"{target.name} is written together with {other.name}, which exists: choose another name")


def _order(options: Mapping[str, Any]) -> list[str]:
    """The classes' order, where they do not speak for themselves as numbers."""
    order = list(options.get("metadata", {}).get(KEY, {}).get("classes", []))
    return [] if all(name.isdecimal() for name in order) else order


def _placed(options: dict[str, Any]) -> dict[str, Any]:
    """A layer made in napari itself belongs to the only tomogram that is open."""
    if KEY in options.get("metadata", {}):
        return options
    tomograms = _open_tomograms()
    if len(tomograms) != 1:
        raise InputError(
            f"nothing tells which of {len(tomograms)} tomograms the layer belongs to: "
            "open its tomogram with etpick, and no other"
        )
    (only,) = tomograms
    knows = {"tomogram": only.name, "spacing_A": only.spacing_A, "shape": only.shape}
    return {**options, "metadata": {**options.get("metadata", {}), KEY: knows}}


def _warn(sentence: str) -> None:
    from napari.utils.notifications import show_warning

    show_warning(sentence)


write_csv = _writer("csv")
write_relion4 = _writer("relion4")
write_relion5 = _writer("relion5")
write_warp = _writer("warp")
write_coords = _writer("coords")
write_deepetpicker = _writer("deepetpicker")
write_dynamo = _writer("dynamo")
write_imod = _writer("imod")
write_imod_text = _writer("imod-text")
write_peet = _writer("peet")
write_copick = _writer("copick")
write_eman2 = _writer("eman2")
write_eman2_box = _writer("eman2-box")
write_artiax = _writer("artiax")
write_chimerax = _writer("chimerax")
write_deepfinder = _writer("deepfinder")
write_portal = _writer("portal")


def show(tomogram: Tomogram, layers: list[LayerData]) -> None:
    """Open a window with a tomogram and picks, and wait until it is closed."""
    import napari

    viewer = napari.Viewer(title=f"etpick: {tomogram.name}")
    fill(viewer, tomogram, layers)
    napari.run()


def fill(viewer: Any, tomogram: Tomogram, layers: list[LayerData]) -> None:
    """Add a tomogram and picks to a viewer."""
    from napari.layers import Layer

    for layer in (image_layer(tomogram), *layers):
        added = viewer.add_layer(Layer.create(*layer))
        follow_classes(added)
        see_beside(viewer, added)
