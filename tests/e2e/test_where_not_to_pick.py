"""Where not to pick, as a user asks for it, with a network that takes anything for a particle."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import etpick
from etpick.cli import main
from etpick.io.mrc import write_mrc
from etpick.io.picks import read_picks

SHAPE = (48, 64, 64)
SPACING_A = 20.0
BEAD = (24, 20, 40)


def run(*arguments, fails=False):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert bool(result.exit_code) is fails, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


@pytest.fixture(scope="module")
def work(tmp_path_factory, untrained):
    """A model that was never trained, and a lamella at z 12–36 with a bead."""
    folder = tmp_path_factory.mktemp("work")
    shutil.copytree(untrained, folder / "model")
    levels = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    levels[:12] *= 0.4
    levels[36:] *= 0.4
    levels[tuple(slice(c - 2, c + 3) for c in BEAD)] -= 40
    write_mrc(folder / "t1.mrc", levels, SPACING_A)
    write_mrc(folder / "t2.mrc", levels[:, ::-1], SPACING_A)
    mask = np.zeros((24, 32, 32), np.int8)  # binned twice
    mask[:, :, :16] = 1
    (folder / "masks").mkdir()
    for name in ("t1", "t2"):
        write_mrc(folder / "masks" / f"{name}_half.mrc", mask, 0.0)
    return folder


def picked(folder: Path, name: str = "t1"):
    return read_picks(folder / f"{name}.csv").positions


def test_every_zone_keeps_picks_out_of_the_files(work, tmp_path):
    run("pick", work / "model", work / "t1.mrc", "--out", tmp_path / "all")
    out = run(
        "pick", work / "model", work / "t1.mrc", "--out", tmp_path, "--edge", 100, "--slab", "--gold", "--gold-margin",
        120, "--mask", work / "masks" / "t1_half.mrc",
    )  # fmt: skip
    every, kept = picked(tmp_path / "all"), picked(tmp_path)
    edges = (np.minimum(every + 0.5, np.array(SHAPE) - 0.5 - every).min(axis=1) < 5) | (every[:, 2] > 31.5)
    lamella = (every[:, 0] > 14) & (every[:, 0] < 34) & ~edges
    assert 0 < len(kept) < len(every)
    assert kept[:, 0].min() > 9
    assert kept[:, 0].max() < 39
    assert kept[:, 2].max() < 31.5
    assert np.linalg.norm(kept - BEAD, axis=1).min() > 6
    gap = np.linalg.norm(every[lamella][:, None] - kept, axis=2).min(axis=1)
    far = np.linalg.norm(every[lamella] - BEAD, axis=1) > 12
    assert (gap[far] < 0.01).mean() > 0.9  # the others are as they were
    star = read_picks(tmp_path / "t1.star", spacing_A=SPACING_A)
    assert len(star) == len(kept)
    assert "picks left out: " in out
    for part in (" at the edge (100 Å)", " outside the lamella (z 1", " near gold (1 bead, 120 Å", " outside the mask"):
        assert part in out


def test_what_must_be_avoided_is(work, tmp_path):
    options = ("--avoid-mask", work / "masks", "--avoid-margin", 200)
    run("pick", work / "model", work / "t1.mrc", work / "t2.mrc", "--out", tmp_path, *options)
    for name in ("t1", "t2"):
        assert len(picked(tmp_path, name)) > 0
        assert picked(tmp_path, name)[:, 2].min() > 31.5 + 9


def test_nothing_left_is_explained(work, tmp_path):
    write_mrc(tmp_path / "nowhere.mrc", np.zeros(SHAPE, np.int8), SPACING_A)
    out = run("pick", work / "model", work / "t1.mrc", "--out", tmp_path, "--mask", tmp_path / "nowhere.mrc")
    assert "candidates lie in excluded zones: " in out
    assert len(picked(tmp_path)) == 0


def test_wrong_masks_are_named_before_anything_is_picked(work, tmp_path):
    pair = (work / "model", work / "t1.mrc", work / "t2.mrc", "--out", tmp_path / "picks")
    assert "give a folder with a mask" in run("pick", *pair, "--mask", work / "masks" / "t1_half.mrc", fails=True)
    (tmp_path / "m").mkdir()
    write_mrc(tmp_path / "m" / "t1.mrc", np.ones((10, 20, 30), np.int8), 0.0)
    assert "no mask in" in run("pick", *pair, "--avoid-mask", tmp_path / "m", fails=True)
    out = run("pick", *pair[:2], *pair[3:], "--mask", tmp_path / "m", fails=True)
    assert "30 × 20 × 10 voxels and the tomogram 64 × 64 × 48" in out
    assert not (tmp_path / "picks").exists()


def test_report_leaves_a_page_for_each_tomogram_that_resume_misses(work, tmp_path):
    pair = (work / "model", work / "t1.mrc", work / "t2.mrc", "--out", tmp_path)
    run("pick", *pair[:2], *pair[3:])
    assert not (tmp_path / "t1.html").exists()
    run("pick", *pair, "--gold", "--report", "--resume")
    page = (tmp_path / "t1.html").read_text(encoding="utf-8")
    for text in ("near gold", "1 bead", "Thresholds stored with the model", "gold = True", "data:image/png"):
        assert text in page
    assert (tmp_path / "t2.html").exists()
    assert "nothing left to pick" in run("pick", *pair, "--report", "--resume")
    (tmp_path / "t1.csv").unlink()
    (tmp_path / "t1.star").unlink()
    assert "t1.html exists already" in run("pick", *pair[:2], *pair[3:], "--report", fails=True)


def test_the_same_in_python(work, tmp_path):
    done = etpick.pick_files(work / "model", [work / "t1.mrc"], tmp_path, report=True, slab=True, gold=True)
    assert [f.suffix for f in done[0].files] == [".csv", ".star", ".html"]
    found = done[0].found
    assert found.zones.beads.centres == pytest.approx(np.array([BEAD]), abs=1)
    assert set(found.left_out.counts()) == {"outside the lamella", "near gold"}
    assert len(found.excluded) >= len(found.left_out) > 0
    mask = np.zeros(SHAPE, bool)
    mask[:, :32] = True
    kept = etpick.pick(work / "model", work / "t1.mrc", mask=mask, avoid_mask=work / "masks" / "t1_half.mrc")
    assert len(kept)
    assert kept.positions[:, 1].max() < 31.5
    assert kept.positions[:, 2].min() > 31.5


def test_the_next_tomogram_is_read_while_one_is_picked(work, tmp_path, monkeypatch):
    events = []
    monkeypatch.setattr("etpick.api.read_ahead", lambda path: events.append(f"read {path.name}"))
    etpick.pick_files(
        work / "model", [work / "t1.mrc", work / "t2.mrc"], tmp_path,
        on_start=lambda path, number, count: events.append(f"start {path.name}"),
        on_done=lambda done: events.append(f"done {done.tomogram.name}"),
    )  # fmt: skip
    assert events == ["start t1.mrc", "read t2.mrc", "done t1", "start t2.mrc", "done t2"]
