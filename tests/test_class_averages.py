"""Averages of labelled particles tell classes apart and find centres; where they cannot, they are not used."""

import json
import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import etpick
from balls import CLASSES, QUICK, balls, dataset
from etpick.averaging.expectation import Poses, noise_alone, views, weigh
from etpick.averaging.grid import FourierGrid
from etpick.averaging_labels import average_labels, centred_on_labels, fit_trust, judged
from etpick.boxes import Boxes, boxes_of, read_boxes
from etpick.checkpoint import load_model, load_state, save_model
from etpick.class_averages import ClassAverages, Trust, load_averages, not_ruled_out, save_averages
from etpick.config import recipe
from etpick.data import make_source, open_volume
from etpick.decision import Decision, uncalibrated
from etpick.errors import ModelError
from etpick.inference import Candidates, join
from etpick.ops.calibrate import Calibration, identity
from etpick.ops.suppression import kept_apart
from etpick.picking import Picker
from etpick.preparation import ValidationVolume
from etpick.progress import Interrupted
from etpick.report.picked import picking_report
from etpick.training import train_model
from etpick.types import Box, ParticleClass, Particles, Tomogram

SHAPES = {  # four balls each, as wide and as heavy
    "bent": np.array([[0, 0, -3.5], [0, 0, 0], [0, 3.5, 0], [0, 0, 3.5]]),
    "straight": np.array([[0, 0, -3.5], [0, 0, -1.2], [0, 0, 1.2], [0, 0, 3.5]]),
}
KINDS = tuple(ParticleClass(name, 100.0) for name in SHAPES)


def shapes(seed, *, same=False, scale=1.0):
    """A tomogram of both shapes at random orientations on a jittered lattice; its particles."""
    rng, step = np.random.default_rng(seed), round(16 * scale)
    size = step * (6 if scale == 1 else 4)
    image, positions, names = rng.normal(0, scale, (size,) * 3), [], []
    axis = np.arange(step)
    for number, corner in enumerate(np.stack(np.meshgrid(*(np.arange(0, size, step),) * 3), -1).reshape(-1, 3)):
        name = list(SHAPES)[number % 2]
        shape = Rotation.random(rng=rng).apply(SHAPES["bent" if same else name])
        place = step / 2 + scale * rng.uniform(-0.5, 0.5, 3)
        block = image[tuple(slice(c, c + step) for c in corner)]
        for z, y, x in scale * shape + place:
            block -= 1.5 * np.exp(
                -((axis[:, None, None] - z) ** 2 + (axis[:, None] - y) ** 2 + (axis - x) ** 2)
                / (2 * (1.2 * scale) ** 2)
            )
        positions.append(corner + place)
        names.append(name)
    return Tomogram(image.astype(np.float32), 10.0, f"shapes{seed}"), Particles(np.array(positions), np.array(names))


def source(tomogram, particles):
    return make_source(open_volume(tomogram, 10.0, recipe()), particles, KINDS)


def averages_of(scale=1.0, **options):
    widths = np.array([10.0, 10.0]) * scale
    return ClassAverages(tuple(average_labels([source(*shapes(0, scale=scale, **options))], widths, 0)), tuple(widths))


@pytest.fixture(scope="module")
def averages():
    return averages_of()


def picks_of(particles, off_vx, rng, chances=None):
    """Candidates at a distance from true particles, which tell nothing of their classes unless told to."""
    step = rng.normal(size=(len(particles), 3))
    places = particles.positions + off_vx * step / np.linalg.norm(step, axis=1, keepdims=True)
    chances = np.full((len(particles), 2), 0.5) if chances is None else chances
    return Candidates(places, np.full(len(particles), 0.9), chances)


def judge(averages, tomogram, particles, candidates):
    volume = open_volume(tomogram, 10.0, recipe())
    held = ValidationVolume(volume, Box((0, 0, 0), volume.shape), particles)
    return judged(averages, [candidates], uncalibrated(KINDS, 10.0), [held])


