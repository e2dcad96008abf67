from pathlib import Path

import pytest

from etpick.errors import InputError
from etpick.io.pairing import find_picks

T1, T1B, T2 = Path("t_1.mrc"), Path("t_1_b.mrc"), Path("t_2.mrc")


def write(path: Path, *tomograms: str) -> Path:
    rows = [f"1,2,3,{name}" for name in tomograms] or ["1,2,3,"]
    path.write_text("\n".join(["x,y,z,tomogram", *rows]) + "\n")
    return path


def test_a_folder_gives_each_tomogram_the_file_of_its_name(tmp_path: Path) -> None:
    for name in ("t_1.star", "t_1.csv", "t_1_b_ribosomes.csv", "other.csv", "t_1.txt.bak"):
        write(tmp_path / name)
    found = find_picks(tmp_path, [T1, T1B, T2])
    assert {path.name: file.name for path, file in found.items()} == {
        "t_1.mrc": "t_1.csv",
        "t_1_b.mrc": "t_1_b_ribosomes.csv",
    }


def test_tomograms_of_warp_have_the_picks_of_their_tilt_series(tmp_path: Path) -> None:
    ten, two = Path("TS_1_10.00Apx_rec.mrc"), Path("TS_2_10.00Apx.mrc")
    for name in ("TS_1.csv", "TS_2.csv", "TS_2_10.00Apx_ribosomes.csv", "TS_10.csv"):
        write(tmp_path / name)
    found = find_picks(tmp_path, [ten, two])
    assert {path: file.name for path, file in found.items()} == {ten: "TS_1.csv", two: "TS_2_10.00Apx_ribosomes.csv"}
    with pytest.raises(InputError, match=r"holds no picks of TS_1_10\.00Apx_rec"):  # of which of the two?
        find_picks(tmp_path, [ten, Path("TS_1_5.00Apx.mrc")])


def test_one_file_is_of_the_only_tomogram_or_of_those_that_it_names(tmp_path: Path) -> None:
    unnamed, several = write(tmp_path / "a.csv"), write(tmp_path / "b.csv", "t_1.mrc", "t_2", "t_3")
    assert find_picks(unnamed, [T1]) == {T1: unnamed}
    assert find_picks(several, [T1, T2, Path("t_4.mrc")]) == {T1: several, T2: several}
    with pytest.raises(InputError, match="does not say which of the 2 tomograms its picks are in"):
        find_picks(unnamed, [T1, T2])


def test_what_cannot_be_paired_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no picks of t_1, t_2: pick files are named as their tomograms"):
        find_picks(tmp_path, [T1, T2])
    with pytest.raises(InputError, match=r"no pick file .*missing\.csv"):
        find_picks(tmp_path / "missing.csv", [T1])
    write(tmp_path / "t_1_a.csv"), write(tmp_path / "t_1_c.csv")
    with pytest.raises(InputError, match=r"several pick files for t_1: t_1_a\.csv, t_1_c\.csv"):
        find_picks(tmp_path, [T1])
    with pytest.raises(InputError, match="two of the tomograms have one name"):
        find_picks(tmp_path, [T1, Path("b/t_1.rec")])
    picture = tmp_path / "p.png"
    picture.touch()
    with pytest.raises(InputError, match=r"unknown pick format '\.png'"):
        find_picks(picture, [T1, T2])
