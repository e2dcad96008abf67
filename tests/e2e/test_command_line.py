"""What a user types, from simulated tomograms to scores, and what goes wrong on the way."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from shutil import copy

import mrcfile
import numpy as np
import pytest
from click.testing import CliRunner

from etpick.checkpoint import load_state
from etpick.cli import main
from etpick.io.mrc import write_mrc
from etpick.io.picks import read_picks
from etpick.io.tomograms import open_tomogram


def etpick(*arguments, fails=False):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert bool(result.exit_code) is fails, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The issue's own lines, on small tomograms and with little training."""
    folder = tmp_path_factory.mktemp("work")
    data, project = folder / "data", folder / "project.toml"
    etpick("simulate", data, "--count", 3, "--shape", 48, 96, 96, "--seed", 1)
    etpick("init", data, "--diameter", "ribosome=280", "--diameter", "proteasome=150", "--out", project)
    etpick(
        "train", project, "--out", folder / "model", "--network", "fast", "--max-minutes", 20, "--seed", 0,
        "--steps", 100, "--validations", 2, "--patch", 32, "--batch", 2,
    )  # fmt: skip
    etpick("pick", folder / "model", data / "tomo_002.mrc", "--out", folder / "picks")
    return folder


def test_the_lines_of_the_manual_leave_what_they_promise(work):
    header = (work / "picks" / "tomo_002.csv").read_text().splitlines()[0]
    assert header.startswith("class,x,y,z,score")
    tomogram = open_tomogram(work / "data" / "tomo_002.mrc")
    csv, star = (read_picks(work / "picks" / f"tomo_002.{s}", tomogram=tomogram) for s in ("csv", "star"))
    assert len(csv) > 0
    assert star.positions == pytest.approx(csv.positions, abs=1e-3)
    assert (star.classes == csv.classes).all()
    assert star.scores == pytest.approx(csv.scores, abs=1e-4)
    assert not (csv.positions == np.rint(csv.positions)).all()


def test_picks_are_scored_against_the_truth(work):
    out = etpick(
        "evaluate", work / "picks" / "tomo_002.csv", work / "data" / "tomo_002.csv", "--model", work / "model",
        "--json", work / "scores.json",
    )  # fmt: skip
    assert "localisation" in out
    assert "ribosome" in out
    scores = json.loads((work / "scores.json").read_text())
    assert scores["localisation"]["tp"] > 0
    assert scores["spacing_A"] == [10.0]
    truth = work / "data" / "tomo_002.csv"
    perfect = etpick(
        "evaluate", truth, truth, "--diameter", "ribosome=280", "--diameter", "proteasome=150", "--spacing", 10
    )
    assert " 1.000  1.000  1.000   0.00" in perfect


def test_the_challenges_rules_are_at_hand(work):
    pair = (work / "picks" / "tomo_002.csv", work / "data" / "tomo_002.csv", "--model", work / "model")
    occupancy = work / "data" / "tomo_002_occupancy.npz"
    assert "SHREC rule" in etpick("evaluate", *pair, "--rule", "shrec", "--occupancy", occupancy)
    assert "CZII rule" in etpick("evaluate", *pair, "--rule", "czii")
    assert "pass one pair and --occupancy" in etpick("evaluate", *pair, "--rule", "shrec", fails=True)


def test_folders_are_compared_by_name_and_missing_picks_count(work):
    out = etpick("evaluate", work / "picks", work / "data", "--model", work / "model")
    assert "no pick file for tomo_000.csv: counted as no picks" in out


def test_species_are_listed_after_one_option(shared_data, tmp_path):
    out = etpick(
        "simulate", tmp_path / "d", "--count", 1, "--shape", 32, 64, 64, "--seed", 1, "--maps", shared_data / "maps",
        "--species", "4cr2", "5mrc",
    )  # fmt: skip
    assert "1 tomograms" in out
    assert set(read_picks(tmp_path / "d" / "tomo_000.csv").classes) <= {"4cr2", "5mrc"}


def test_info_tells_what_is_in_a_file(work):
    out = etpick("info", work / "data" / "tomo_000.mrc", work / "data" / "tomo_000.csv")
    assert "96 × 96 × 48 voxels (x, y, z) of 10 Å" in out
    truth = read_picks(work / "data" / "tomo_000.csv")
    assert f"{(truth.classes == 'ribosome').sum()} ribosome" in out
    assert out == etpick("info", work / "data" / "tomo_000.mrc")  # the picks beside it are found
    assert "network fast" in etpick("info", work / "model")
    assert "tomo_001" in etpick("info", work / "project.toml")