@pytest.mark.parametrize("scale", [1.0, 2.0], ids=["small", "binned"])
def test_averages_tell_classes_apart_and_find_centres_in_another_tomogram(averages, scale, monkeypatch):
    if scale > 1:
        monkeypatch.setattr("etpick.boxes._LARGEST_VX", 20)
        averages = averages_of(scale)
    tomogram, particles = shapes(1, scale=scale)
    trusted = judge(averages, tomogram, particles, picks_of(particles, scale, np.random.default_rng(0)))
    assert trusted.used and trusted.trust.evidence > 0 and trusted.moves
    assert trusted.right[1] > 0.9 > trusted.right[0]
    assert trusted.distance_vx[0] == pytest.approx(scale)
    assert trusted.distance_vx[1] < 0.7 * scale
    assert "a second look at candidates gives right class" in trusted.line()

    other, truth = shapes(2, scale=scale)
    start = picks_of(truth, scale, np.random.default_rng(1))
    seen = trusted.look(open_volume(other, 10.0, recipe()), start)
    told = np.array(list(SHAPES))[seen.classes.argmax(axis=1)]
    assert (told == truth.classes).mean() > 0.9
    assert np.linalg.norm(seen.positions - truth.positions, axis=1).mean() < 0.7 * scale
    assert np.abs((seen.positions - truth.positions).mean(axis=0)).max() < 0.1 * scale
    assert seen.classes.sum(axis=1) == pytest.approx(1)


def test_the_centre_is_where_labels_are_and_not_the_centre_of_mass():
    grid, rng = FourierGrid(16), np.random.default_rng(0)
    rotations = torch.from_numpy(Rotation.random(50, rng=rng).as_matrix()).float()
    off = torch.tensor([0.5, -0.25, 0.0])  # of the middle from the labels, in the reference's own axes
    poses = Poses(rotations, (rotations @ off[:, None])[:, :, 0])
    axis = torch.arange(16.0) - 8
    at = [torch.exp(-((axis - shift) ** 2) / 8) for shift in (0.0, 0.0, 0.0)]
    ball = at[0][:, None, None] * at[1][:, None] * at[2]
    moved = centred_on_labels(ball, poses, grid)
    found = [float((moved.sum(dim=o) * axis).sum() / moved.sum()) for o in ((1, 2), (0, 2), (0, 1))]
    assert found == pytest.approx(off.tolist(), abs=0.02)


def test_averages_of_what_looks_the_same_are_not_trusted_with_the_class():
    averages = averages_of(same=True)
    tomogram, particles = shapes(1, same=True)
    rng = np.random.default_rng(0)
    chances = rng.dirichlet([1, 1], len(particles))
    trusted = judge(averages, tomogram, particles, picks_of(particles, 0.0, rng, chances))
    assert trusted.trust == Trust()
    assert not trusted.moves  # nothing is nearer than the centre itself
    assert not trusted.used
    assert trusted.line().startswith("averages of the classes: not used")


def test_without_a_hit_nothing_is_trusted(averages):
    tomogram, particles = shapes(1)
    none = Candidates(np.zeros((0, 3)), np.zeros(0), np.zeros((0, 2)))
    assert not judge(averages, tomogram, particles, none).used


def test_evidence_that_tells_nothing_has_no_say_in_scores(averages):
    rng = np.random.default_rng(0)
    noise = Tomogram(rng.normal(size=(96, 96, 96)).astype(np.float32), 10.0)
    _, particles = shapes(1)  # of which the tomogram shows nothing
    raw, there = rng.random(len(particles)), rng.random(len(particles)) < 0.5
    found = replace(picks_of(particles, 0.5, rng), raw=raw)
    trusted = judge(averages, noise, particles.select(there), found)
    assert trusted.calibration is None and trusted.thresholds == ()
    assert not trusted.used


def test_classes_that_the_network_rules_out_are_not_told(averages):
    tomogram, particles = shapes(1)
    start = picks_of(particles, 0.0, np.random.default_rng(0), np.tile([1.0, 0.0], (len(particles), 1)))
    evidence, _ = averages.weigh(open_volume(tomogram, 10.0, recipe()), start)
    assert (Trust(0.0, 1.0)(evidence, start.classes).argmax(axis=1) == 0).all()


