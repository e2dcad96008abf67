from pathlib import Path

import numpy as np
import pytest

from etpick.errors import OutputError
from etpick.exporting import Chosen, export_picks
from etpick.io.formats.registry import BY_NAME
from etpick.io.picks import read_picks
from etpick.types import Particles, Tomogram

SHAPE = (40, 60, 80)
POSITIONS = np.array([[10.0, 20, 30], [11, 25, 60], [30, 5, 7]])


def chosen(name: str, classes: list[str]) -> Chosen:
    picks = Particles(POSITIONS, np.array(classes), np.array([0.9, 0.8, 0.7]), spacing_A=10.0, tomogram=name)
    return Chosen(name, SHAPE, picks)


@pytest.mark.parametrize("style", list(BY_NAME))
def test_every_format_is_written_and_read_again(style: str, tmp_path: Path) -> None:
    sets = [chosen(name, ["large", "small", "large"]) for name in ("t1", "t2")]
    files = export_picks(sets, tmp_path, style, classes=["large", "small"])
    assert files
    assert all(path.is_file() for path in files)
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(files)
    tomogram = Tomogram(np.zeros(SHAPE, np.float32), 10.0, "t1")
    form = BY_NAME[style]
    found = [
        read_picks(path, tomogram=tomogram, style=style, name="t1").positions
        for path in files
        if path.stem.split("_")[0] == "t1" and path.suffix == form.suffixes[0]
    ] or [read_picks(path, tomogram=tomogram, style=style).positions for path in files if "t1" in path.parts[-3:-1]]
    read = np.concatenate(found)
    assert len(read) == len(POSITIONS)
    assert np.abs(np.sort(read, axis=0) - np.sort(POSITIONS, axis=0)).max() < 0.51  # EMAN2's boxes are whole voxels


def test_nothing_is_written_where_a_file_would_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "t2.csv").write_text("mine")
    sets = [chosen(name, ["a", "a", "a"]) for name in ("t1", "t2")]
    with pytest.raises(OutputError, match=r"t2\.csv exists"):
        export_picks(sets, tmp_path, "csv")
    assert [p.name for p in tmp_path.iterdir()] == ["t2.csv"]
    export_picks(sets, tmp_path, "csv", overwrite=True)
    with pytest.raises(OutputError, match="unknown pick format 'word'"):
        export_picks(sets, tmp_path, "word")
    with pytest.raises(OutputError, match="binning"):
        export_picks(sets, tmp_path, "csv", binning=0, overwrite=True)
