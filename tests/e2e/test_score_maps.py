"""Score maps beside the picks, with a network that was never trained."""

import shutil
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import etpick
from etpick.cli import main
from etpick.inference import Scores
from etpick.io.mrc import write_mrc
from etpick.picking import Picker

SHAPE = (40, 48, 56)
SPACING_A = 20.0


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, untrained: Path) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    shutil.copytree(untrained, folder / "model")
    levels = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    write_mrc(folder / "t1.mrc", levels, SPACING_A)
    return folder


def pick(work: Path, out: Path, *options: str) -> Result:
    arguments = ["pick", work / "model", work / "t1.mrc", "--out", out, *options]
    return CliRunner().invoke(main, [str(a) for a in arguments])


def own_maps(work: Path) -> tuple[np.ndarray, np.ndarray]:
    """(z, y, x) and (c, z, y, x) as the network gives them."""
    slabs: list[Scores] = []
    Picker(etpick.load_model(work / "model"))(etpick.open_tomogram(work / "t1.mrc"), on_scores=slabs.append)
    return torch.cat([s.foreground for s in slabs]).numpy(), torch.cat([s.classes for s in slabs], dim=1).numpy()


def test_an_mrc_holds_the_chance_of_any_particle_at_its_place(work: Path, tmp_path: Path) -> None:
    result = pick(work, tmp_path, "--score-maps", "mrc")
    assert result.exit_code == 0, result.output
    with mrcfile.open(tmp_path / "t1_scores.mrc") as mrc:
        np.testing.assert_array_equal(mrc.data, own_maps(work)[0])
        assert float(mrc.voxel_size.x) == pytest.approx(2 * SPACING_A)
        # the first voxel's centre lies between the tomogram's first two
        assert [float(mrc.header.origin[axis]) for axis in "xyz"] == [SPACING_A / 2] * 3


def test_a_zarr_holds_each_class_as_a_channel(work: Path, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="zarr is not installed: pip install 'etpick[zarr]'")
    assert pick(work, tmp_path, "--score-maps", "zarr").exit_code == 0
    group = zarr.open_group(str(tmp_path / "t1_scores.zarr"), mode="r")
    about = group.attrs["ome"]
    assert [c["label"] for c in about["omero"]["channels"]] == ["any particle", "ribosome", "proteasome"]
    scale, translation = about["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert (scale["scale"], translation["translation"]) == ([1, 40, 40, 40], [0, 10, 10, 10])
    foreground, classes = own_maps(work)
    np.testing.assert_allclose(group["0"][0], foreground, atol=1e-3)
    np.testing.assert_array_equal(group["0"][1:], classes)
    again = pick(work, tmp_path, "--score-maps", "zarr")
    assert again.exit_code == 1 and "--overwrite" in again.output
    assert pick(work, tmp_path, "--score-maps", "zarr", "--overwrite").exit_code == 0
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_the_map_of_a_rescaled_tomogram_has_its_own_voxels(work: Path, tmp_path: Path) -> None:
    levels = np.random.default_rng(1).normal(size=(80, 96, 112)).astype(np.float32)
    grid = Picker(etpick.load_model(work / "model")).map_grid(etpick.Tomogram(levels, SPACING_A / 2))
    assert grid.shape == (20, 24, 28)
    assert grid.spacing_A == pytest.approx(40)
    assert grid.origin_A == pytest.approx((15, 15, 15))  # four voxels of 10 Å to one: centre at 1.5


def test_a_pyramid_is_picked_at_the_level_of_the_model_in_voxels_of_the_finest(untrained: Path, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="zarr is not installed: pip install 'etpick[zarr]'")
    coarse = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    fine = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)  # so that only the coarse level looks as the MRC does
    group = zarr.open_group(str(tmp_path / "t2.zarr"), mode="w", zarr_format=3)
    levels = [fine + np.random.default_rng(3).normal(scale=9, size=fine.shape).astype(np.float32), coarse]
    for number, level in enumerate(levels):
        group.create_array(str(number), shape=level.shape, chunks=(16, 16, 16), dtype="f4")[:] = level
    datasets = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [SPACING_A / 2 * 2**n] * 3}]}
        for n in range(2)
    ]
    axes = [{"name": n, "type": "space", "unit": "angstrom"} for n in "zyx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    write_mrc(tmp_path / "t2.mrc", coarse, SPACING_A)
    pyramid = etpick.pick(untrained, tmp_path / "t2.zarr")
    single = etpick.pick(untrained, tmp_path / "t2.mrc")
    assert len(single) > 20 and len(pyramid) == len(single)
    np.testing.assert_allclose(pyramid.positions, 2 * single.positions + 0.5, atol=1e-6)
    assert pyramid.spacing_A == SPACING_A / 2