def test_waves_that_were_not_measured_are_left_out_and_the_others_are_evened():
    rng, boxes = np.random.default_rng(0), Boxes(15.0)
    waves = np.fft.fftn(rng.normal(size=(64, 64, 64)))
    z, _, x = np.meshgrid(*(np.fft.fftfreq(64),) * 3, indexing="ij")
    waves[np.abs(z) > np.tan(np.deg2rad(50)) * np.abs(x)] = 0
    waves *= np.where(np.abs(z) > np.abs(x) / 2, 0.5, 1.0)
    tomogram = Tomogram(np.fft.ifftn(waves).real.astype(np.float32), 10.0)
    factor = boxes.noise_of(open_volume(tomogram, 10.0, recipe()))
    k = boxes.grid.k[:, [0, 2]].abs()
    angle = torch.rad2deg(torch.atan2(k[:, 0], k[:, 1]))
    outer = k.norm(dim=1) > 7
    assert (factor[outer & (angle > 75)] == 0).all()
    strong, weak = factor[outer & (angle < 15)], factor[outer & (angle > 35) & (angle < 42)]
    assert (strong > 0).all() and (weak > 0).all()
    assert weak.mean() / strong.mean() == pytest.approx(2, rel=0.2)


def test_white_noise_is_left_as_it_is():
    tomogram = Tomogram(np.random.default_rng(0).normal(size=(64, 64, 64)).astype(np.float32), 10.0)
    kinds = boxes_of([15.0, 25.0, 15.1])  # the wider ones are binned
    assert kinds[0] is kinds[2]
    for boxes in kinds:
        factor = boxes.noise_of(open_volume(tomogram, 10.0, recipe()))
        assert factor[boxes.grid.shell > 2].mean() == pytest.approx(1, abs=0.05)


def test_boxes_read_at_once_are_those_read_alone(monkeypatch):
    monkeypatch.setattr("etpick.boxes._AT_ONCE_VX", 30_000)  # some two boxes
    rng = np.random.default_rng(0)
    volume = open_volume(Tomogram(rng.normal(size=(40, 48, 48)).astype(np.float32), 10.0), 10.0, recipe())
    places = rng.uniform(0, 40, (12, 3))
    kinds = boxes_of([6.0, 13.0, 25.0])  # the last are binned
    factors = {b: torch.rand(b.waves) for b in kinds}
    wanted = {b: rng.random(12) < 0.5 for b in kinds}
    wanted[kinds[0]] |= ~np.any(list(wanted.values()), axis=0)
    for boxes, values in read_boxes(volume, places, factors, wanted).items():
        alone = boxes.read(volume, places[wanted[boxes]], factors[boxes])
        assert torch.allclose(values, alone.values, atol=1e-3)
        assert len(values) == wanted[boxes].sum() > 0


def test_weights_follow_what_tells_the_classes():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 200)
    clear = np.where(np.arange(3) == true[:, None], 2.0, 0.0) + rng.normal(0, 1, (200, 3))
    blind = rng.dirichlet([1, 1, 1], 200)
    trust, gain = fit_trust(clear, blind, true)
    assert trust.evidence > 0.5 > trust.network and gain > 20
    trust, gain = fit_trust(rng.normal(0, 1, (200, 3)), Trust(0.0, 1.0)(clear, blind), true)
    assert trust.network > 0.5 and gain < 4


def test_averages_come_back_from_their_file_and_damage_is_named(tmp_path, averages):
    kept = replace(
        averages, trust=Trust(0.5, 0.25, (0.0, 1.0)), moves=True, right=(0.5, 0.75), distance_vx=(1.0, 0.5),
        calibration=Calibration(1.5, (0.1, -0.1), 1.0, 0.5), thresholds=(0.4, 0.4), particles=9,
    )  # fmt: skip
    for about in (kept, averages):
        save_averages(about, tmp_path)
        back = load_averages(tmp_path)
        assert all(map(torch.equal, back.references, about.references))
        for name in (f.name for f in fields(about) if f.name != "references"):
            assert getattr(back, name) == getattr(about, name)
    file = tmp_path / "averages.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"averages\.safetensors is damaged"):
        load_averages(tmp_path)
    file.unlink()
    assert load_averages(tmp_path) is None


def test_with_few_labels_no_averages_are_made_and_that_is_said():
    said = []
    model = train_model(dataset(), recipe(**QUICK, steps=1), on_progress=lambda p: said.append(p.message))
    assert model.averages is None
    assert any("too few labels (large" in m and "of 20)" in m for m in said)


