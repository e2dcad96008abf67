import json
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile
from extraction_sample import Sample

from etpick.errors import InputError, OutputError
from etpick.extraction import extract
from etpick.extraction.output import TARGETS
from etpick.io.mrc import read_mrc, write_mrc
from etpick.io.picks import read_picks, write_picks
from etpick.io.tomograms import open_tomogram
from etpick.ops.subtomograms import outside_ball
from etpick.types import NEGATIVE, Particles

BOX_VX = 16


def boxes(folder: Path) -> np.ndarray:
    particles = starfile.read(folder / "particles.star", always_dict=True)["particles"]
    return np.stack([read_mrc(folder / name).data for name in particles["rlnImageName"]])


def test_relions_files_hold_the_voxels_around_each_pick(sample: Sample, tmp_path: Path) -> None:
    done = extract(sample.picks, sample.path, tmp_path, box_vx=BOX_VX, normalise=False, contrast="keep")
    blocks = starfile.read(tmp_path / "particles.star", always_dict=True)
    optics, particles = blocks["optics"].iloc[0], blocks["particles"]
    assert (optics.rlnImageSize, optics.rlnImagePixelSize, optics.rlnImageDimensionality) == (BOX_VX, 10, 3)
    assert len(particles) == done.count and set(particles.rlnMicrographName) == {"t1"}
    assert set(particles.etpickClassName) == {"screw"} and set(particles.rlnClassNumber) == {1}
    for row, box in zip(particles.itertuples(), boxes(tmp_path), strict=True):
        z, y, x = (int(getattr(row, f"rlnCoordinate{axis}")) - BOX_VX // 2 for axis in "ZYX")
        np.testing.assert_array_equal(box, sample.tomogram.data[z : z + BOX_VX, y : y + BOX_VX, x : x + BOX_VX])
    wedge = read_mrc(tmp_path / particles.rlnCtfImage[0])
    assert wedge.data.shape == (BOX_VX, BOX_VX, BOX_VX // 2 + 1) and wedge.data[0, 0, 0] == 1


def test_the_star_file_is_a_pick_file_with_the_picks_centres(sample: Sample, tmp_path: Path) -> None:
    scores = np.linspace(1, 0, len(sample.truth))
    write_picks(tmp_path / "t1.csv", replace(sample.truth, scores=scores))
    extract(tmp_path / "t1.csv", sample.path, tmp_path / "out", box_vx=BOX_VX, edge="pad")
    again = read_picks(tmp_path / "out" / "particles.star", tomogram=open_tomogram(sample.path))
    np.testing.assert_allclose(again.positions, sample.truth.positions, atol=1e-3)
    assert again.classes.tolist() == sample.truth.classes.tolist()
    assert again.scores is not None and again.angles is not None and sample.truth.angles is not None
    np.testing.assert_allclose(again.scores, scores, atol=1e-6)
    np.testing.assert_allclose(again.angles, sample.truth.angles, atol=1e-3)


def test_dark_particles_become_bright_on_a_level_background(sample: Sample, tmp_path: Path) -> None:
    done = extract(sample.picks, sample.path, tmp_path, box_vx=BOX_VX)
    assert done.notes[-1].startswith("contrast: particles are dark in the tomograms, so it was inverted")
    ball = ~outside_ball(BOX_VX, 12)
    assert boxes(tmp_path)[:, ball].mean() > 0.1 and abs(boxes(tmp_path)[:, ~ball].mean()) < 1e-3
    write_mrc(tmp_path / "bright" / "t1.mrc", -np.asarray(sample.tomogram.data), 10.0)
    bright = extract(sample.picks, tmp_path / "bright", tmp_path / "again", box_vx=BOX_VX)
    assert bright.notes[-1].startswith("contrast: particles are bright")
    np.testing.assert_allclose(boxes(tmp_path / "again"), boxes(tmp_path), atol=1e-4)


def test_places_that_stand_out_not_at_all_ask_for_the_contrast(sample: Sample, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((64, 128, 128)).astype(np.float32)
    write_mrc(tmp_path / "t1.mrc", noise, 10.0)
    with pytest.raises(InputError, match="neither dark nor bright from their surroundings: say --contrast invert"):
        extract(sample.picks, tmp_path / "t1.mrc", tmp_path / "out", box_vx=BOX_VX)
    assert not (tmp_path / "out").exists()


def test_another_binning_of_the_tomogram_is_cut_at_the_same_places(sample: Sample, tmp_path: Path) -> None:
    """A tomogram binned by two: its voxel i holds voxels 2 i and 2 i + 1."""
    data = np.asarray(sample.tomogram.data).reshape(32, 2, 64, 2, 64, 2).mean(axis=(1, 3, 5), dtype=np.float32)
    write_mrc(tmp_path / "binned" / "t1.mrc", data, 20.0)
    extract(sample.picks, tmp_path / "binned", tmp_path / "out", box_A=160.0, edge="pad", formats=["stack"])
    extract(sample.picks, sample.path, tmp_path / "full", box_A=160.0, edge="pad", formats=["stack"])
    rows, full = (read_picks(tmp_path / name / "particles.csv") for name in ("out", "full"))
    assert rows.spacing_A == 20.0
    np.testing.assert_allclose((rows.positions + 0.5) * 2 - 0.5, full.positions, atol=1e-3)
    with mrcfile.open(tmp_path / "out" / "particles.mrc") as mrc:
        assert mrc.data.shape == (len(rows), 8, 8, 8) and float(mrc.voxel_size.x) == pytest.approx(20.0)
    bare = tmp_path / "t1.coords"
    write_picks(bare, sample.truth)
    with pytest.raises(InputError, match=r"does not fit t1: .* picks lie outside"):
        extract(bare, tmp_path / "binned", tmp_path / "wrong", box_vx=8)
    said = extract(bare, tmp_path / "binned", tmp_path / "said", box_vx=8, edge="pad", picks_spacing_A=10.0)
    assert said.count == len(rows)
    for name, style in (("t1.star", "relion5"), ("t1.json", "copick"), ("t1.cxc", "chimerax")):
        path = write_picks(tmp_path / name, sample.truth, style=style, tomogram_shape=sample.tomogram.shape)
        with pytest.raises(InputError, match=f"{name} gives positions in Å, .* leave out --picks-spacing"):
            extract(path, tmp_path / "binned", tmp_path / "wrong", box_vx=8, picks_spacing_A=10.0)


def test_stack_and_zarr_hold_the_same_boxes_in_the_order_of_the_table(sample: Sample, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="subtomograms as Zarr need etpick[zarr]")
    done = extract(sample.picks, sample.path, tmp_path, box_vx=BOX_VX, formats=["relion", "stack", "zarr"])
    assert [path.name for path in done.files] == list(TARGETS)
    assert mrcfile.validate(tmp_path / "particles.mrc")
    with mrcfile.open(tmp_path / "particles.mrc") as mrc:
        assert mrc.is_volume_stack()
        np.testing.assert_array_equal(mrc.data, boxes(tmp_path))
    group = zarr.open_group(tmp_path / "particles.zarr", mode="r")
    np.testing.assert_array_equal(group["subtomograms"][:], boxes(tmp_path))
    assert group.attrs["spacing_A"] == 10 and group.attrs["classes"] == ["screw"] and group.attrs["tomograms"] == ["t1"]
    table = read_picks(tmp_path / "particles.csv")
    np.testing.assert_allclose(group["position_zyx_vx"][:], table.positions, atol=1e-3)
    np.testing.assert_allclose(
        group["position_zyx_vx"][:] - group["shift_zyx_vx"][:], np.rint(table.positions), atol=1e-6
    )


def test_edges_are_counted_and_negative_marks_and_other_classes_left_out(sample: Sample, tmp_path: Path) -> None:
    places = Particles(
        np.array([[30.0, 60, 60], [3, 60, 60], [30, 30, 30], [30, 90, 90]]),
        np.array(["a", "a", "b", NEGATIVE]),
        tomogram="t1",
        spacing_A=10.0,
    )
    picks = write_picks(tmp_path / "t1.csv", places)
    dropped = extract(picks, sample.path, tmp_path / "1", box_vx=BOX_VX, contrast="keep")
    assert dropped.count == 2
    assert "particles left out because their box reaches beyond the tomogram: 1" in dropped.notes
    padded = extract(picks, sample.path, tmp_path / "2", box_vx=BOX_VX, contrast="keep", edge="pad", classes=["a"])
    assert padded.count == 2
    assert "boxes that reach beyond the tomogram and were filled up: 1; centres outside: 0" in padded.notes
    names = starfile.read(tmp_path / "2" / "particles.star", always_dict=True)["particles"].rlnImageName
    assert [name.split("_")[-1] for name in names] == ["000001.mrc", "000002.mrc"]  # their lines in the pick file
    assert (boxes(tmp_path / "2")[1][:5] == 0).all()  # what was filled up, at the background's level
    with pytest.raises(InputError, match="hold no pick of class c, or none whose box lies inside a tomogram"):
        extract(picks, sample.path, tmp_path / "3", box_vx=BOX_VX, classes=["c"])


class Stopped(Exception):
    """Stands for Ctrl-C."""


@pytest.mark.parametrize("formats", [["relion"], ["stack", "zarr"]])
def test_a_stopped_extraction_goes_on_to_the_same_end(sample: Sample, tmp_path: Path, formats: list[str]) -> None:
    if "zarr" in formats:
        pytest.importorskip("zarr", reason="subtomograms as Zarr need etpick[zarr]")
    folder, data = tmp_path / "in", np.asarray(sample.tomogram.data)
    for name, tomogram in (("t1", data), ("t2", data[:, ::-1])):
        write_mrc(folder / f"{name}.mrc", tomogram, 10.0)
    flipped = sample.truth.positions * [1, -1, 1] + [0, data.shape[1] - 1, 0]
    write_picks(folder / "t1.csv", sample.truth)
    write_picks(folder / "t2.csv", replace(sample.truth, positions=flipped, tomogram="t2"))
    options = {"box_vx": BOX_VX, "formats": formats}
    whole = extract(folder, folder, tmp_path / "whole", **options)

    def stop(done: int, _: int) -> None:
        if done == whole.count - 2:
            raise Stopped

    out = tmp_path / "out"
    with pytest.raises(Stopped):
        extract(folder, folder, out, on_progress=stop, **options)
    state = json.loads((out / "extraction.json").read_text())
    assert state["done"] == ["t1"] and not state["finished"]
    assert not any((out / name).exists() for name in TARGETS[1:])
    with pytest.raises(OutputError, match="holds an unfinished extraction: choose another folder"):
        extract(folder, folder, out, **options)
    with pytest.raises(OutputError, match=r"was begun with box_vx = 16, not 18: give the same options"):
        extract(folder, folder, out, resume=True, **(options | {"box_vx": 18}))
    seen: list[int] = []
    again = extract(folder, folder, out, resume=True, on_progress=lambda done, _: seen.append(done), **options)
    assert seen[0] > 1 and again.count == whole.count
    for name in ("particles.star", "particles.csv", "particles.mrc", "gallery.html"):
        assert (tmp_path / "whole" / name).exists() == (out / name).exists()
        if (out / name).exists():
            assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    if formats == ["relion"]:
        np.testing.assert_array_equal(boxes(out), boxes(tmp_path / "whole"))


def test_an_extraction_stopped_at_its_very_end_keeps_its_boxes(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zarr", reason="subtomograms as Zarr need etpick[zarr]")
    options = {"box_vx": BOX_VX, "formats": ["stack", "zarr"]}
    extract(sample.picks, sample.path, tmp_path / "whole", **options)

    def stop(*_: object, **__: object) -> None:
        raise Stopped

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr("etpick.extraction.output.write_report", stop)
        extract(sample.picks, sample.path, tmp_path / "out", **options)
    extract(sample.picks, sample.path, tmp_path / "out", resume=True, **options)
    for name in ("particles.mrc", "particles.csv", "gallery.html"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_spacings_that_differ_by_a_rounded_header_are_one(sample: Sample, tmp_path: Path) -> None:
    write_mrc(tmp_path / "t1.mrc", np.asarray(sample.tomogram.data), 10.04)
    extract(sample.picks, tmp_path / "t1.mrc", tmp_path / "out", box_vx=BOX_VX, edge="pad", formats=["stack"])
    found = read_picks(tmp_path / "out" / "particles.csv").positions
    np.testing.assert_allclose(found, sample.truth.positions, atol=1e-3)


def test_nothing_is_replaced_without_being_asked(sample: Sample, tmp_path: Path) -> None:
    out = tmp_path / "out"
    extract(sample.picks, sample.path, out, box_vx=BOX_VX)
    with pytest.raises(OutputError, match="holds an extraction: choose another folder"):
        extract(sample.picks, sample.path, out, box_vx=BOX_VX)
    assert extract(sample.picks, sample.path, out, box_vx=BOX_VX, resume=True).count  # all there: nothing to do
    few = replace(sample.truth.select(slice(0, 12)))
    picks = write_picks(tmp_path / "t1.csv", few)
    smaller = extract(picks, sample.path, out, box_vx=BOX_VX, overwrite=True)
    assert len(list((out / "subtomograms" / "t1").iterdir())) == smaller.count + 1  # and the wedge: nothing old is left
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "particles.star").write_text("precious")
    with pytest.raises(OutputError, match=r"particles\.star exists and no extraction\.json beside it"):
        extract(sample.picks, sample.path, tmp_path / "other", box_vx=BOX_VX, overwrite=True)
    assert (tmp_path / "other" / "particles.star").read_text() == "precious"


def test_paths_count_from_relions_project(sample: Sample, tmp_path: Path) -> None:
    extract(sample.picks, sample.path, tmp_path / "Extract" / "etpick", box_vx=BOX_VX, project=tmp_path)
    particles = starfile.read(tmp_path / "Extract" / "etpick" / "particles.star", always_dict=True)["particles"]
    assert particles.rlnImageName[0].startswith("Extract/etpick/subtomograms/t1/t1_")
    assert (tmp_path / particles.rlnImageName[0]).exists() and (tmp_path / particles.rlnCtfImage[0]).exists()


def test_a_defocus_puts_contrast_transfer_into_the_wedge(sample: Sample, tmp_path: Path) -> None:
    extract(sample.picks, sample.path, tmp_path / "a", box_vx=BOX_VX, defocus_um=3.0, gallery=0, tilts="-40,60,2")
    extract(sample.picks, sample.path, tmp_path / "b", box_vx=BOX_VX, defocus_um=3.0, phase_flipped=True, gallery=0)
    signed, flipped = (read_mrc(tmp_path / n / "subtomograms" / "t1" / "t1_wedge.mrc").data for n in "ab")
    assert signed.min() < -0.1 and flipped.min() >= 0
    assert signed[0, 0, 0] == pytest.approx(0.1)  # the amplitude contrast
    assert not (tmp_path / "a" / "gallery.html").exists()


def test_spacings_that_differ_need_relions_files(sample: Sample, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name, spacing in (("t1", 10.0), ("t2", 8.0)):
        write_mrc(folder / f"{name}.mrc", np.asarray(sample.tomogram.data), spacing)
        write_picks(folder / f"{name}.coords", sample.truth)
    with pytest.raises(InputError, match="the tomograms have 8 to 10 Å per voxel: a stack or Zarr holds boxes of one"):
        extract(folder, folder, tmp_path / "out", box_A=160.0, formats=["stack"])
    extract(folder, folder, tmp_path / "out", box_A=160.0)
    blocks = starfile.read(tmp_path / "out" / "particles.star", always_dict=True)
    assert blocks["optics"].rlnImageSize.tolist() == [16, 20]
    assert blocks["particles"].groupby("rlnMicrographName").rlnOpticsGroup.first().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give the box in voxels or in Å: --box 64 or --box 640A"),
        ({"box_vx": 15}, "a box of 15 voxels is odd and RELION takes even ones: 16, say"),
        ({"box_vx": 16, "background_A": 200.0}, r"a ball of 200 Å leaves too little background in a box of 160 Å"),
        ({"box_vx": 16, "tilts": "60"}, "neither LOWEST,HIGHEST,STEP"),
        ({"box_vx": 16, "edge": "fold"}, "edge = 'fold'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    sample: Sample, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        extract(sample.picks, sample.path, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
