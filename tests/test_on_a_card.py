"""The second look at candidates gives on a card what it gives on the processor; the card is a pretended one."""

import logging
from contextlib import contextmanager
from dataclasses import replace
from threading import Event

import numpy as np
import pytest
import torch

import pretended_card
from balls import QUICK, balls, dataset
from etpick import averaging_labels, training
from etpick.api import pick_files
from etpick.averaging_labels import average_labels, judged
from etpick.checkpoint import save_model
from etpick.class_averages import ClassAverages, Trust
from etpick.config import recipe
from etpick.data import Resident, make_source, resident
from etpick.decision import uncalibrated
from etpick.errors import InputError
from etpick.io.mrc import write_mrc
from etpick.neighbours import explained_by_neighbours
from etpick.picking import Picker
from etpick.preparation import ValidationVolume
from etpick.report.page import render
from etpick.report.picked import picking_report
from etpick.training import train_model
from etpick.types import Box, Particles
from test_neighbours import KINDS, candidates_of, rods, volume_of

pytestmark = pytest.mark.skipif(not pretended_card.AVAILABLE, reason="this PyTorch has no backends in Python")
WIDTHS = np.array([8.0])


@pytest.fixture(scope="module")
def card():
    return pretended_card.card()


@pytest.fixture(scope="module")
def source():
    tomogram, centres, _ = rods(0)
    return make_source(volume_of(tomogram), Particles(centres, np.full(len(centres), "rod")), KINDS)


@pytest.fixture(scope="module")
def averages(source):
    return ClassAverages(tuple(average_labels([source], WIDTHS, 0)), tuple(WIDTHS), spread_vx=0.5)


@pytest.fixture(scope="module")
def seen():
    """A volume and candidates in it, those between two others last."""
    tomogram, centres, between = rods(1)
    return volume_of(tomogram), candidates_of(np.concatenate([centres, between]))


def test_the_pretended_card_refuses_what_a_card_refuses(card):
    there = torch.arange(6.0).reshape(2, 3).to(card)
    assert ((there @ there.T).cpu() == torch.arange(6.0).reshape(2, 3) @ torch.arange(6.0).reshape(2, 3).T).all()
    for wrong in (lambda: there + torch.ones(3), lambda: there[torch.tensor([1])], lambda: there.numpy()):
        with pytest.raises((RuntimeError, TypeError)):
            wrong()


def test_averages_of_labels_are_the_same(card, source, averages):
    said, here = [], averages.references[0]
    (there,) = average_labels([source], WIDTHS, 0, device=card, say=said.append)
    assert float((there - here).norm() / here.norm()) < 1e-2 and not said


def test_averages_for_which_memory_is_too_small_are_made_on_the_processor(card, source, averages, monkeypatch):
    def hungry(spectra, boxes, *rest):
        if boxes.device.type == card.type:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return average(spectra, boxes, *rest)

    average, said = averaging_labels.average, []
    monkeypatch.setattr("etpick.averaging_labels.average", hungry)
    (made,) = average_labels([source], WIDTHS, 0, device=card, say=said.append)
    assert torch.equal(made, averages.references[0])
    assert said == [f"out of memory on {card}: the processor takes over"]


def test_a_volume_is_sent_slab_by_slab_and_stays_in_its_file_without_memory(card, seen, monkeypatch):
    volume, _ = seen
    monkeypatch.setattr("etpick.data._UPLOAD_VX", 10 * 96**2)
    sent, whole = resident(volume, card), Box((0, 0, 0), volume.shape)
    assert isinstance(sent, Resident) and resident(sent, card) is sent
    assert (sent.levels.cpu().numpy() == volume.read(whole)).all()

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("etpick.data.torch.empty", full)
    assert resident(volume, card) is volume


@pytest.mark.parametrize("sent", [True, False], ids=["volume on the card", "volume in its file"])
def test_evidence_places_and_neighbours_are_the_same(card, averages, seen, sent):
    volume, candidates = seen
    there, scores = averages.to(card), np.full(len(candidates.raw), 0.9)
    assert there.to(card) is there and there.to(torch.device("cpu")).references[0].device.type == "cpu"
    voxels = resident(volume, card) if sent else volume
    assert isinstance(voxels, Resident) == sent
    evidence, places = averages.weigh(volume, candidates)
    evidence_there, places_there = there.weigh(voxels, candidates)
    assert evidence_there == pytest.approx(evidence, abs=1e-2)
    assert places_there == pytest.approx(places, abs=1e-2)
    explained = explained_by_neighbours(averages, volume, candidates, scores)
    assert explained.any() and (explained_by_neighbours(there, voxels, candidates, scores) == explained).all()