def test_training_makes_averages_first_and_one_that_is_stopped_then_or_later_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("etpick.averaging_labels.FEWEST", 5)
    for name in ("_START_ITERATIONS", "_COMMON_ITERATIONS"):
        monkeypatch.setattr(f"etpick.averaging.refine.{name}", 1)
    config, said = recipe(**QUICK, steps=2), []

    def train(stop=lambda: False, **options):
        said.clear()
        return train_model(
            dataset(), config, tmp_path, on_progress=lambda p: said.append(p.message), should_stop=stop, **options
        )

    with pytest.raises(Interrupted, match=r"stopped while averaging.*--resume"):
        train(stop=lambda: any("averaging the labels of small, 2 of 2" in m for m in said))
    assert load_state(tmp_path)[1]["step"] == 0
    with pytest.raises(Interrupted, match=r"stopped after step 1 of 2"):
        train(stop=lambda: said[-1] == "", resume=True)
    assert [m for m in said if "averaging" in m] == ["averaging the labels of small, 2 of 2"]
    model = train(resume=True)
    assert not any("averaging" in m for m in said)  # those of the state are judged
    assert isinstance(model.averages, ClassAverages)
    assert all(map(torch.equal, load_model(tmp_path).averages.references, model.averages.references))
    assert "averages of the classes" in model.lines()[-1]
    assert not (tmp_path / "state.safetensors").exists()
    at_once = train_model(dataset(), config)
    assert all(map(torch.equal, at_once.averages.references, model.averages.references))
    without = train_model(dataset(), recipe(**QUICK, steps=2, averages=False))
    assert without.averages is None
    assert all(torch.equal(value, model.weights[name]) for name, value in without.weights.items())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("averages") / "model"
    return train_model(dataset(), recipe(**QUICK, steps=30, averages=False), folder)


def with_averages(trained, tmp_path, monkeypatch, number=1):
    """The model with averages of which that of one class looks like what lies beside a ball.

    Only candidates with a score of 0.2 are worth a look.
    """
    monkeypatch.setattr("etpick.class_averages._UNLIKELY", 0.0)
    monkeypatch.setattr("etpick.class_averages._RULED_OUT", 0.2)
    references = [torch.zeros((Boxes(c.diameter_A / 10).grid.box_vx,) * 3) for c in CLASSES]
    middle = len(references[number]) // 2
    references[number][middle - 1 : middle + 2, middle - 1 : middle + 2, middle + 1 : middle + 4] = -1
    averages = ClassAverages(
        tuple(references), tuple(c.diameter_A / 10 for c in CLASSES), trust=Trust(0.0, 1.0), moves=True,
        calibration=Calibration(1.0, (0.0, 0.0), weight=0.5), thresholds=(0.3, 0.3),
    )  # fmt: skip
    save_model(replace(trained, averages=averages), tmp_path)
    return load_model(tmp_path)


def looking(trained, tmp_path, monkeypatch, **options):
    """A tomogram's picks without and with those averages, the class that has one being the rarer without."""
    plain = Picker(trained, **options)(balls(9)[0])
    counts = [(plain.all.classes[plain.all.scores >= 0.2] == c.name).sum() for c in CLASSES]
    model = with_averages(trained, tmp_path, monkeypatch, int(np.argmin(counts)))
    return plain, Picker(model, **options)(balls(9)[0])


def test_a_second_look_changes_class_place_and_score_of_what_is_worth_one(trained, tmp_path, monkeypatch):
    plain, looked = looking(trained, tmp_path, monkeypatch)
    assert len(plain.all) == len(looked.all)
    assert (np.diff(looked.all.scores) <= 0).all()
    assert looked.decision.thresholds == (0.3, 0.3)
    assert (looked.picks.scores >= 0.3).all() and len(looked.picks) == (looked.all.scores >= 0.3).sum()

    worth = plain.all.scores >= 0.2
    near = np.linalg.norm(plain.all.positions[:, None] - looked.all.positions, axis=2)
    same = near.argmin(axis=1)
    assert worth.any() and not worth.all()
    assert 0.1 < near.min(axis=1)[worth].max() < 2.5 and near.min(axis=1)[~worth].max() == 0
    assert (looked.all.classes[same] != plain.all.classes)[worth].any()
    assert (looked.all.scores[same] == plain.all.scores)[~worth].all()
    assert (looked.all.scores[same] != plain.all.scores)[worth].all()

    assert (etpick.pick(trained, balls(9)[0]).positions == plain.picks.positions).all()
    pages = [picking_report(balls(9)[0], found, trained, {}) for found in (plain, looked)]
    shown = [[s for s in page.sections if s.title == "Averages of the classes"] for page in pages]
    assert not shown[0] and [p.caption for p in shown[1][0].pictures] == ["large", "small"]
    asked = Picker(load_model(tmp_path), min_score=0.5)(balls(9)[0])
    assert (asked.all.scores == looked.all.scores).all() and (asked.picks.scores >= 0.5).all()

    model = load_model(tmp_path)
    assert model.decision == trained.decision and model.second_decision.thresholds == (0.3, 0.3)
    told = json.loads((tmp_path / "model.json").read_text())["classes"]
    assert [c["threshold"] for c in told] == [0.3, 0.3]  # what is picked from, with averages
    silent = replace(model, averages=replace(model.averages, calibration=None, thresholds=()))
    assert silent.second_decision == trained.decision
    save_model(trained, tmp_path)
    assert load_model(tmp_path).averages is None  # those of other weights do not stay


