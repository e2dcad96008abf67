"""Training on a small tomogram of dark balls, with everything that a run can meet."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import etpick
from balls import CLASSES, QUICK, balls, dataset
from etpick.checkpoint import load_model, load_state, save_state
from etpick.config import recipe
from etpick.data import Sampler
from etpick.errors import InputError, ModelError, OutputError, TrainingError
from etpick.progress import Interrupted
from etpick.training import train_model
from etpick.types import NEGATIVE, Dataset, ParticleClass, Particles, Tomogram, TrainingItem


class StopAt:
    """Asks to stop after some steps more than `step`."""

    def __init__(self, step):
        self.left = step

    def __call__(self):
        self.left -= 1
        return self.left < 0


def same(a, b):
    return all(torch.equal(a.weights[k], b.weights[k]) for k in a.weights) and a.decision == b.decision


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "model"
    # of 150 steps F1 is 0.7 to 1 by the seed and by rounding
    return folder, train_model(dataset(), recipe(**QUICK, steps=250), folder)


def test_it_learns_and_picks_a_tomogram_it_has_not_seen(trained):
    tomogram, truth = balls(9)
    picks = etpick.pick(trained[1], tomogram)
    score = etpick.evaluate(picks, truth, CLASSES, 10.0)
    assert score.localisation.f1 > 0.85
    assert score.localisation.mean_distance_vx < 1.5
    assert ((picks.scores >= 0) & (picks.scores <= 1)).all()
    assert (np.diff(picks.scores) <= 0).all()


def test_a_tomogram_at_another_spacing_gives_picks_in_its_own_voxels(trained):
    tomogram, truth = balls(9)
    noise = np.random.default_rng(0).normal(0, 0.6, [2 * n for n in tomogram.shape])
    clean = tomogram.data.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    fine = Tomogram((clean + noise).astype(np.float32), 5.0, "fine")
    picks = etpick.pick(trained[1], fine)
    finer = Particles((truth.positions + 0.5) * 2 - 0.5, truth.classes)
    score = etpick.evaluate(picks, finer, CLASSES, 5.0).localisation
    assert score.f1 > 0.8
    assert score.mean_distance_vx < 3


def test_a_spacing_a_little_off_gives_the_same_picks(trained):
    tomogram, _ = balls(9)
    plain, off = (etpick.pick(trained[1], Tomogram(tomogram.data, s)) for s in (10.0, 10.05))
    assert (plain.positions == off.positions).all()


@pytest.mark.parametrize("spacing_A", [0.5, 40.0])
def test_a_spacing_too_far_from_the_model_is_refused_with_both_numbers(trained, spacing_A):
    with pytest.raises(InputError, match=rf"{spacing_A:g} Å voxels and the model works at 10 Å"):
        etpick.pick(trained[1], Tomogram(np.random.default_rng(0).normal(size=(16, 16, 16)), spacing_A))


def test_the_model_comes_back_from_its_folder(trained):
    folder, model = trained
    assert same(load_model(folder), model)
    assert not (folder / "state.safetensors").exists()
    assert {"f1_alpha", "localisation", "classification"} <= json.loads((folder / "model.json").read_text())[
        "validation"
    ].keys()
    tomogram, _ = balls(9)
    assert (etpick.pick(folder, tomogram).positions == etpick.pick(model, tomogram).positions).all()


def test_the_same_seed_gives_the_same_model_and_another_seed_another():
    first, again = (train_model(dataset(), recipe(**QUICK, steps=6)) for _ in range(2))
    assert same(first, again)
    assert not same(first, train_model(dataset(), recipe(**QUICK | {"seed": 4}, steps=6)))


def test_stopped_and_resumed_equals_never_stopped(tmp_path):
    config = recipe(**QUICK, steps=10)
    whole = train_model(dataset(), config, tmp_path / "whole")
    for stop in (3, 7):  # before and after the first validation
        with pytest.raises(Interrupted, match="--resume"):
            train_model(dataset(), config, tmp_path / f"m{stop}", should_stop=StopAt(stop))
        resumed = train_model(dataset(), config, tmp_path / f"m{stop}", resume=True)
        assert same(whole, resumed)
        assert [h["loss"] for h in resumed.history] == [h["loss"] for h in whole.history]


def test_a_folder_in_use_is_not_overwritten_silently(trained, tmp_path):
    with pytest.raises(OutputError, match="holds a model"):
        train_model(dataset(), recipe(**QUICK, steps=2), trained[0])
    with pytest.raises(TrainingError, match="its training is finished"):
        train_model(dataset(), recipe(**QUICK, steps=2), trained[0], resume=True)
    with pytest.raises(Interrupted):
        train_model(dataset(), recipe(**QUICK, steps=5), tmp_path / "m", should_stop=StopAt(0))
    with pytest.raises(OutputError, match="unfinished training: go on with --resume"):
        train_model(dataset(), recipe(**QUICK, steps=5), tmp_path / "m")
    with pytest.raises(TrainingError, match="changed option: batch was 2, is 3"):
        train_model(dataset(), recipe(**QUICK | {"batch": 3}, steps=5), tmp_path / "m", resume=True)
    with pytest.raises(ModelError, match="stopped before the first validation"):
        load_model(tmp_path / "m")


def test_one_tomogram_alone_validates_on_a_held_out_region():
    said = []
    data = Dataset(CLASSES, (TrainingItem(*balls(0)),))
    model = train_model(data, recipe(**QUICK, steps=2), on_progress=lambda p: said.append(p.message))
    assert any("is held out" in m for m in said)
    labels, held = model.trained_on["labels"], model.trained_on["validation_labels"]
    assert sum(labels.values()) + sum(held.values()) == len(balls(0)[1])
    assert 2 <= sum(held.values()) <= 5


def test_a_time_limit_becomes_a_number_of_steps_that_repeats_the_run():
    progress = []
    limited = train_model(dataset(), recipe(**QUICK, steps=100_000, max_minutes=0.15), on_progress=progress.append)
    steps = limited.trained_on["steps"]
    assert steps < 5000
    last = [p for p in progress if not p.message][-1]
    assert last.step == last.steps == steps
    if limited.trained_on["repeatable"]:  # the machine kept its speed
        assert same(limited, train_model(dataset(), recipe(**QUICK, steps=steps)))


def test_the_size_of_subtomograms_follows_from_the_steps_and_is_kept_on_resuming(tmp_path, monkeypatch):
    monkeypatch.setattr("etpick.config._STEP_VX", 48**3)
    said = []
    config = recipe(steps=2, validations=1, int8=False)
    with pytest.raises(Interrupted):
        train_model(dataset(), config, tmp_path, should_stop=StopAt(0), on_progress=lambda p: said.append(p.message))
    assert "learning from subtomograms of 24³ voxels, 8 a step" in said
    assert load_state(tmp_path)[1]["size"] == [24, 8]
    monkeypatch.setattr("etpick.config._SHOWN", 0)
    model = train_model(dataset(), config, tmp_path, resume=True)
    assert (model.trained_on["patch_vx"], model.trained_on["batch"]) == (24, 8)


def test_with_a_time_limit_the_size_is_that_of_the_steps_that_fit(monkeypatch):
    said = []
    monkeypatch.setattr("etpick.config._STEP_VX", 48**3)
    monkeypatch.setattr("etpick.training.TIMED_STEPS", 2)
    monkeypatch.setattr("etpick.pacing.Pace.first_plan", lambda pace, *_: len(pace.seconds))
    config = recipe(validations=1, int8=False, max_minutes=60)
    limited = train_model(dataset(), config, on_progress=lambda p: said.append(p.message))
    assert "learning from subtomograms of 24³ voxels, 8 a step" in said  # 5,000 steps would have 48³
    assert limited.trained_on["steps"] == 2  # both sizes were timed, each by itself


@pytest.fixture
def quick_averages(monkeypatch):
    monkeypatch.setattr("etpick.averaging_labels.FEWEST", 5)
    for name in ("_START_ITERATIONS", "_COMMON_ITERATIONS"):
        monkeypatch.setattr(f"etpick.averaging.refine.{name}", 1)


@pytest.mark.usefixtures("quick_averages")
@pytest.mark.parametrize(("copy", "ending"), [(False, 20), (True, 50)])
def test_a_time_limit_leaves_time_for_averages_and_for_what_follows_the_steps(tmp_path, monkeypatch, copy, ending):
    said, planned = [], []

    def plan(pace, elapsed_s, left_s):
        planned.append(left_s)
        assert said[-1] == "averaging the labels of small, 2 of 2"  # so that what it took is known
        return 1

    monkeypatch.setattr("etpick.training.Trainer._search_seconds", lambda trainer, device, held: 10.0)
    monkeypatch.setattr("etpick.training.can_quantise", lambda: copy)
    monkeypatch.setattr("etpick.training.Trainer._make_int8", lambda trainer, folder: None)
    monkeypatch.setattr("etpick.pacing.Pace.first_plan", plan)
    config = recipe(**QUICK, max_minutes=60)
    assert train_model(dataset(), config, tmp_path, on_progress=lambda p: said.append(p.message)).averages
    assert planned == [2 * 10 + ending]  # two validations


@pytest.mark.usefixtures("quick_averages")
def test_averages_that_would_take_most_of_the_time_allowed_are_left_out_and_that_is_said():
    said = []
    config = recipe(**QUICK, max_minutes=1e-3)
    model = train_model(dataset(), config, on_progress=lambda p: said.append(p.message))
    assert model.averages.known.tolist() == [True, False]  # one is made, since how long it takes is not known before
    assert "no averages of small: all would take more than half of the minutes allowed" in said
    assert model.trained_on["steps"] == 1
    said.clear()
    few_first = (CLASSES[1], CLASSES[0])  # 11 and 14 labels, which are given up before one average is made
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etpick.averaging_labels.FEWEST", 12)
        model = train_model(replace(dataset(), classes=few_first), config, on_progress=lambda p: said.append(p.message))
    assert model.averages is None and any("no averages of large" in m for m in said)


def test_a_state_of_another_version_is_refused_in_words(tmp_path):
    config = recipe(**QUICK, steps=2)
    with pytest.raises(Interrupted):
        train_model(dataset(), config, tmp_path, should_stop=StopAt(0))
    tensors, description = load_state(tmp_path)
    for other in (description | {"format": 1}, {k: v for k, v in description.items() if k != "format"}):
        save_state(tmp_path, tensors, other)
        with pytest.raises(TrainingError, match="begun by another etpick: begin again with --overwrite"):
            train_model(dataset(), config, tmp_path, resume=True)


def test_with_partial_labels_suspicious_places_are_not_held_against_the_network(monkeypatch):
    seen = []
    monkeypatch.setattr("etpick.training.Sampler", lambda *a: seen.append(a[4]) or Sampler(*a))
    config = recipe(**QUICK | {"validations": 4}, steps=40, learning_rate=1e-2)
    train_model(replace(dataset(), partial_labels=True), config)
    assert not any(len(hard) for hard in seen)
    train_model(dataset(), config)
    assert any(len(hard) for hard in seen)


def with_negatives(item, places):
    marked = item.particles
    both = Particles(
        np.concatenate([marked.positions, places]), np.concatenate([marked.classes, [NEGATIVE] * len(places)])
    )
    return replace(item, particles=both)


def test_places_marked_as_no_particle_are_learnt_from_and_never_counted_as_particles(monkeypatch):
    seen = []
    monkeypatch.setattr("etpick.training.Sampler", lambda *a: seen.append(a[4]) or Sampler(*a))
    data = dataset()
    items = tuple(with_negatives(item, [[5.0, 6.0, 7.0 + n]]) for n, item in enumerate(data.items))
    model = train_model(replace(data, items=items), recipe(**QUICK, steps=2))
    assert seen[0].tolist() == [[0, 5, 6, 7], [1, 5, 6, 8]]  # those of the tomogram that validates teach nothing
    assert model.trained_on["negatives"] == 2
    assert sum(model.trained_on["labels"].values()) == sum(len(i.particles) for i in data.items if not i.validate)


def test_partial_training_leaves_out_unlabelled_particles_and_resumes_to_the_same_weights(tmp_path):
    items = tuple(
        replace(i, particles=i.particles.select(slice(None, None, 2 if not i.validate else 1))) for i in dataset().items
    )
    data = Dataset(CLASSES, items, partial_labels=True)
    config = recipe(**QUICK | {"validations": 5}, steps=120, learning_rate=2e-3)
    said = []
    whole = train_model(data, config, on_progress=lambda p: said.append(p.message))
    doubtful = [int(m.split()[0]) for m in said if "may be particles" in m]
    assert len(doubtful) > 1 and min(doubtful) > 0
    with pytest.raises(Interrupted):
        train_model(data, config, tmp_path / "m", should_stop=StopAt(90))
    assert same(whole, train_model(data, config, tmp_path / "m", resume=True))


def test_tomograms_of_opposite_contrast_are_named():
    items = list(dataset().items)
    dark, particles = balls(1)
    items[1] = TrainingItem(Tomogram(-np.asarray(dark.data), 10.0, "bright"), particles)
    said = []
    train_model(Dataset(CLASSES, tuple(items)), recipe(**QUICK, steps=1), on_progress=lambda p: said.append(p.message))
    assert any("dark in balls0, balls2 and bright in bright: invert" in m for m in said)
    train_model(dataset(), recipe(**QUICK, steps=1), on_progress=lambda p: said.append(p.message))
    assert sum("bright in" in m for m in said) == 1


def test_hard_places_lie_away_from_the_labelled_particles(tmp_path):
    config = recipe(**QUICK, steps=40, learning_rate=1e-2)
    with pytest.raises(Interrupted):
        train_model(dataset(), config, tmp_path / "m", should_stop=StopAt(35))
    state = load_state(tmp_path / "m")[1]
    truths = [balls(s)[1] for s in (0, 1)]
    radii = {"large": 8, "small": 4}
    places = [(int(row[0]), np.array(row[1:])) for row in state["hard"]]
    places += [(int(row[1]), np.array(row[2:])) for row in state["harder"]]
    for source, place in places:
        gaps = np.linalg.norm(truths[source].positions - place, axis=1)
        assert (gaps > [radii[name] for name in truths[source].classes]).all()


def test_the_paper_recipe_runs_as_published():
    config = recipe("paper", steps=1, batch=1, validations=1)
    assert (config.loss, config.label_shape, config.label_diameter_vx, config.patch_vx) == (
        "dice",
        "truncated-ball",
        7,
        72,
    )
    items = [TrainingItem(*balls(s, shape=(40, 40, 40), count=6), validate=s == 1) for s in (0, 1)]
    one = Dataset(
        CLASSES[1:], tuple(replace(i, particles=replace(i.particles, classes=np.array("small"))) for i in items)
    )
    assert recipe("paper").epochs == 60
    model = train_model(one, config)
    assert model.trained_on["steps"] == 1


BAD = [
    (Dataset((), dataset().items), "no classes"),
    (Dataset(CLASSES, ()), "none of the 0 tomograms has picks"),
    (
        Dataset(CLASSES, tuple(replace(i, validate=True) for i in dataset().items)),
        "every labelled tomogram validates",
    ),
    (Dataset(CLASSES[:1], dataset().items), "class small, which is not among"),
    (Dataset((*CLASSES, ParticleClass("x", 90.0)), dataset().items), "class x has no labels"),
    (
        Dataset(CLASSES, tuple(replace(i, particles=i.particles.select([0, 1])) for i in dataset().items)),
        "4 labelled",
    ),
    (
        Dataset(CLASSES, (replace(dataset().items[0], particles=balls(0)[1].select(slice(0, 6))),)),
        "too few to hold",
    ),
]


@pytest.mark.parametrize(("data", "sentence"), BAD, ids=[s for _, s in BAD])
def test_data_that_cannot_be_learnt_from_is_named(data, sentence):
    with pytest.raises(TrainingError, match=sentence):
        train_model(data, recipe(**QUICK, steps=2))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"patch_vx": 50}, "patch_vx 50 must be a multiple of 8"),
        ({"pach": 48}, "no option 'pach'; known are network"),
        ({"steps": 0}, "steps = 0"),
        ({"network": "paper", "patch_vx": 24}, "patch_vx 24 must exceed twice the halo 12"),
        ({"network": "huge"}, "no network 'huge': choose one of fast, paper"),
    ],
)
def test_options_that_do_not_fit_are_explained(options, sentence):
    with pytest.raises(InputError, match=sentence):
        recipe(**options)


def test_running_out_of_memory_names_what_to_lower(monkeypatch):
    def full(*_, **__):
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr("etpick.learner.weighted_loss", full)
    with pytest.raises(TrainingError, match="2 subtomograms of 24³ voxels a step: lower --batch or --patch"):
        train_model(dataset(), recipe(**QUICK, steps=3))


def test_a_loss_that_is_no_number_stops_training():
    with pytest.raises(TrainingError, match="lower --learning-rate"):
        train_model(dataset(), recipe(**QUICK, steps=30, learning_rate=1e30))
