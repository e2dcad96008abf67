import gzip
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from etpick.errors import InputError, SpacingError
from etpick.io.mrc import write_mrc
from etpick.io.tomograms import find_tomograms, open_tomogram

DATA = np.arange(60, dtype=np.float32).reshape(3, 4, 5)


def test_a_tomogram_from_every_source_is_the_same(tmp_path: Path) -> None:
    mrc = write_mrc(tmp_path / "t.1.mrc", DATA, 10.0)
    packed = tmp_path / "t.1.mrc.gz"
    packed.write_bytes(gzip.compress(mrc.read_bytes()))
    np.save(tmp_path / "t.1.npy", DATA)
    opened = [
        open_tomogram(mrc),
        open_tomogram(str(packed)),
        open_tomogram(tmp_path / "t.1.npy", spacing_A=10.0),
        open_tomogram(DATA, spacing_A=10.0, name="t.1"),
        open_tomogram(open_tomogram(mrc)),
    ]
    for tomogram in opened:
        np.testing.assert_array_equal(tomogram.data[:], DATA)
        assert (tomogram.spacing_A, tomogram.name, tomogram.shape) == (10.0, "t.1", (3, 4, 5))
    assert isinstance(opened[2].data, np.memmap)


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ((0, 0, 0), r"voxel size 0\.0 Å in t12\.mrc: pass --spacing or set spacing_A in the project file"),
        ((5, 4, 3), r"voxel size 1\.0 Å in t12\.mrc"),
        ((float("nan"),) * 3, "voxel size in"),
        ((50, 40, 60), r"voxel size 10\.00 × 10\.00 × 20\.00 Å \(x, y, z\).*differs between axes"),
        ((-50, 40, 30), r"voxel size -10\.0 Å"),
    ],
)
def test_a_header_that_lies_is_not_believed(tmp_path: Path, cell: tuple[float, ...], sentence: str) -> None:
    path = write_mrc(tmp_path / "t12.mrc", DATA, 10.0)
    with mrcfile.open(path, mode="r+") as mrc:
        mrc.header.cella.x, mrc.header.cella.y, mrc.header.cella.z = cell
    with pytest.raises(SpacingError, match=sentence):
        open_tomogram(path)
    assert open_tomogram(path, spacing_A=13.5).spacing_A == 13.5


def test_missing_spacing(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", DATA)
    with pytest.raises(SpacingError, match=r"no voxel size in t\.npy: pass --spacing"):
        open_tomogram(tmp_path / "t.npy")
    with pytest.raises(SpacingError, match="pass spacing_A"):
        open_tomogram(DATA)


def test_what_cannot_be_opened_says_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        open_tomogram(tmp_path)
    with pytest.raises(InputError, match=r"no tomogram .*t\.mrc: nothing is there"):
        open_tomogram(tmp_path / "t.mrc")
    (tmp_path / "t.jpg").touch()
    with pytest.raises(InputError, match=r"unknown tomogram format '\.jpg' .* \.mrc"):
        open_tomogram(tmp_path / "t.jpg")
    (tmp_path / "t.npy").write_text("no array")
    with pytest.raises(InputError, match="cannot be read as a NumPy array"):
        open_tomogram(tmp_path / "t.npy")
    with pytest.raises(InputError, match="an image or nothing"):
        open_tomogram(DATA[:1], spacing_A=10.0)
    with pytest.raises(InputError, match="dimensions"):
        open_tomogram(DATA[0], spacing_A=10.0)
    with pytest.raises(InputError, match="not real numbers"):
        open_tomogram(DATA.astype(complex), spacing_A=10.0)


def test_folders_are_searched_in_natural_order(tmp_path: Path) -> None:
    for name in ("t10.mrc", "t2.mrc", "a.rec", "t.st", "map.map", "t1.csv", ".hidden.mrc"):
        (tmp_path / name).touch()
    (tmp_path / "folder.mrc").mkdir()
    found = find_tomograms([tmp_path, tmp_path / "t2.mrc", tmp_path / "t.st"])
    assert [path.name for path in found] == ["a.rec", "t2.mrc", "t10.mrc", "t.st"]


def test_nothing_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no tomogram in .*: looked for \.mrc, \.rec"):
        find_tomograms([tmp_path])
    (tmp_path / "t.st").touch()
    with pytest.raises(InputError, match=r"among 1 files; t\.st is read where you name it"):
        find_tomograms([tmp_path])
    with pytest.raises(InputError, match="nothing is there"):
        find_tomograms([tmp_path / "gone.mrc"])
    with pytest.raises(InputError, match="no tomogram given"):
        find_tomograms([])