def test_no_pick_moves_into_a_zone_where_nothing_is_picked(trained, tmp_path, monkeypatch):
    def look(self, volume, candidates):
        places = np.vstack([[[2.0, 2.0, 2.0]], candidates.positions[1:]])
        return replace(candidates, positions=places, evidence=np.zeros(len(places)))

    monkeypatch.setattr(ClassAverages, "look", look)
    _, looked = looking(trained, tmp_path, monkeypatch)
    assert (looked.all.positions == 2).all(axis=1).sum() == 1
    plain, looked = looking(trained, tmp_path, monkeypatch, edge_A=60.0)
    assert len(looked.all) > 0
    assert {tuple(p) for p in looked.all.positions} == {tuple(p) for p in plain.all.positions}


def test_picks_that_neighbours_explain_are_left_out(trained, tmp_path, monkeypatch):
    _, looked = looking(trained, tmp_path, monkeypatch)
    model = load_model(tmp_path)
    model = replace(model, averages=replace(model.averages, rivals=True, explained=(0, 1)))
    monkeypatch.setattr("etpick.picking.explained_by_neighbours", lambda a, v, c, scores: scores == scores.max())
    found = Picker(model)(balls(9)[0])
    assert len(found.all) == len(looked.all) - 1
    assert (found.explained, looked.explained) == (1, 0)
    assert "neighbours explain them: 1 candidates" in str(picking_report(balls(9)[0], found, model, {}))
    assert {tuple(p) for p in found.all.positions} < {tuple(p) for p in looked.all.positions}


def test_candidates_with_scores_near_0_are_ruled_out_unless_they_are_picks():
    candidates = Candidates(np.zeros((6, 3)), np.array([0.9, 0.8, 0.004, 0.003, 0.002, 0.05]), np.ones((6, 1)))
    decision = Decision(KINDS[:1], 10.0, identity(1), (0.85,))
    assert not_ruled_out(candidates, decision).tolist() == [True, True, False, False, False, True]
    decision = replace(decision, thresholds=(0.003,))
    assert not_ruled_out(candidates, decision).tolist() == [True, True, True, True, False, True]


