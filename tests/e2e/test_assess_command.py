"""`etpick assess` as typed, from pick files to averages side by side."""

import json
from pathlib import Path

import numpy as np
import pytest
import starfile
from click.testing import CliRunner, Result

import etpick as library
from etpick.assessment.result import read_result
from etpick.cli import main
from etpick.errors import ExternalError
from etpick.external import find_relion
from etpick.io.mrc import read_mrc
from etpick.io.picks import write_picks

DIAMETER = ("--diameter", "ribosome=280")
QUICK = {
    "_STARTS": 1, "_START_ITERATIONS": 3, "_COMMON_ITERATIONS": 1, "_APART_ITERATIONS": 1, "_NEAR_ITERATIONS": 1,
    "_COARSE_DEG": 40.0, "_FINE_DEG": 30.0,
}  # fmt: skip


def etpick(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def _few_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    """What refinement finds is tested in tests/averaging; here it need not find it."""
    for name, value in QUICK.items():
        monkeypatch.setattr(f"etpick.averaging.refine.{name}", value)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tomograms of coarse voxels, and two sets of picks: the truth, and two thirds of it with as many others."""
    folder = tmp_path_factory.mktemp("data")
    made = etpick(
        "simulate", folder / "t", "--count", 2, "--shape", 48, 112, 112, "--species", "ribosome", "--spacing", 20,
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    rng = np.random.default_rng(0)
    for path in sorted((folder / "t").glob("tomo_*.mrc")):
        tomogram = library.open_tomogram(path)
        truth = library.read_picks(path.with_suffix(".csv"), tomogram=tomogram)
        write_picks(folder / "good" / f"{path.stem}.csv", truth)
        worse = truth.select(np.arange(len(truth)) % 3 > 0)
        added = rng.uniform(8, np.array(tomogram.shape) - 8, (len(truth) - len(worse), 3))
        places = np.concatenate([worse.positions, added])
        angles = np.zeros((len(places), 3))
        wrong = library.Particles(places, np.array("ribosome"), angles=angles, spacing_A=truth.spacing_A)
        write_picks(folder / "worse" / f"{path.stem}.csv", wrong)
    return folder


def assess(data: Path, out: Path, *more: object) -> Result:
    return etpick(
        "assess", data / "good", data / "worse", "--tomograms", data / "t", *DIAMETER, "--out", out, "--by", "light",
        "--box", "320A", *more,
    )  # fmt: skip


def test_sets_and_their_differences_are_averaged_and_reported(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = assess(data, out)
    assert done.exit_code == 0, done.output
    page = (out / "assess.html").read_text(encoding="utf-8")
    for name in ("good", "worse", "good and worse"):
        assert name in page
    for part in (
        "Side by side",
        "Fourier shell correlation",
        "Local resolution",
        "Rosenthal",
        "maximum-value",
        "B-factor",
    ):
        assert part in page
    good = read_result(out / "sets" / "good" / "assessed.json")
    assert good.how == "light path" and good.particles == len(good.top) == len(good.log_likelihood)
    assert good.top.min() > 0 and good.top.max() <= 1 and np.abs(good.correlation).max() <= 1
    assert len(good.moved_A) == good.particles and good.moved_A.max() < 280
    assert len(good.local_A) and (good.local_A >= 2 * 20 - 1e-6).all()
    assert set(good.subset_counts) >= {good.particles, good.particles // 2}
    table = starfile.read(out / "sets" / "good" / "refined.star", always_dict=True)["particles"]
    assert len(table) == good.particles and set(table.rlnRandomSubset) == {1, 2}
    for volume in ("average", "half1", "half2", "mask", "local_resolution"):
        assert read_mrc(out / "sets" / "good" / f"{volume}.mrc").data.shape == (16, 16, 16)
    assert json.loads((out / "assessment.json").read_text())["finished"]


def test_an_assessment_goes_on_and_is_not_replaced_unasked(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert assess(data, out, "--no-differences", "--particles", 20).exit_code == 0
    again = assess(data, out, "--no-differences", "--particles", 20)
    assert again.exit_code == 1 and "--resume" in again.output and "--overwrite" in again.output
    kept = out / "sets" / "good" / "average.mrc"
    before = kept.stat().st_mtime_ns
    state = json.loads((out / "assessment.json").read_text())
    (out / "assessment.json").write_text(json.dumps(state | {"done": ["good"], "finished": False}))
    (out / "sets" / "worse" / "assessed.json").unlink()
    done = assess(data, out, "--no-differences", "--particles", 20, "--resume")
    assert done.exit_code == 0, done.output
    assert kept.stat().st_mtime_ns == before and (out / "sets" / "worse" / "assessed.json").exists()
    assert read_result(out / "sets" / "worse" / "assessed.json").particles == 20
    other = assess(data, out, "--particles", 21, "--resume")
    assert other.exit_code == 1 and "was begun with" in other.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--diameter", "proteasome=160"], "an average is of one kind of particle and there are 2"),
        (["--class", "proteasome"], "there is no class 'proteasome': the classes are ribosome"),
        (["--box", "17"], "a box of 17 voxels is odd"),
        (["--particles", "5"], "particles"),
    ],
)
def test_what_cannot_be_averaged_is_one_sentence(data: Path, tmp_path: Path, options: list[str], message: str) -> None:
    done = assess(data, tmp_path / "out", *options)
    assert done.exit_code == 1 and message in done.output and "Traceback" not in done.output


def test_sets_too_small_are_named(data: Path, tmp_path: Path) -> None:
    few = library.read_picks(data / "good" / "tomo_000.csv", spacing_A=20).select(slice(0, 7))
    write_picks(tmp_path / "few" / "tomo_000.csv", few)
    done = etpick(
        "assess", tmp_path / "few", "--tomograms", data / "t", *DIAMETER, "--out", tmp_path / "o", "--by", "light"
    )
    assert done.exit_code == 1 and "few: 7 picks, too few for an average (fewer than 20)" in done.output


def test_relion_asked_for_and_absent_is_a_sentence(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = etpick(
        "assess", data / "good", "--tomograms", data / "t", *DIAMETER, "--out", tmp_path / "o", "--by", "relion"
    )
    assert done.exit_code == 1 and "apt-get install relion" in done.output


def test_relion_refines_and_its_curves_are_read(data: Path, tmp_path: Path) -> None:
    try:
        find_relion("relion_refine_mpi").refuse_without_mpi()
    except ExternalError as absent:
        pytest.skip(str(absent))
    out = tmp_path / "out"
    done = etpick(
        "assess", data / "good", "--tomograms", data / "t", *DIAMETER, "--out", out, "--by", "relion",
        "--particles", 20, "--box", 16,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = read_result(out / "sets" / "good" / "assessed.json")
    assert found.how.startswith("RELION 3.") and found.particles == 20
    assert len(found.curves.corrected) == 9 and np.isfinite(found.log_likelihood).all()
    assert found.top.min() > 0 and found.top.max() <= 1
    assert "RELION 3." in (out / "assess.html").read_text(encoding="utf-8")
