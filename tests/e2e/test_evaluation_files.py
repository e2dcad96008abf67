"""`etpick evaluate` with its report, JSON and CSV, on files."""

import csv
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

TRUE = np.array([[20.0, 20, 20], [20, 60, 20], [20, 20, 60]])


@pytest.fixture
def run() -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Two tomograms; in the first two of three particles are found and one pick is wrong, the second has no picks."""
    rng = np.random.default_rng(0)
    for folder in ("truth", "picks", "tomograms"):
        (tmp_path / folder).mkdir()
    for name in ("t1", "t2"):
        image = rng.normal(size=(40, 80, 80)).astype(np.float32)
        write_mrc(tmp_path / "tomograms" / f"{name}.mrc", image, 1.0)  # a spacing that nobody believes
        etpick.write_picks(tmp_path / "truth" / f"{name}.csv", Particles(TRUE, np.array("ribosome"), spacing_A=10.0))
    found = np.concatenate([TRUE[:2] + 1, [[10.0, 70, 70]]])
    picks = Particles(found, np.array("ribosome"), np.array([0.9, 0.8, 0.7]), spacing_A=10.0)
    etpick.write_picks(tmp_path / "picks" / "t1.csv", picks)
    return tmp_path


def test_one_command_writes_page_table_and_numbers(here: Path, run: Callable[..., Result]) -> None:
    page, table, numbers = here / "e.html", here / "e.csv", here / "e.json"
    result = run(
        here / "picks", here / "truth", "--diameter", "ribosome=200", "--tomograms", here / "tomograms",
        "--report", page, "--csv", table, "--json", numbers,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    text = page.read_text()
    for heading in ("Tomogram by tomogram", "The worst mistakes", "Distance to the truth", "How this was made"):
        assert f"<h2>{heading}</h2>" in text
    assert "Wrong picks: 1; missed particles: 4." in text
    with table.open() as file:
        rows = {(row["tomogram"], row["class"]): row for row in csv.DictReader(file)}
    assert len(rows) == 6
    assert (rows["t1", "ribosome"]["tp"], rows["t2", "ribosome"]["fn"]) == ("2", "3")
    assert float(rows["all", "localisation"]["recall"]) == pytest.approx(2 / 6)
    content = json.loads(numbers.read_text())
    assert content["localisation"]["tp"] == 2
    assert content["provenance"]["rule"] == "radius"


def test_the_page_says_the_score_by_the_rule_of_a_challenge(here: Path, run: Callable[..., Result]) -> None:
    options = ("--diameter", "ribosome=200", "--tomograms", here / "tomograms", "--report", here / "e.html")
    result = run(here / "picks", here / "truth", *options, "--rule", "czii")
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("CZII rule: F-beta 0.")]
    assert line in (here / "e.html").read_text()


def test_a_report_needs_the_tomograms(here: Path, run: Callable[..., Result]) -> None:
    options = ("--diameter", "ribosome=200", "--report", here / "e.html", "--json", here / "e.json")
    without = run(here / "picks", here / "truth", *options)
    assert without.exit_code == 1 and "pass --tomograms" in without.output
    one = run(here / "picks", here / "truth", *options, "--tomograms", here / "tomograms" / "t1.mrc")
    assert one.exit_code == 1 and "slices of t2" in one.output
    assert not (here / "e.json").exists()  # nothing is written by halves


def test_nothing_is_written_where_one_file_exists(here: Path, run: Callable[..., Result]) -> None:
    (here / "e.csv").write_text("mine")
    result = run(
        here / "picks", here / "truth", "--diameter", "ribosome=200", "--csv", here / "e.csv", "--json", here / "e.json"
    )
    assert result.exit_code == 1 and "--overwrite" in result.output
    assert (here / "e.csv").read_text() == "mine" and not (here / "e.json").exists()