def test_info_takes_a_folder_of_picks(work, tmp_path):
    for name in ("tomo_000", "tomo_001"):
        copy(work / "data" / f"{name}.csv", tmp_path)
    out = etpick("info", tmp_path)
    assert out.index("picks in tomo_000.csv: ") < out.index("picks in tomo_001.csv: ")
    assert "96 × 96 × 48 voxels" not in out
    (tmp_path / "README.txt").write_text("picks of tuesday\n")
    first, second = etpick("info", work / "data" / "tomo_001.mrc", tmp_path).split("picks in tomo_000.csv")
    assert "picks in tomo_001.csv" in first and "grey level against surroundings" in first
    assert "grey level against surroundings" not in second  # they are of another tomogram
    assert "README.txt: " in first + second


def test_info_shows_a_tomogram_without_a_spacing(work, tmp_path):
    write_mrc(tmp_path / "t.mrc", np.asarray(open_tomogram(work / "data" / "tomo_000.mrc").data, np.float32), 1.0)
    out = etpick("info", tmp_path / "t.mrc")
    assert "t.mrc: voxel size 1.0 Å in t.mrc: pass --spacing" in out
    assert "96 × 96 × 48 voxels" in out


def test_nothing_is_overwritten_without_being_told(work):
    model, tomogram = work / "model", work / "data" / "tomo_002.mrc"
    before = (work / "picks" / "tomo_002.csv").read_bytes()
    assert "--overwrite" in etpick("pick", model, tomogram, "--out", work / "picks", fails=True)
    assert "nothing left to pick" in etpick("pick", model, tomogram, "--out", work / "picks", "--resume")
    assert (work / "picks" / "tomo_002.csv").read_bytes() == before
    assert "holds a model" in etpick("train", work / "project.toml", "--out", model, fails=True)
    assert "--overwrite" in etpick("simulate", work / "data", "--count", 1, "--shape", 48, 96, 96, fails=True)
    classes = ("--diameter", "ribosome=280", "--diameter", "proteasome=150")
    assert "--overwrite" in etpick("init", work / "data", *classes, "--out", work / "project.toml", fails=True)


@pytest.fixture
def candidates(work):
    """Every candidate of the third tomogram, with its score."""
    etpick(
        "pick", work / "model", work / "data" / "tomo_002.mrc", "--out", work / "all", "--min-score", 0, "--overwrite"
    )
    return read_picks(work / "all" / "tomo_002.csv")


@pytest.mark.parametrize(("option", "value"), [("--precision", 0.8), ("--expected-false-positives", 1.5)])
def test_thresholds_are_chosen_by_what_is_wanted_of_the_picks(work, candidates, tmp_path, option, value):
    said = etpick("pick", work / "model", work / "data" / "tomo_002.mrc", "--out", tmp_path, option, value)
    picks = read_picks(tmp_path / "tomo_002.csv")
    assert 0 < len(picks) <= len(candidates)
    wrong = float((1 - picks.scores).sum())
    best = np.sort(candidates.scores)[::-1][: len(picks) + 1]
    if option == "--precision":
        assert picks.scores.mean() >= value
        assert len(picks) == len(candidates) or best.mean() < value
        assert "80% of the picks expected right" in said
    else:
        assert wrong <= value
        assert len(picks) == len(candidates) or (1 - best).sum() > value
        assert "at most 1.5 wrong picks expected" in said
    assert f": {wrong:.0f} of them wrong to be expected" in said


def test_two_thresholds_at_once_are_one_too_many(work, tmp_path):
    said = etpick(
        "pick", work / "model", work / "data" / "tomo_002.mrc", "--out", tmp_path, "--precision", 0.9, "--min-score",
        0.5, fails=True,
    )  # fmt: skip
    assert "min_score and precision each choose the threshold: give one of them" in said


def test_an_inverted_tomogram_is_named_and_invert_gives_the_same_picks(work, tmp_path):
    source = open_tomogram(work / "data" / "tomo_002.mrc")
    write_mrc(tmp_path / "tomo_002.mrc", -np.asarray(source.data, np.float32), 10.0)
    said = etpick("pick", work / "model", tmp_path / "tomo_002.mrc", "--out", tmp_path / "a")
    assert "tomo_002 looks inverted against the tomograms trained on" in said and "pick it with --invert" in said
    said = etpick("pick", work / "model", tmp_path / "tomo_002.mrc", "--out", tmp_path / "b", "--invert")
    assert "looks inverted" not in said
    plain, inverted = (read_picks(f / "tomo_002.csv") for f in (work / "picks", tmp_path / "b"))
    assert inverted.positions == pytest.approx(plain.positions, abs=0.1)
    assert inverted.scores == pytest.approx(plain.scores, abs=1e-2)


