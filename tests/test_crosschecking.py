"""Labels hidden, models agreeing: the bookkeeping on picks made by hand, and the whole on a real training."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from etpick.cli import main
from etpick.config import recipe
from etpick.crosschecking import Agreement, Recall, _agreement, _hidden, _judged, _part, _possible, _trained, crosscheck
from etpick.errors import InputError, OutputError, TrainingError
from etpick.types import NEGATIVE, Dataset, ParticleClass, Particles, Tomogram, TrainingItem

BALL, ROD = ParticleClass("ball", 100.0), ParticleClass("rod", 60.0)


def dataset(balls: int = 40, rods: int = 4) -> Dataset:
    rng = np.random.default_rng(0)
    tomogram = Tomogram(np.zeros((64, 64, 64), np.float32), 10.0, "t1")
    classes = np.array(["ball"] * balls + ["rod"] * rods + [NEGATIVE] * 3)
    return Dataset((BALL, ROD), (TrainingItem(tomogram, Particles(rng.uniform(5, 59, (len(classes), 3)), classes)),))


def test_a_share_of_each_class_is_hidden_and_negatives_never() -> None:
    data = dataset()
    chosen, few, notes = _hidden(data, 0.25, np.random.default_rng(0))
    classes = data.items[0].particles.classes
    assert chosen[0].sum() == 10 and set(classes[chosen[0]]) == {"ball"}
    assert few == ["rod"] and "rod has 4 labels: too few to hide some" in notes[0]
    part = _part(data, [~chosen[0]])
    assert part.partial_labels and len(part.items[0].particles) == len(classes) - 10
    assert (part.items[0].particles.classes == NEGATIVE).sum() == 3
    none = _part(data, [np.zeros(len(classes), dtype=bool)])
    assert set(none.items[0].particles.classes) == {NEGATIVE}


def test_too_few_labels_are_a_sentence() -> None:
    with pytest.raises(InputError, match="no class has 10 labels"):
        _hidden(dataset(balls=9), 0.2, np.random.default_rng(0))


def test_recall_counts_hidden_labels_near_a_pick_of_any_class() -> None:
    data = dataset()
    truth = data.items[0].particles
    hidden = np.zeros(len(truth), dtype=bool)
    hidden[:8] = True
    picks = Particles(truth.positions[[0, 1, 2, 3, 20]] + 0.5, np.array(["ball", "rod", "ball", "ball", "ball"]))
    found = _judged(data, [hidden], {"hidden": [picks]}, [], np.random.default_rng(0))
    assert found.recall["ball"].hidden == 8
    distances = np.linalg.norm(truth.positions[:8, None] - picks.positions, axis=2)
    assert found.recall["ball"].found >= 4 == int((distances.min(axis=1) < 1).sum())
    assert "rod" not in found.recall and found.agreement == {}
    assert 0 < found.recall["ball"].by_chance < 0.05


def test_agreement_of_the_same_picks_is_whole_and_of_random_ones_is_chance() -> None:
    rng = np.random.default_rng(1)
    item = dataset().items[0]
    rows = [Particles(rng.uniform(0, 64, (120, 3)), np.array("ball")) for _ in range(2)]
    same = _agreement(BALL, [item], [rows[0]], [rows[0]], rng)
    assert (same.one, same.other, same.shared, same.jaccard) == (120, 120, 120, 1.0)
    other = _agreement(BALL, [item], [rows[0]], [rows[1]], rng)
    assert other.jaccard == pytest.approx(other.by_chance, abs=0.08)


def test_intervals_are_wilsons() -> None:
    low, high = Recall(8, 10, 0.0).interval
    assert (low, high) == (pytest.approx(0.490, abs=1e-3), pytest.approx(0.943, abs=1e-3))
    assert Recall(0, 0, 0.0).interval == (0.0, 1.0)
    assert np.isnan(Agreement(0, 0, 0, 0.0).jaccard)


def test_a_share_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be hidden"):
        crosscheck(dataset(), tmp_path, hide=1.0)


def test_a_project_is_crosschecked_from_the_command_line_and_goes_on(tmp_path: Path) -> None:
    def etpick(*arguments: object) -> str:
        done = CliRunner().invoke(main, [str(a) for a in arguments])
        assert done.exit_code == 0, done.output
        return done.output

    etpick("simulate", tmp_path / "t", "--count", 2, "--shape", 40, 96, 96, "--species", "ribosome", "--spacing", 20)
    project, out = tmp_path / "project.toml", tmp_path / "out"
    etpick("init", tmp_path / "t", "--out", project, "--diameter", "ribosome=280")
    printed = etpick("crosscheck", project, "--out", out, "--steps", 2, "--no-halves")
    result = json.loads((out / "result.json").read_text())
    recall = result["recall"]["ribosome"]
    assert recall["hidden"] > 3 and 0 <= recall["found"] <= recall["hidden"]
    assert f"{recall['found']} of {recall['hidden']} hidden labels found again" in printed
    assert result["agreement"] == {} and set(result["plausibility"]) == {"tomo_000", "tomo_001"}
    page = (out / "crosscheck.html").read_text(encoding="utf-8")
    assert "Hidden labels" in page and "picks by height" in page
    with pytest.raises(OutputError, match=r"holds a crosscheck: .*--resume"):
        crosscheck(project, out, steps=2, halves=False)
    before = (out / "hidden" / "model.json").stat().st_mtime_ns
    again = crosscheck(project, out, steps=2, halves=False, resume=True)
    assert (out / "hidden" / "model.json").stat().st_mtime_ns == before
    assert again.recall["ribosome"].found == recall["found"]


def test_halves_too_small_to_train_on_are_left_out_before_the_first_training(tmp_path: Path) -> None:
    data = dataset(balls=16, rods=0)
    small = Dataset((BALL,), data.items)
    seen = [np.ones(len(small.items[0].particles), dtype=bool)]
    some, none = _part(small, seen), _part(small, [np.arange(len(seen[0])) < 6])
    rng = np.random.default_rng(0)
    noise = Tomogram(rng.normal(size=(64, 64, 64)).astype(np.float32), 10.0, "t1")
    parts = {
        name: replace(part, items=(replace(part.items[0], tomogram=noise),))
        for name, part in {"hidden": some, "half-1": none, "half-2": none}.items()
    }
    possible, notes = _possible(parts, recipe("fast"))
    assert list(possible) == ["hidden"] and notes[0].startswith("no two models of half of the labels each: ")
    with pytest.raises(TrainingError):
        _possible({"hidden": parts["half-1"]}, recipe("fast"))


def test_a_training_killed_before_its_first_state_begins_anew_and_a_finished_one_is_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    levels = rng.normal(size=(48, 64, 64)).astype(np.float32)
    centres = rng.integers(8, 40, (24, 3))
    for z, y, x in centres:
        levels[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3] -= 3
    items = (TrainingItem(Tomogram(levels, 20.0, "t1"), Particles(centres.astype(float), np.array("ball"))),)
    data, config = Dataset((BALL,), items, partial_labels=True), recipe("fast", steps=4, patch_vx=24, batch=2)
    arguments = (data, config, tmp_path / "m", "cpu", lambda _: None, lambda: False)
    first = _trained(*arguments)
    assert _trained(*arguments).trained_on == first.trained_on  # not trained again
    description = tmp_path / "m" / "model.json"
    content = json.loads(description.read_text())
    description.write_text(json.dumps(content | {"trained_on": {}}))  # as the first validation leaves it
    assert _trained(*arguments).trained_on["steps"] == 4
