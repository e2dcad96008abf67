"""`etpick compare` on files, as people call it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import etpick
from etpick.cli import main
from etpick.io.mrc import write_mrc
from etpick.types import Particles

SPACING_A = 10.0
OPTIONS = ("--diameter", "ribosome=200")


@pytest.fixture
def run() -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(main, ["compare", *map(str, arguments)])


def put(path: Path, positions: object, scores: object = None, spacing_A: float | None = SPACING_A) -> Path:
    path.parent.mkdir(exist_ok=True)
    particles = Particles(np.asarray(positions, float), np.array("ribosome"), scores, spacing_A=spacing_A)
    return etpick.write_picks(path, particles)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    put(tmp_path / "manual" / "t1.csv", [[20, 20, 20], [20, 60, 60]])
    put(tmp_path / "manual" / "t2.csv", [[10, 30, 30]])
    put(tmp_path / "etpick" / "t1.csv", [[20, 21, 20], [20, 60, 20]], scores=[0.9, 0.3])
    return tmp_path / "manual", tmp_path / "etpick"


def test_parts_are_counted_and_written_ready_for_averaging(folders, run, tmp_path) -> None:
    write_mrc(tmp_path / "t1.mrc", np.random.default_rng(0).normal(size=(40, 80, 80)).astype(np.float32), SPACING_A)
    out = tmp_path / "out"
    result = run(*folders, *OPTIONS, "--reference", "manual", "--out", out, "--tomograms", tmp_path / "t1.mrc")
    assert result.exit_code == 0, result.output
    assert "etpick has no picks of t2: counted as none" in result.output
    assert "etpick against manual: precision 0.500, recall 0.333, F1 0.400" in result.output
    content = json.loads((out / "compare.json").read_text())
    assert content["total"] == {"manual and etpick": 1, "only manual": 2, "only etpick": 1}
    assert content["tomograms"]["t1"]["places"] == {"manual and etpick": 1, "only manual": 1, "only etpick": 1}
    assert content["tomograms"]["t1"]["pairs"]["manual and etpick"]["median_distance_vx"] == 1.0
    assert content["tomograms"]["t2"]["pairs"]["manual and etpick"]["median_distance_vx"] is None
    shared = etpick.read_picks(out / "manual-and-etpick" / "t1.star")
    assert shared.positions.tolist() == [[20, 20, 20]]  # the first set's
    assert shared.spacing_A == SPACING_A
    assert etpick.read_picks(out / "only-manual" / "t2.csv").positions.tolist() == [[10, 30, 30]]
    assert not (out / "only-etpick" / "t2.csv").exists()
    page = (out / "compare.html").read_text()
    assert page.count("<img ") >= 1 and "only etpick" in page


def test_what_is_there_is_replaced_only_when_told(folders, run, tmp_path) -> None:
    out = tmp_path / "out"
    assert run(*folders, *OPTIONS, "--out", out).exit_code == 0
    before = (out / "compare.json").read_bytes()
    again = run(folders[0], folders[0], *OPTIONS, "--name", "manual", "--name", "etpick", "--out", out)
    assert again.exit_code == 1 and "--overwrite" in again.output
    assert (out / "compare.json").read_bytes() == before
    same = run(folders[0], folders[0], *OPTIONS, "--name", "manual", "--name", "etpick", "--out", out, "--overwrite")
    assert same.exit_code == 0
    assert not (out / "only-manual" / "t1.csv").exists()  # nothing is left of the earlier comparison


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["manual"], "give two to 6"),
        (["manual", "etpick/t1.csv"], "not both"),
        (["manual", "etpick", "--reference", "truth"], "the sets are manual, etpick"),
        (["manual", "etpick", "--name", "a"], "1 names for 2 sets"),
        (["manual", "other"], "paired by the tomogram's name"),
        (["manual", "coarse"], "20 Å"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(folders, run, tmp_path, arguments, sentence) -> None:
    put(tmp_path / "other" / "t9.csv", [[1, 1, 1]])
    put(tmp_path / "coarse" / "t1.csv", [[1, 1, 1]], spacing_A=20.0)
    paths = [tmp_path / a if (tmp_path / a).exists() else a for a in arguments]
    result = run(*paths, *OPTIONS)
    assert result.exit_code == 1
    assert sentence in " ".join(result.output.split())