def test_half_precision_keeps_the_picks(work, tmp_path, monkeypatch):
    monkeypatch.setattr("etpick.engine.computes_in_bfloat16", lambda device: False)
    etpick("pick", work / "model", work / "data" / "tomo_002.mrc", "--out", tmp_path, "--min-score", 0.3)
    monkeypatch.setattr("etpick.engine.computes_in_bfloat16", lambda device: True)
    etpick("pick", work / "model", work / "data" / "tomo_002.mrc", "--out", tmp_path / "b", "--min-score", 0.0)
    whole, half = (read_picks(f / "tomo_002.csv") for f in (tmp_path, tmp_path / "b"))
    assert len(whole) > 3
    for position, score in zip(whole.positions, whole.scores, strict=True):
        gap = np.linalg.norm(half.positions - position, axis=1)
        assert gap.min() < 0.1
        assert half.scores[gap.argmin()] == pytest.approx(score, abs=0.02)


def test_resume_picks_only_what_is_missing(work, tmp_path):
    out = tmp_path / "picks"
    first, second = (work / "data" / f"tomo_00{i}.mrc" for i in (0, 1))
    etpick("pick", work / "model", first, "--out", out)
    stamp = (out / "tomo_000.csv").stat().st_mtime_ns
    etpick("pick", work / "model", first, second, "--out", out, "--resume")
    assert (out / "tomo_000.csv").stat().st_mtime_ns == stamp
    assert (out / "tomo_001.star").exists()


def test_an_empty_result_says_why(work, tmp_path):
    out = tmp_path / "picks"
    result = CliRunner().invoke(
        main, ["pick", str(work / "model"), str(work / "data" / "tomo_002.mrc"), "--out", str(out), "--min-score", "1"]
    )
    assert result.exit_code == 0
    assert "none reaches the threshold" in result.output
    assert len(read_picks(out / "tomo_002.csv")) == 0
    score = etpick("evaluate", out / "tomo_002.csv", work / "data" / "tomo_002.csv", "--model", work / "model")
    assert " 0.000  0.000  0.000" in score


def broken_tomogram(folder: Path, kind: str) -> Path:
    levels = np.random.default_rng(0).normal(size=(16, 32, 32)).astype(np.float32)
    path = folder / f"{kind}.mrc"
    if kind == "nan":
        levels[3, 4, 5] = np.nan
    write_mrc(path, levels, 10.0)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-5000])
    if kind == "spacing":
        with mrcfile.open(path, mode="r+") as file:
            file.voxel_size = 0.0
    if kind == "coarse":
        with mrcfile.open(path, mode="r+") as file:
            file.voxel_size = 80.0
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("nan", "1 voxels that are NaN or infinite"),
        ("truncated", "truncated"),
        ("spacing", "pass --spacing"),
        ("coarse", "has 80 Å voxels and the model works at 10 Å"),
    ],
)
def test_a_tomogram_that_cannot_be_picked_gets_its_sentence(work, tmp_path, kind, sentence):
    out = etpick("pick", work / "model", broken_tomogram(tmp_path, kind), "--out", tmp_path / "picks", fails=True)
    assert sentence in out
    assert "Traceback" not in out
    assert not (tmp_path / "picks").exists()