def test_validation_judges_averages_alike(card, averages, seen):
    volume, candidates = seen
    centres = candidates.positions[: 2 * len(candidates.raw) // 3]
    held = ValidationVolume(volume, Box((0, 0, 0), volume.shape), Particles(centres, np.full(len(centres), "rod")))
    here, there = (judged(a, [candidates], uncalibrated(KINDS, 10.0), [held]) for a in (averages, averages.to(card)))
    assert here.rivals and (there.rivals, there.explained, there.moves) == (here.rivals, here.explained, here.moves)
    assert there.trust.evidence == pytest.approx(here.trust.evidence, abs=1e-2)


@contextmanager
def shortened():
    """Averages of a few labels in a few iterations."""
    with pytest.MonkeyPatch.context() as patch:
        for room in ("averaging_labels", "training"):
            patch.setattr(f"etpick.{room}.FEWEST", 5)
        for name in ("_START_ITERATIONS", "_COMMON_ITERATIONS"):
            patch.setattr(f"etpick.averaging.refine.{name}", 1)
        yield


@pytest.fixture(scope="module")
def model():
    with shortened():
        trained = train_model(dataset(), recipe(**QUICK, steps=30))
    used = replace(trained.averages, trust=Trust(1.0, 0.5), moves=True, rivals=True, spread_vx=1.0)
    return replace(trained, averages=used)


@pytest.fixture
def on_card(card, monkeypatch):
    for room in ("picking", "engines"):
        monkeypatch.setattr(f"etpick.{room}.choose_device", lambda name: card)
    monkeypatch.setattr("etpick.engine.computes_in_bfloat16", lambda device: False)
    monkeypatch.setattr("torch.inference_mode", torch.no_grad)  # into which backends in Python take no tensors


@pytest.fixture(scope="module")
def here(model):
    return Picker(model, engine="torch")(balls(9)[0])


def assert_alike(there, here):
    assert there.engine.startswith("PyTorch on privateuseone")
    assert len(there.all) == len(here.all) and there.explained == here.explained
    assert len(here.picks) and list(there.picks.classes) == list(here.picks.classes)
    assert there.picks.positions == pytest.approx(here.picks.positions, abs=0.1)
    assert there.picks.scores == pytest.approx(here.picks.scores, abs=1e-2)


def test_a_whole_tomogram_has_the_same_picks(model, here, on_card):
    assert_alike(Picker(model)(balls(9)[0]), here)


@pytest.mark.parametrize("small", [False, True], ids=["volume on the card", "volume in its file"])
def test_a_second_look_out_of_memory_goes_on_on_the_processor(model, here, on_card, small, monkeypatch, caplog):
    def hungry(averages, voxels, candidates):
        if averages.device.type != "cpu":
            assert isinstance(voxels, Resident) != small
            raise torch.OutOfMemoryError("CUDA out of memory")
        assert not isinstance(voxels, Resident)
        return look(averages, voxels, candidates)

    look = ClassAverages.look
    monkeypatch.setattr(ClassAverages, "look", hungry)
    if small:
        monkeypatch.setattr("etpick.data.free_bytes", lambda device: 1000)
    picker = Picker(model)
    with caplog.at_level(logging.WARNING):
        assert_alike(picker(balls(9)[0]), here)
    monkeypatch.setattr("etpick.class_averages.views", None)  # averages are turned once for all tomograms
    picker(balls(9)[0])
    assert "the processor takes over" in caplog.text


def test_other_failures_of_a_second_look_are_not_taken_for_lack_of_memory(model, on_card, monkeypatch):
    def broken(*_):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(ClassAverages, "look", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        Picker(model)(balls(9)[0])


def test_a_report_shows_the_averages(model, on_card):
    tomogram = balls(9)[0]
    report = picking_report(tomogram, Picker(model)(tomogram), model, {})
    assert "slices of the average of large" in render(report)


@pytest.mark.parametrize("small", [False, True], ids=["on the card", "out of memory"])
def test_training_makes_and_judges_averages_alike(model, on_card, card, small, monkeypatch):
    def hungry(averages, *rest, **options):
        if averages.device.type != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return judge(averages, *rest, **options)

    def noted(spectra, boxes, *rest):
        made_on.add(boxes.device.type)
        return average(spectra, boxes, *rest)

    judge, average, said, made_on = training.judged, averaging_labels.average, [], set()
    monkeypatch.setattr("etpick.averaging_labels.average", noted)
    if small:
        monkeypatch.setattr("etpick.training.judged", hungry)
    trainer = training.Trainer(dataset(), recipe(**QUICK, steps=30), None, card, lambda p: said.append(p.message))
    with shortened():
        trainer._make_averages(lambda: False)
    trainer.best = replace(model, averages=None)
    trainer._judge_averages()
    made, before = trainer.best.averages, model.averages
    assert made_on == {card.type}
    assert made.device.type == "cpu" and made.particles == before.particles > 0
    for one, other in zip(made.references, before.references, strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-2
    assert made.right == pytest.approx(before.right) and made.distance_vx == pytest.approx(before.distance_vx, abs=0.01)
    assert any("the processor takes over" in line for line in said) == small


def test_the_next_tomogram_is_opened_while_one_is_picked(model, on_card, tmp_path, monkeypatch):
    """What is wrong with one of them is told in its turn."""
    paths = [write_mrc(tmp_path / f"t{n}.mrc", np.asarray(balls(9 + n)[0].data), 10.0) for n in range(4)]
    paths[1].write_bytes(paths[1].read_bytes()[:2000])
    events, opened = [], [Event() for _ in paths]
    start, search = Picker.open, Picker.pick

    def opening(picker, tomogram, masks=None):
        events.append(f"open {tomogram.name}")
        ready = start(picker, tomogram, masks)
        opened[int(tomogram.name[1:])].set()
        return ready

    def picking(picker, ready, *rest):
        number = int(ready.volume.tomogram.name[1:])
        if number == 2:
            assert opened[3].wait(60)  # while this one is picked
        events.append(f"pick t{number}")
        return search(picker, ready, *rest)

    monkeypatch.setattr(Picker, "open", opening)
    monkeypatch.setattr(Picker, "pick", picking)
    save_model(model, tmp_path / "model")
    with pytest.raises(InputError, match=r"1 of 4 tomograms were not picked: .*t1\.mrc"):
        pick_files(tmp_path / "model", paths, tmp_path / "out")
    assert [e for e in events if e.startswith("pick")] == ["pick t0", "pick t2", "pick t3"]
    assert events.index("open t3") < events.index("pick t2")
    assert sorted(p.name for p in (tmp_path / "out").glob("*.csv")) == ["t0.csv", "t2.csv", "t3.csv"]
