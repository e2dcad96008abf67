from pathlib import Path

import numpy as np
import pytest

from etpick.errors import InputError
from etpick.io.tilts import tilts_of


def test_a_range_serves_every_tomogram() -> None:
    found = tilts_of("-60,60,3", [Path("a.mrc"), Path("b.mrc")])
    assert len(found) == 2
    np.testing.assert_allclose(found[Path("b.mrc")], np.arange(-60, 61, 3))


def test_a_file_serves_all_and_a_folder_each_by_name(tmp_path: Path) -> None:
    (tmp_path / "TS_1.tlt").write_text("-12.5\n0.1\n\n")
    (tmp_path / "TS_1_b.rawtlt").write_text("0 7\n3 8\n6 9\n")
    both = [Path("TS_1_10Apx.mrc"), Path("TS_1_b_10Apx.mrc")]
    assert [len(t) for t in tilts_of(str(tmp_path / "TS_1.tlt"), both).values()] == [2, 2]
    assert tilts_of(str(tmp_path), both[:1])[both[0]].tolist() == [-12.5, 0.1]
    (tmp_path / "TS_1_b.tlt").write_text("1\n2\n3\n4\n")
    assert tilts_of(str(tmp_path), both)[both[1]].tolist() == [1, 2, 3, 4]  # refined angles go first


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("-60,60", r"neither LOWEST,HIGHEST,STEP in degrees \(-60,60,3\) nor a .tlt file"),
        ("60,-60,3", "the lowest must come first"),
        ("-60,120,3", "expected angles between −90 and 90"),
        ("none.tlt", "none.tlt cannot be read as tilt angles"),
    ],
)
def test_what_is_no_tilt_series_is_refused(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tilts_of(source, [Path("a.mrc")])


def test_a_folder_without_the_tomograms_angles_says_what_it_looked_for(tmp_path: Path) -> None:
    (tmp_path / "other.tlt").write_text("0\n")
    with pytest.raises(InputError, match=r"no tilt angles of a in .*: looked for a\.tlt and a\.rawtlt"):
        tilts_of(str(tmp_path), [Path("a.mrc")])
    (tmp_path / "bad.tlt").write_text("zero\n")
    with pytest.raises(InputError, match=r"bad\.tlt cannot be read as tilt angles, one a line"):
        tilts_of(str(tmp_path / "bad.tlt"), [Path("a.mrc")])