@pytest.mark.parametrize(("width", "sigma"), [(6.0, 1.5), (25.0, 4.0)], ids=["small", "binned"])
def test_evidence_is_the_logarithm_of_a_likelihood(width, sigma):
    """In white noise it is half the square of the signal to noise in the mean, however boxes fade."""
    rng, boxes, step = np.random.default_rng(0), Boxes(width), 48
    axis = np.arange(step) - step // 2
    ball = np.exp(-(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) / (2 * sigma**2))
    ball *= 5 / np.sqrt((ball**2).sum())  # a signal to noise of 5
    image = rng.normal(size=(4 * step,) * 3) + np.tile(ball, (4, 4, 4))
    corners = np.stack(np.meshgrid(*(np.arange(4) * step,) * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    volume = open_volume(Tomogram(image.astype(np.float32), 10.0), 10.0, recipe())
    volume = replace(volume, normalise=replace(volume.normalise, mean=0.0, sigma=1.0))
    seen = boxes.read(volume, corners + step / 2.0, torch.ones(len(boxes.grid.k)))
    margin = (step - boxes.edge_vx) // 2
    reference = boxes.grid.volume(torch.from_numpy(ball[(slice(margin, margin + boxes.edge_vx),) * 3]).float())
    upright = views(boxes.grid, reference, torch.eye(3)[None], boxes.waves)
    evidence, _ = weigh(seen, boxes.grid, upright, boxes.variance, 0.0, 1.0, boxes.last_shell)
    assert evidence.mean() == pytest.approx(5**2 / 2, rel=0.15)


def test_what_one_tomogram_leaves_behind_does_not_change_the_next(averages, monkeypatch):
    turned = []
    monkeypatch.setattr("etpick.class_averages.views", lambda *given: turned.append(given) or views(*given))
    volumes = [open_volume(shapes(seed)[0], 10.0, recipe()) for seed in (1, 2)]
    start = picks_of(shapes(1)[1], 0.0, np.random.default_rng(0))
    own = replace(averages)
    first, again, other = (own.weigh(volumes[n], start)[0] for n in (0, 0, 1))
    assert len(turned) == len(KINDS)  # once a class
    assert (first == again).all() and (first != other).any()
    assert (other == replace(averages).weigh(volumes[1], start)[0]).all()
    monkeypatch.setattr("etpick.class_averages._KEPT_VALUES", 0)
    own = replace(averages)
    assert all((own.weigh(volumes[n], start)[0] == seen).all() for n, seen in ((0, first), (1, other)))


def test_between_a_class_without_average_and_the_others_the_network_decides(averages):
    tomogram, particles = shapes(1)
    volume, half = open_volume(tomogram, 10.0, recipe()), len(particles) // 2
    start = picks_of(particles, 0.0, np.random.default_rng(0))
    both, places = averages.weigh(volume, replace(start, classes=np.full((len(particles), 2), 0.5)))
    three = replace(
        averages, references=(*averages.references, torch.zeros(0)), widths_vx=(*averages.widths_vx, 12.0),
        trust=Trust(1.0, 1.0), moves=True,
    )  # fmt: skip
    chances = np.tile([0.5, 0.3, 0.2], (len(particles), 1))
    chances[half:] = 0.6, 0.0, 0.4
    chances[-1] = 0.0, 0.0, 1.0
    start = replace(start, classes=chances)
    evidence, own = three.weigh(volume, start)
    assert evidence[:half, :2] == pytest.approx(both[:half], abs=1e-3)
    assert (evidence[:half, 2] == evidence[:half, :2].max(axis=1)).all()
    assert (evidence[half:-1, 2] == evidence[half:-1, 0]).all()
    assert (evidence[half:-1, 1] == evidence[half:-1, 0] - 10).all()  # not tried
    assert evidence[-1, 2] == pytest.approx(both[-1].max(), abs=1e-3)  # compared with what there is
    assert (own[:, 2] == start.positions).all() and own[:half, :2] == pytest.approx(places[:half], abs=1e-3)
    told = three.look(volume, start).classes
    best = evidence[:half, :2].argmax(axis=1)
    rows = np.arange(half)
    assert told[rows, 2] / told[rows, best] == pytest.approx(chances[rows, 2] / chances[rows, best], rel=1e-3)


def test_a_class_with_few_labels_has_no_average_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("etpick.averaging_labels.FEWEST", 12)
    for name in ("_START_ITERATIONS", "_COMMON_ITERATIONS"):
        monkeypatch.setattr(f"etpick.averaging.refine.{name}", 1)
    said, config = [], recipe(**QUICK, steps=2)
    with pytest.raises(Interrupted, match="after step 1"):
        train_model(
            dataset(),
            config,
            tmp_path,
            on_progress=lambda p: said.append(p.message),
            should_stop=lambda: said[-1] == "",
        )
    assert any(m.startswith("no average of small: 11 labels of ") for m in said)
    train_model(dataset(), config, tmp_path, resume=True)
    model = load_model(tmp_path)
    assert model.averages.known.tolist() == [True, False]
    assert ["no average" in line for line in model.lines() if line.startswith("  class")] == [False, True]
    found = Picker(model)(balls(9)[0])
    assert len(found.all)
    used = replace(found, averages=replace(model.averages, moves=True))
    page = picking_report(balls(9)[0], used, model, {})
    (section,) = [s for s in page.sections if s.title == "Averages of the classes"]
    assert [p.caption for p in section.pictures] == ["large"]
    assert "There is none of small." in str(section)


def test_short_shifts_are_likelier_beforehand(averages):
    tomogram, particles = shapes(1)
    volume, start = open_volume(tomogram, 10.0, recipe()), picks_of(particles, 1.0, np.random.default_rng(0))
    moved, evidence = [], []
    for spread in (0.1, 0.6, math.inf):
        found, places = replace(averages, spread_vx=spread).weigh(volume, start)
        moved.append(np.linalg.norm(places - start.positions[:, None], axis=2).mean())
        evidence.append(found)
    assert moved[0] < 0.01 < moved[1] < moved[2]
    flat = replace(averages, spread_vx=1e6).weigh(volume, start)[0]
    assert evidence[2] == pytest.approx(flat)
    trusted = judge(averages, tomogram, particles, start)
    assert trusted.spread_vx == pytest.approx(1 / math.sqrt(3))


def test_noise_is_as_strong_as_where_boxes_do_not_fade():
    boxes = Boxes(6.0)
    tomogram = Tomogram(np.random.default_rng(0).normal(size=(96,) * 3).astype(np.float32), 10.0)
    places = np.random.default_rng(1).uniform(20, 76, (200, 3))
    seen = boxes.read(open_volume(tomogram, 10.0, recipe()), places, torch.ones(len(boxes.grid.k)))
    found = noise_alone(seen, boxes.grid)[2:] / boxes.variance[2:]
    assert found == pytest.approx(1, abs=0.15)
    assert noise_alone(replace(seen, kept=1.0), boxes.grid)[2:].max() < 0.6 * boxes.variance[0]


@pytest.mark.parametrize("asked", [{}, {"label_free": True}, {"precision": 0.9}, {"slab": True}])
def test_without_candidates_there_is_nothing_to_look_at(trained, tmp_path, monkeypatch, asked):
    empty = Tomogram(np.zeros((32, 32, 32), np.float32) + np.eye(32, dtype=np.float32), 10.0)
    found = Picker(with_averages(trained, tmp_path, monkeypatch), floor=0.999, **asked)(empty)
    assert len(found.all) == 0 and found.why_empty


def test_scores_of_the_histogram_are_not_touched(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("etpick.picking.fit_histogram", lambda raw: Calibration(1.0, (0.0,)))
    plain, looked = looking(trained, tmp_path, monkeypatch, label_free=True)
    assert plain.how == looked.how
    assert (plain.all.positions != looked.all.positions).any()
    assert sorted(plain.all.scores) == pytest.approx(sorted(looked.all.scores))


def test_evidence_ranks_what_scores_do_not(averages):
    tomogram, particles = shapes(1)
    rng = np.random.default_rng(0)
    there = picks_of(particles, 0.3, rng)
    corner = np.array([8.0, 8.0, 8.0])  # between eight particles, on average
    empty = Candidates(particles.positions + corner, there.raw, there.classes)
    trusted = judge(averages, tomogram, particles, join([there, empty]))
    assert trusted.calibration.weight > 0.2
    assert trusted.f1[1] > 0.9 > trusted.f1[0]
    assert "localisation F1" in trusted.line()


def test_none_of_two_picks_that_would_come_together_moves():
    before = np.array([[0, 0, 0], [0, 0, 5.2], [0, 0, 30], [0, 0, 33]], float)
    after = np.array([[0, 0, 2], [0, 0, 4], [0, 0, 29], [0, 0, 34]], float)
    reach = np.full(4, 5.0)
    every = np.ones(4, bool)
    assert kept_apart(before, after, every, reach).tolist() == [False, False, True, True]  # the others part
    crowd = np.array([[0, 0, 0], [0, 0, 6], [0, 0, 12]], float)
    towards = np.array([[0, 0, 2], [0, 0, 8], [0, 0, 8]], float)
    assert not kept_apart(crowd, towards, np.ones(3, bool), np.full(3, 5.0)).any()
    assert not kept_apart(before, after, ~every, reach).any()
    assert kept_apart(before[:0], after[:0], every[:0], reach[:0]).tolist() == []


def test_one_average_that_tells_nothing_does_not_cost_its_class():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 300)
    evidence = np.where(np.arange(3) == true[:, None], 6.0, 0.0) + rng.normal(0, 1, (300, 3))
    evidence[:, 2] = rng.normal(-4, 1, 300)  # an average that went wrong: unlike everything
    chances = 0.1 * np.eye(3)[true] + 0.9 * rng.dirichlet([1, 1, 1], 300)
    trust, _ = fit_trust(evidence, chances, true)
    with_, without = (Trust(trust.network, trust.evidence, o)(evidence, chances) for o in (trust.offsets, ()))
    own = true == 2
    assert trust.offsets[2] > max(trust.offsets[:2])
    assert (with_.argmax(axis=1) == 2)[own].mean() > (without.argmax(axis=1) == 2)[own].mean()
