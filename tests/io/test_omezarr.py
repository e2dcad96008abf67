from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etpick.config import recipe
from etpick.data import open_volume
from etpick.errors import InputError, SpacingError
from etpick.io.tomograms import find_tomograms, open_tomogram
from etpick.types import Box

zarr = pytest.importorskip("zarr", reason="zarr is not installed: pip install 'etpick[zarr]'")

FINE = np.random.default_rng(0).normal(size=(16, 32, 48)).astype(np.float32)


def coarse(data: np.ndarray) -> np.ndarray:
    z, y, x = (n // 2 for n in data.shape)
    return data.reshape(z, 2, y, 2, x, 2).mean(axis=(1, 3, 5))


def write(path: Path, version: str, unit: str = "angstrom", channel: bool = False, scale: float = 5.0) -> Path:
    """An image of two levels, as the specification of that version says."""
    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    levels = [FINE, coarse(FINE)]
    for number, data in enumerate(levels):
        data = data[None] if channel else data
        array = group.create_array(str(number), shape=data.shape, chunks=(*([1] * channel), 8, 16, 16), dtype="f4")
        array[:] = data
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] * channel
    axes += [{"name": n, "type": "space", "unit": unit} for n in "zyx"]
    datasets = [
        {
            "path": str(n),
            "coordinateTransformations": [{"type": "scale", "scale": [1.0] * channel + [scale * 2**n] * 3}],
        }
        for n in range(2)
    ]
    images: Any = [{"axes": axes, "datasets": datasets, "version": version}]
    group.attrs.update(
        {"multiscales": images} if version == "0.4" else {"ome": {"version": "0.5", "multiscales": images}}
    )
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("channel", [False, True])
def test_both_versions_give_the_finest_level_and_its_spacing(tmp_path: Path, version: str, channel: bool) -> None:
    tomogram = open_tomogram(write(tmp_path / "t1.ome.zarr", version, channel=channel))
    assert (tomogram.name, tomogram.spacing_A, tomogram.shape) == ("t1", 5.0, FINE.shape)
    np.testing.assert_array_equal(tomogram.data[2:5, 3:9, 40:], FINE[2:5, 3:9, 40:])
    assert [c.spacing_A for c in tomogram.coarser] == [10.0]


def test_units_are_brought_to_angstrom(tmp_path: Path) -> None:
    assert open_tomogram(write(tmp_path / "t1.zarr", "0.5", unit="nanometer", scale=0.5)).spacing_A == 5.0
    with pytest.raises(SpacingError, match="--spacing"):
        open_tomogram(write(tmp_path / "t2.zarr", "0.5", unit="parsec"))
    stated = open_tomogram(tmp_path / "t2.zarr", spacing_A=7.0)
    assert (stated.spacing_A, [c.spacing_A for c in stated.coarser]) == (7.0, [14.0])


def test_a_coarse_model_reads_the_coarser_level_and_answers_in_fine_voxels(tmp_path: Path) -> None:
    tomogram = open_tomogram(write(tmp_path / "t1.zarr", "0.5"))
    coarse_volume, fine = (open_volume(tomogram, spacing, recipe()) for spacing in (10.0, 5.0))
    assert (coarse_volume.source.shape, coarse_volume.scale) == ((8, 16, 24), 1.0)
    assert fine.source.shape == FINE.shape
    box = Box((0, 0, 0), (8, 16, 24))
    expected = coarse(FINE)
    got = coarse_volume.read(box)
    np.testing.assert_allclose(np.corrcoef(got.ravel(), expected.ravel())[0, 1], 1, atol=1e-3)  # normalised, clipped
    # working voxel 3 covers file voxels 6 and 7
    np.testing.assert_allclose(coarse_volume.to_file(np.array([[3.0, 3, 3]])), [[6.5, 6.5, 6.5]])
    np.testing.assert_allclose(coarse_volume.to_working(np.array([[6.5, 6.5, 6.5]])), [[3.0, 3, 3]])


def test_a_copick_tomogram_has_its_run_for_a_name_and_its_folder_for_a_spacing(tmp_path: Path) -> None:
    folder = tmp_path / "ExperimentRuns" / "TS_5_4" / "VoxelSpacing10.000"
    folder.mkdir(parents=True)
    path = write(folder / "wbp.zarr", "0.4", scale=10.0)
    tomogram = open_tomogram(path)
    assert (tomogram.name, tomogram.spacing_A) == ("TS_5_4", 10.0)
    assert find_tomograms([folder]) == [path]
    write(folder / "wbp.zarr", "0.4", scale=12.0)
    with pytest.raises(InputError, match="a folder for 10 Å but states 12 Å"):
        open_tomogram(path)


def test_what_is_no_image_is_said(tmp_path: Path) -> None:
    zarr.open_group(str(tmp_path / "g.zarr"), mode="w").create_group("labels")
    with pytest.raises(InputError, match="inside is labels"):
        open_tomogram(tmp_path / "g.zarr")
    zarr.create_array(str(tmp_path / "a.zarr"), shape=(2, 3, 4, 5), dtype="f4")
    with pytest.raises(InputError, match="not one volume"):
        open_tomogram(tmp_path / "a.zarr", spacing_A=1.5)
