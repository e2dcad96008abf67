import struct
from pathlib import Path

import emfile
import numpy as np
import pytest
import tifffile

from etpick.errors import InputError, SpacingError
from etpick.io.tomograms import open_tomogram

DATA = np.arange(60, dtype=np.float32).reshape(3, 4, 5)


def test_an_em_file_is_mapped_and_its_pixel_size_not_believed(tmp_path: Path) -> None:
    emfile.write(str(tmp_path / "t1.em"), DATA)
    with pytest.raises(SpacingError, match="--spacing"):
        open_tomogram(tmp_path / "t1.em")
    tomogram = open_tomogram(tmp_path / "t1.em", spacing_A=10.0)
    assert isinstance(tomogram.data, np.memmap) and tomogram.name == "t1"
    np.testing.assert_array_equal(tomogram.data[:], DATA)


def test_damaged_and_complex_em_files_are_named(tmp_path: Path) -> None:
    emfile.write(str(tmp_path / "t1.em"), DATA)
    whole = (tmp_path / "t1.em").read_bytes()
    (tmp_path / "short.em").write_bytes(whole[:-10])
    with pytest.raises(InputError, match="promises 240 bytes of voxels, 230 are there"):
        open_tomogram(tmp_path / "short.em", spacing_A=10.0)
    (tmp_path / "complex.em").write_bytes(whole[:3] + struct.pack("b", 8) + whole[4:])
    with pytest.raises(InputError, match="complex"):
        open_tomogram(tmp_path / "complex.em", spacing_A=10.0)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_stack_with_or_without_compression(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "t1.tif"
    tifffile.imwrite(path, DATA, compression=compression, photometric="minisblack")
    tomogram = open_tomogram(path, spacing_A=10.0)
    np.testing.assert_array_equal(tomogram.data[:, 1:3], DATA[:, 1:3])
    np.testing.assert_array_equal(tomogram.data[1:3, 2, 1:], DATA[1:3, 2, 1:])
    assert isinstance(tomogram.data, np.memmap) == (compression is None)
    with pytest.raises(SpacingError):
        open_tomogram(path)  # a resolution for printing


def test_the_spacing_of_imagej_and_of_ome(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "imagej.tif", DATA, imagej=True, resolution=(0.1, 0.1),
        metadata={"axes": "ZYX", "spacing": 10.0, "unit": "angstrom"},
    )  # fmt: skip
    physical = {f"PhysicalSize{axis}": 1.0 for axis in "XYZ"} | {f"PhysicalSize{axis}Unit": "nm" for axis in "XYZ"}
    tifffile.imwrite(tmp_path / "t1.ome.tif", DATA, metadata={"axes": "ZYX"} | physical, photometric="minisblack")
    for name in ("imagej.tif", "t1.ome.tif"):
        tomogram = open_tomogram(tmp_path / name)
        assert tomogram.spacing_A == pytest.approx(10.0)
        np.testing.assert_array_equal(tomogram.data[:], DATA)
    assert open_tomogram(tmp_path / "t1.ome.tif").name == "t1"


def test_movies_and_colours_are_no_volumes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((4, 5, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match="colours"):
        open_tomogram(tmp_path / "rgb.tif", spacing_A=10.0)
    tifffile.imwrite(tmp_path / "m.ome.tif", np.zeros((2, 3, 4, 5), np.uint8), metadata={"axes": "TZYX"})
    with pytest.raises(InputError, match="T 2, Z 3"):
        open_tomogram(tmp_path / "m.ome.tif", spacing_A=10.0)
    (tmp_path / "broken.tif").write_bytes(b"II*\0 nothing")
    with pytest.raises(InputError, match="TIFF"):
        open_tomogram(tmp_path / "broken.tif", spacing_A=10.0)
