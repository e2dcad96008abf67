"""The plugin as npe2 and napari's viewer see it, without a screen; and in a window, where Xvfb lends one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():  # napari's own, of pydantic and others, when it is imported
    warnings.simplefilter("ignore")
    pytest.importorskip("napari", reason="napari is not installed: its plugin is untested; pip install etpick[napari]")
    from napari.components import ViewerModel
    from npe2 import PluginManager, PluginManifest

from desktop_sample import SHAPE, SPACING_A, write_tomogram

from etpick.desktop import plugin
from etpick.desktop.layers import particles_of_layer, points_layer
from etpick.desktop.looks import DEFAULT_DIAMETER_A
from etpick.errors import InputError, OutputError
from etpick.io.formats.registry import BY_NAME, FORMATS
from etpick.io.picks import read_picks, write_picks
from etpick.io.tomograms import READERS
from etpick.types import Particles, Tomogram

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
MANIFEST = PluginManifest.from_file(str(files("etpick.desktop") / "napari.yaml"))


@pytest.fixture
def warnings_shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(plugin, "_warn", said.append)
    return said


@pytest.fixture
def viewer() -> ViewerModel:
    if "etpick" not in PluginManager.instance():  # the source may be seen without being installed
        PluginManager.instance().register(MANIFEST)
    return ViewerModel()


def opened(path: Path) -> list[Any]:
    reader = plugin.picks_reader(str(path))
    assert reader is not None
    return reader(str(path))


def test_the_manifest_is_valid_and_names_every_format() -> None:
    MANIFEST.validate_imports()
    tomograms, picks = MANIFEST.contributions.readers
    assert set(tomograms.filename_patterns) == {f"*{suffix}" for suffix in READERS} and tomograms.accepts_directories
    assert set(picks.filename_patterns) == {f"*{suffix}" for suffix in FORMATS}
    written = {w.command: set(w.filename_extensions) for w in MANIFEST.contributions.writers}
    assert written == {f"etpick.write_{name.replace('-', '_')}": set(form.suffixes) for name, form in BY_NAME.items()}


def test_a_voxel_lies_over_the_pick_at_its_index(
    viewer: ViewerModel, tomogram: Path, picks: Path, particles: Particles, warnings_shown: list[str]
) -> None:
    (image,) = viewer.open(tomogram, plugin="etpick")
    (points,) = viewer.open(picks, plugin="etpick")
    assert isinstance(image.data, np.memmap)
    assert [str(unit) for unit in image.units] == ["angstrom"] * 3 == [str(unit) for unit in points.units]
    for index, position in zip(points.data, particles.positions, strict=True):
        place_A = points.data_to_world(index)
        np.testing.assert_allclose(place_A, position * SPACING_A, atol=1e-4)
        np.testing.assert_allclose(image.world_to_data(place_A), position, atol=1e-5)
        viewer.dims.set_point(0, place_A[0])
        nearest = tuple(np.rint(position).astype(int))
        assert image.get_value(place_A, world=True) == image.data[nearest]


def test_layers_of_different_binning_lie_over_each_other(viewer: ViewerModel, tmp_path: Path, tomogram: Path) -> None:
    coarse = write_tomogram(tmp_path / "binned" / "t_1.mrc", 4 * SPACING_A, (5, 7, 10))
    fine_layer, coarse_layer = viewer.open([tomogram, coarse], plugin="etpick")
    middle = np.array([1, 2, 3])  # its block of fine voxels has its middle at 4 i + 1.5
    difference_A = coarse_layer.data_to_world(middle) - np.array(fine_layer.data_to_world(4 * middle + 1.5))
    assert np.abs(difference_A).max() <= 0.5 * 4 * SPACING_A


def test_coarser_copies_make_the_layer_multiscale_at_one_scale(viewer: ViewerModel) -> None:
    data = np.zeros((16, 16, 16), dtype=np.float32)
    levels = (Tomogram(data[::2, ::2, ::2], 20.0),)
    plugin.fill(viewer, Tomogram(data, 10.0, "t_1", None, levels), [])
    (layer,) = viewer.layers
    assert layer.multiscale and len(layer.data) == 2 and tuple(layer.scale) == (10, 10, 10)
    np.testing.assert_allclose(layer.extent.world[1], 150.0)


@pytest.mark.usefixtures("tomogram", "project", "warnings_shown")
def test_spheres_have_the_colour_and_diameter_of_their_class(viewer: ViewerModel, picks: Path) -> None:
    (points,) = viewer.open(picks, plugin="etpick")
    np.testing.assert_allclose(points.size, [28, 15, 28])
    np.testing.assert_allclose(points.border_color, [[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1, 1]])
    assert str(points.projection_mode) == "rescale_spherical"
    np.testing.assert_allclose(points.features["score"], [0.9, 0.5, 0.25])


@pytest.mark.usefixtures("tomogram", "project", "warnings_shown")
def test_a_new_point_gets_the_current_class_and_a_changed_class_its_look(viewer: ViewerModel, picks: Path) -> None:
    (points,) = viewer.open(picks, plugin="etpick")
    plugin.follow_classes(points)
    points.feature_defaults = {"class": ["proteasome"], "score": [1.0]}
    points.add([1, 2, 3])
    assert points.features["class"].iloc[-1] == "proteasome" and points.size[-1] == 15
    np.testing.assert_allclose(points.border_color[-1], [0, 1, 0, 1])
    points.selected_data = {0}
    points.current_properties = {"class": np.array(["proteasome"], dtype=object), "score": np.array([0.9])}
    assert points.features["class"].iloc[0] == "proteasome" and points.size[0] == 15
    np.testing.assert_allclose(points.border_color[0], [0, 1, 0, 1])
    particles, shape, _ = particles_of_layer(points.data, points.as_layer_data_tuple()[1])
    assert list(particles.classes) == ["proteasome", "proteasome", "ribosome", "proteasome"] and shape == SHAPE
    np.testing.assert_allclose(particles.scores, [0.9, 0.5, 0.25, 1.0])


@pytest.mark.parametrize("name", BY_NAME)
def test_what_is_saved_reads_back(
    viewer: ViewerModel, tmp_path: Path, picks: Path, particles: Particles, tomogram: Path, name: str,
    warnings_shown: list[str],
) -> None:  # fmt: skip
    form = BY_NAME[name]
    (points,) = viewer.open(picks, plugin="etpick")
    path = tmp_path / "saved" / f"t_1{form.suffixes[0]}"
    writer = getattr(plugin, f"write_{name.replace('-', '_')}")
    if name in ("copick", "portal"):  # one class in a file
        points.data, points.features = points.data[[0, 2]], points.features.iloc[[0, 2]].reset_index(drop=True)
        particles = particles.of_class("ribosome")
    written = writer(str(path), *points.as_layer_data_tuple()[:2])
    assert all(Path(file).is_file() for file in written)
    back = read_picks(path, style=name, shape=SHAPE, spacing_A=SPACING_A)
    order = np.lexsort(back.positions.T), np.lexsort(particles.positions.T)
    np.testing.assert_allclose(back.positions[order[0]], particles.positions[order[1]], atol=1e-3)
    if "class names" in form.holds:
        assert sorted(back.classes) == sorted(particles.classes)
    if "scores" in form.holds:
        np.testing.assert_allclose(back.scores[order[0]], particles.scores[order[1]], atol=1e-6)
    assert any("scores have no place" in said for said in warnings_shown) == ("scores" not in form.holds)


def test_napari_saves_through_the_plugin_and_moved_layers_keep_their_place(
    viewer: ViewerModel, tmp_path: Path, picks: Path, tomogram: Path, particles: Particles, warnings_shown: list[str]
) -> None:
    (points,) = viewer.open(picks, plugin="etpick")
    points.translate = (10.0, 0.0, -20.0)
    assert points.save(str(tmp_path / "moved.csv"), plugin="etpick") == [str(tmp_path / "moved.csv")]
    moved = read_picks(tmp_path / "moved.csv")
    np.testing.assert_allclose(moved.positions, particles.positions + np.array([1, 0, -2]), atol=1e-3)
    points.rotate = 90
    with pytest.raises(InputError, match="turned or sheared"):
        plugin.write_csv(str(tmp_path / "turned.csv"), *points.as_layer_data_tuple()[:2])


@pytest.mark.usefixtures("tomogram")
def test_picks_outside_are_named_when_opened_and_when_saved(
    tmp_path: Path, particles: Particles, warnings_shown: list[str]
) -> None:
    beyond = Particles(particles.positions * 4, particles.classes, spacing_A=SPACING_A, tomogram="t_1")
    path = write_picks(tmp_path / "t_1.csv", beyond)
    ((data, options, _),) = opened(path)
    assert any("picks lie outside" in said and "binning = 4" in said for said in warnings_shown)
    warnings_shown.clear()
    plugin.write_csv(str(tmp_path / "again.csv"), data, options)
    assert any(said.startswith("saved all the same: ") for said in warnings_shown)


def test_picks_alone_say_what_they_could_not_know(tmp_path: Path, warnings_shown: list[str]) -> None:
    path = tmp_path / "lonely.coords"
    path.write_text("ribosome 1 2 3\n")
    ((_, options, _),) = opened(path)
    assert "scale" not in options and "size and Å per voxel are not known" in warnings_shown[0]
    assert "Open it first, or put it beside the picks under the name lonely" in warnings_shown[0]
    with pytest.raises(OutputError, match="open the tomogram with etpick first"):
        plugin.write_relion5(str(tmp_path / "lonely.star"), np.ones((1, 3)), options)
    star = tmp_path / "five.star"
    one = Particles(np.ones((1, 3)), np.array(["a"]), spacing_A=10.0, tomogram="five")
    write_picks(star, one, style="relion5", tomogram_shape=SHAPE)
    with pytest.raises(InputError, match=r"counts Å from the tomogram's centre .* open the tomogram first"):
        opened(star)


def test_a_diameter_that_nothing_tells_is_stated(picks: Path, tomogram: Path, warnings_shown: list[str]) -> None:
    ((_, options, _),) = opened(picks)
    np.testing.assert_allclose(options["size"], DEFAULT_DIAMETER_A / SPACING_A)
    assert "no project file or model beside the picks tells the diameter of proteasome, ribosome" in warnings_shown[-1]


def test_a_file_about_several_tomograms_makes_a_layer_of_each(tmp_path: Path, warnings_shown: list[str]) -> None:
    path = tmp_path / "all.csv"
    path.write_text("class,x,y,z,tomogram,spacing_A\na,1,2,3,t_1,10\na,4,5,6,t_2,10\n")
    layers = opened(path)
    assert [options["name"] for _, options, _ in layers] == ["t_1", "t_2"]
    np.testing.assert_allclose(layers[1][0], [[6, 5, 4]])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("points.csv", "index,axis-0,axis-1,axis-2\n0,1,2,3\n"),
        ("table.csv", "gene,count\nabc,3\n"),
        ("notes.txt", "Dear all, this is not a list of picks.\n"),
        ("settings.json", '{"theme": "dark"}'),
        ("plist.xml", "<plist><dict/></plist>"),
        ("table.csv", ""),
        ("bad.csv", "\x00\x01"),
    ],
)
def test_files_that_are_not_picks_are_left_to_others(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert plugin.picks_reader(str(path)) is None
    assert plugin.picks_reader([str(path)]) is None


def test_images_and_motive_lists_are_not_tomograms(tmp_path: Path, particles: Particles) -> None:
    motl = write_picks(tmp_path / "t_1.em", particles)
    assert plugin.tomogram_reader(str(motl)) is None and plugin.picks_reader(str(motl)) is not None
    flat = tmp_path / "flat.npy"
    np.save(flat, np.zeros((5, 5)))
    assert plugin.tomogram_reader(str(flat)) is None
    assert plugin.tomogram_reader(str(tmp_path)) is None and plugin.picks_reader(str(tmp_path)) is None


def test_a_tomogram_without_a_spacing_is_shown_in_voxels_and_said(tmp_path: Path, warnings_shown: list[str]) -> None:
    path = tmp_path / "t.npy"
    np.save(path, np.zeros((5, 6, 7), dtype=np.float32))
    reader = plugin.tomogram_reader(str(path))
    assert reader is not None
    ((_, options, _),) = reader(str(path))
    assert "scale" not in options and "Shown in voxels" in warnings_shown[0]


def test_a_file_written_beside_is_not_replaced(tmp_path: Path, particles: Particles) -> None:
    (data, options, _), _ = points_layer(particles)
    (tmp_path / "t_1.doc").write_text("mine")
    with pytest.raises(OutputError, match=r"t_1\.tbl is written together with t_1\.doc, which exists"):
        plugin.write_dynamo(str(tmp_path / "t_1.tbl"), data, options)
    assert (tmp_path / "t_1.doc").read_text() == "mine" and not (tmp_path / "t_1.tbl").exists()


def test_points_made_in_napari_need_one_open_tomogram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="which of 0 tomograms"):
        plugin.write_csv(str(tmp_path / "new.csv"), np.ones((1, 3)), {})
    open_one = Tomogram(np.zeros((9, 9, 9)), 10.0, "t_7")
    monkeypatch.setattr(plugin, "_open_tomograms", lambda: [open_one])
    plugin.write_csv(str(tmp_path / "new.csv"), np.full((1, 3), 30.0), {"scale": (1, 1, 1)})
    read = read_picks(tmp_path / "new.csv")
    np.testing.assert_allclose(read.positions, 3.0)
    assert read.tomogram == "t_7" and read.spacing_A == 10 and list(read.classes) == ["particle"]


def test_scores_that_are_none_and_points_without_three_axes_are_refused() -> None:
    with pytest.raises(InputError, match="a score lies outside 0–1"):
        particles_of_layer(np.ones((1, 3)), {"features": {"class": ["a"], "score": [7.0]}})
    with pytest.raises(InputError, match="three coordinates"):
        particles_of_layer(np.ones((1, 2)), {})
    turned, _, notes = particles_of_layer(
        np.ones((2, 3)), {"features": {"class": ["a", ""], "rot": [1.0, np.nan], "tilt": [2, 0], "psi": [3, 0]}}
    )
    np.testing.assert_allclose(turned.angles, [[1, 2, 3], [0, 0, 0]])
    assert list(turned.classes) == ["a", "particle"] and len(notes) == 2


WINDOW = """
import sys
import napari, numpy as np
from npe2 import PluginManager, PluginManifest
PluginManager.instance().register(PluginManifest.from_file(sys.argv[1]))
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer()
viewer.open(sys.argv[2], plugin="etpick")
viewer.open(sys.argv[3], plugin="etpick")
image, points = viewer.layers
image.visible = False
points.border_width, points.face_color = 0, "red"
size = points.size[0]
viewer.camera.center, viewer.camera.zoom = (0, 150, 150), 1.0
for z in (10, 12, 30):
    viewer.dims.set_point(0, z * 10.0)
    QApplication.processEvents()
    shot = viewer.screenshot(canvas_only=True, flash=False).astype(int)
    red = np.argwhere((shot[..., 0] > 200) & (shot[..., 1] < 90) & (shot[..., 2] < 90))
    middle = red.mean(axis=0) - np.array(shot.shape[:2]) / 2 + 0.5 if len(red) else [np.nan, np.nan]
    print(z, len(red), *middle, size)
