from pathlib import Path

import numpy as np
import pytest

from etpick.errors import InputError
from etpick.io.masks import find_masks
from etpick.io.mrc import write_mrc
from etpick.io.tomograms import open_mask


def volumes(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    return [write_mrc(folder / name, np.ones((4, 6, 8), np.int8), 0.0) for name in names]


def test_one_file_serves_one_tomogram(tmp_path: Path) -> None:
    first, second, mask = volumes(tmp_path, "a.mrc", "b.mrc", "any.mrc")
    assert find_masks(mask, [first], "--mask") == {first: mask}
    with pytest.raises(InputError, match=r"--mask .* is one file and there are 2 tomograms: give a folder"):
        find_masks(mask, [first, second], "--mask")
    assert find_masks(None, [first, second], "--mask") == {}


def test_masks_in_a_folder_are_found_by_name_the_longer_name_first(tmp_path: Path) -> None:
    t1, t1b, t10 = volumes(tmp_path / "t", "t_1.mrc", "t_1_b.mrc", "t_10.rec")
    m1, m1b, m10 = volumes(tmp_path / "m", "t_1_membrane.mrc", "t_1_b_membrane.mrc", "t_10.mrc")
    assert find_masks(tmp_path / "m", [t1, t1b, t10], "--mask") == {t1: m1, t1b: m1b, t10: m10}


def test_masks_may_lie_beside_the_tomograms(tmp_path: Path) -> None:
    tomogram, mask = volumes(tmp_path, "t.mrc", "t_mask.mrc")
    assert find_masks(tmp_path, [tomogram], "--mask") == {tomogram: mask}


def test_missing_and_ambiguous_masks_are_named(tmp_path: Path) -> None:
    t1, t2 = volumes(tmp_path / "t", "t1.mrc", "t2.mrc")
    volumes(tmp_path / "m", "t1_a.mrc", "t1_b.mrc")
    with pytest.raises(InputError, match=r"several masks for t1.mrc \(--avoid-mask\): t1_a.mrc, t1_b.mrc"):
        find_masks(tmp_path / "m", [t1], "--avoid-mask")
    with pytest.raises(InputError, match=r"no mask in .* for t2.mrc: name masks .* t2.mrc or t2_mask.mrc"):
        find_masks(tmp_path / "m", [t2], "--avoid-mask")
    exact = volumes(tmp_path / "m", "t1.mrc")[0]
    assert find_masks(tmp_path / "m", [t1], "--mask") == {t1: exact}


def test_a_broken_mask_is_known_at_once(tmp_path: Path) -> None:
    tomogram, mask = volumes(tmp_path, "t.mrc", "m.mrc")
    mask.write_bytes(mask.read_bytes()[:-50])
    with pytest.raises(InputError, match="truncated"):
        find_masks(mask, [tomogram], "--mask")
    with pytest.raises(InputError, match="nothing is there"):
        find_masks(tmp_path / "none.mrc", [tomogram], "--mask")


def test_masks_of_truth_values_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.eye(4, dtype=bool)[None].repeat(3, axis=0))
    assert np.asarray(open_mask(tmp_path / "m.npy")).sum() == 12
    np.save(tmp_path / "flat.npy", np.zeros((4, 4)))
    with pytest.raises(InputError, match="2 dimensions"):
        open_mask(tmp_path / "flat.npy")
