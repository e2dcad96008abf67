"""`etpick pick --candidates` keeps what lies below the thresholds, apart from the picks."""

from pathlib import Path

import numpy as np
from click.testing import CliRunner

from etpick.cli import main
from etpick.io.mrc import write_mrc
from etpick.io.picks import read_picks


def scores_in(path: Path) -> np.ndarray:
    scores = read_picks(path).scores
    assert scores is not None
    return scores


def test_candidates_hold_the_picks_and_more(untrained: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(48, 64, 64)).astype(np.float32)
    write_mrc(tmp_path / "t1.mrc", noise, 20.0)
    out = tmp_path / "picks"
    command = ["pick", str(untrained), str(tmp_path / "t1.mrc"), "--out", str(out), "--candidates", "--report"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*")) == [
        "candidates/t1.csv", "t1.csv", "t1.html", "t1.star",
    ]  # fmt: skip
    middle = float(np.median(scores_in(out / "candidates" / "t1.csv")))
    result = CliRunner().invoke(main, [*command, "--overwrite", "--min-score", str(middle)])
    assert result.exit_code == 0, result.output
    every, picks = scores_in(out / "candidates" / "t1.csv"), scores_in(out / "t1.csv")
    assert len(every) > len(picks) > 0
    assert every.min() >= 0.01
    assert np.allclose(np.sort(every[every >= middle]), np.sort(picks), atol=1e-6)
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 1
    assert "exists already" in again.output