def test_one_bad_tomogram_does_not_cost_the_others(work, tmp_path):
    bad = broken_tomogram(tmp_path, "truncated")
    out = etpick("pick", work / "model", bad, work / "data" / "tomo_002.mrc", "--out", tmp_path / "picks", fails=True)
    assert "1 of 2 tomograms were not picked" in out
    assert (tmp_path / "picks" / "tomo_002.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("pick", "{model}", "{tmp}"), "no tomogram"),
        (("pick", "{tmp}", "{data}/tomo_000.mrc"), "is not a model"),
        (("pick", "{model}", "{tmp}/nothing.mrc"), "nothing.mrc"),
        (("train", "{tmp}/nothing.toml", "--out", "{tmp}/m"), "nothing.toml"),
        (("init", "{tmp}", "--diameter", "ribosome=280", "--out", "{tmp}/p.toml"), "no tomogram"),
        (("init", "{data}", "--diameter", "ribosome=280", "--out", "{tmp}/p.toml"), "proteasome"),
        (("init", "{data}", "--diameter", "ribosome", "--out", "{tmp}/p.toml"), "is not NAME=Å"),
        (("train", "{project}", "--out", "{tmp}/m", "--patch", "50"), "multiple of 8"),
        (("train", "{project}", "--out", "{tmp}/m", "--resume"), "nothing to resume"),
        (("train", "{project}", "--out", "{tmp}/m", "--device", "gpu7"), "is not known"),
        (("evaluate", "{data}/tomo_000.csv", "{data}/tomo_000.csv"), "pass --model, or --diameter"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(work, tmp_path, arguments, sentence):
    places = {"model": work / "model", "data": work / "data", "tmp": tmp_path, "project": work / "project.toml"}
    out = etpick(*(a.format(**places) for a in arguments), fails=True)
    assert sentence in out
    assert "Traceback" not in out


def test_a_full_disk_is_named_and_leaves_nothing_half_written(work, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    out = etpick("pick", work / "model", work / "data" / "tomo_000.mrc", "--out", tmp_path / "picks", fails=True)
    assert "No space left" in out
    assert list((tmp_path / "picks").iterdir()) == []


def test_a_packed_tomogram_gives_the_same_picks(work, tmp_path):
    packed = tmp_path / "tomo_002.mrc.gz"
    packed.write_bytes(gzip.compress((work / "data" / "tomo_002.mrc").read_bytes(), 1))
    etpick("pick", work / "model", packed, "--out", tmp_path / "picks")
    assert (tmp_path / "picks" / "tomo_002.csv").read_text() == (work / "picks" / "tomo_002.csv").read_text()


def test_ctrl_c_keeps_the_state_and_resume_goes_on(work, tmp_path):
    command = [sys.executable, "-m", "etpick.cli", "train", str(work / "project.toml"), "--out", str(tmp_path / "m"),
               "--steps", "100000", "--patch", "24", "--batch", "1"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("learning from subtomograms"):
            break
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "go on with --resume" in said
    assert load_state(tmp_path / "m")[1]["step"] >= 1
    changed = etpick("train", work / "project.toml", "--out", tmp_path / "m", "--resume", "--batch", 2, fails=True)
    assert "changed option: batch was 1, is 2" in changed  # the others are remembered


def test_a_terminated_pick_clears_what_it_had_begun_to_write(work, tmp_path):
    rng, out = np.random.default_rng(0), tmp_path / "picks"
    write_mrc(tmp_path / "large.mrc", rng.normal(size=(192, 256, 256)).astype(np.float32), 10.0)
    command = [sys.executable, "-m", "etpick.cli", "pick", str(work / "model"), str(tmp_path / "large.mrc"),
               "--out", str(out), "--score-maps", "mrc", "--engine", "torch", "--tile", "32"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    while not list(out.glob(".*large_scores.mrc")):
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()  # as a cluster does
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stopped" in said
    assert list(out.iterdir()) == []


def test_help_lists_the_commands_in_the_order_of_the_work():
    out = etpick("--help")
    places = [out.index(f"\n  {name} ") for name in ("simulate", "init", "train", "pick", "evaluate", "info")]
    assert places == sorted(places)
    for name in ("demo", "simulate", "init", "train", "pick", "evaluate", "info"):
        said = etpick(name, "--help")
        assert "--" in said
        assert "None" not in said


def test_help_answers_at_once_compared_with_torch():
    def seconds(*command):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        return time.perf_counter() - start

    assert seconds("-m", "etpick.cli", "--help") < 0.5 * seconds("-c", "import torch")


def test_the_demo_runs_from_simulation_to_report(tmp_path, monkeypatch):
    monkeypatch.setattr("etpick.demo.SHAPE", (48, 96, 96))
    out = etpick("demo", tmp_path / "demo", "--minutes", 0.15)
    assert "localisation" in out
    report = (tmp_path / "demo" / "report.html").read_text()
    assert "ribosome" in report
    assert "<svg" in report
    assert "data:image/" in report
    for name in ("project.toml", "picks.png", "model/model.json", "picks/tomo_002.csv", "picks/tomo_002.star"):
        assert (tmp_path / "demo" / name).stat().st_size > 0
    assert not (tmp_path / "demo" / "tomograms" / "tomo_002.csv").exists()  # its truth lies elsewhere
    assert "--overwrite" in etpick("demo", tmp_path / "demo", fails=True)
