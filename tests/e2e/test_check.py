"""`etpick check` as people call it."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import etpick
from etpick.cli import main
from etpick.io.mrc import write_mrc
from etpick.types import Particles


@pytest.mark.parametrize("swapped", [False, True])
def test_the_verdict_ends_a_table_of_what_was_tried(tmp_path: Path, swapped: bool) -> None:
    rng = np.random.default_rng(1)
    levels = rng.normal(size=(40, 60, 60)).astype(np.float32)
    centres = rng.integers(6, 34, (30, 3))
    for z, y, x in centres:
        levels[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3] -= 2
    write_mrc(tmp_path / "t1.mrc", levels, 10.0)
    etpick.write_picks(tmp_path / "t1.csv", Particles(centres[:, [0, 2, 1]] if swapped else centres, np.array("a")))
    result = CliRunner().invoke(main, ["check", str(tmp_path / "t1.mrc"), str(tmp_path / "t1.csv")])
    assert result.exit_code == 0, result.output
    *table, verdict = result.output.splitlines()
    more = CliRunner().invoke(main, ["check", str(tmp_path / "t1.mrc"), str(tmp_path / "t1.csv"), "--diameter", "a=50"])
    assert "a: nearest neighbours" in more.output and "overlap; picks from low z to high: " in more.output
    assert any(line.startswith("z runs the other way") for line in table)
    if not swapped:
        assert "they fit the tomogram" in verdict
        return
    assert verdict.startswith("x and y are swapped (convert --swap xy): undone,")
    mended = CliRunner().invoke(main, ["convert", str(tmp_path / "t1.csv"), str(tmp_path / "m.csv"), "--swap", "xy"])
    assert mended.exit_code == 0, mended.output
    again = CliRunner().invoke(main, ["check", str(tmp_path / "t1.mrc"), str(tmp_path / "m.csv")])
    assert "they fit the tomogram" in again.output