points.add([0, 0, 0])
print("width", points.size[-1])
viewer.close()
"""


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="no xvfb-run: napari's window was not tried (apt: xvfb)")
def test_in_a_window_the_circle_is_at_its_place_and_shrinks_beside_it(tmp_path: Path) -> None:
    tomogram = write_tomogram(tmp_path / "t_1.mrc", SPACING_A, (40, 32, 32))
    one = Particles(np.array([[10.0, 15.0, 17.0]]), np.array(["a"]), spacing_A=SPACING_A, tomogram="t_1")
    picks = write_picks(tmp_path / "t_1.csv", one)
    manifest = str(files("etpick.desktop") / "napari.yaml")
    environment = {**os.environ, "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        ["xvfb-run", "-a", "-s", "-screen 0 1024x768x24", sys.executable, "-c", WINDOW, manifest, tomogram, picks],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line[0].isdigit()]
    (_, area, up, right, width), (_, beside, *_), (_, away, *_) = [[float(v) for v in row] for row in rows]
    half_voxel_px = SPACING_A / 2  # at a zoom of one pixel for an Å
    assert abs(up) < half_voxel_px and abs(right - 20) < half_voxel_px
    assert width == DEFAULT_DIAMETER_A / SPACING_A
    assert area == pytest.approx(np.pi * (DEFAULT_DIAMETER_A / 2) ** 2, rel=0.1)
    assert beside == pytest.approx(area * (1 - (20 / 100) ** 2), rel=0.05) and away == 0
    assert "width 20.0" in done.stdout
