"""Normalisation, resampling and calibration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpick.errors import InputError
from etpick.evaluation.curves import expected_calibration_error
from etpick.geometry import rescale, rescaled_shape, working_spacing_A
from etpick.ops.calibrate import fit_calibration, fit_histogram
from etpick.ops.normalise import measure
from etpick.ops.resample import apply_weights, axis_weights


@given(scale=st.floats(1e-3, 1e3), offset=st.floats(-100, 100))
def test_normalised_levels_do_not_depend_on_the_scale_of_the_file(scale, offset):
    levels = np.random.default_rng(0).normal(size=(8, 30, 30))
    plain = measure(levels)(levels)
    scaled = (levels + offset) * scale
    assert measure(scaled)(scaled) == pytest.approx(plain, abs=2e-2)


def test_outliers_do_not_move_the_mean_and_are_clipped():
    levels = np.random.default_rng(1).normal(3, 2, (20, 40, 40))
    clean = measure(levels)
    levels[::7, 0, 0] = -120.0  # 60 σ out
    robust = measure(levels)
    assert robust.mean == pytest.approx(clean.mean, abs=0.01)
    assert robust.sigma == pytest.approx(clean.sigma, rel=0.01)
    assert np.abs(robust(levels)).max() == 5


def test_integers_normalise_like_floats():
    levels = np.random.default_rng(2).integers(-40, 40, (9, 33, 21)).astype(np.int8)
    out = measure(levels)(levels)
    assert out.dtype == np.float32
    assert abs(out.mean()) < 0.02


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_voxels_that_are_no_numbers_are_refused(bad):
    levels = np.ones((4, 5, 6), np.float32) * np.arange(6)
    levels[2, 1, 1] = bad
    with pytest.raises(InputError, match="1 voxels that are NaN or infinite"):
        measure(levels, "t1")


def test_an_empty_image_is_refused():
    with pytest.raises(InputError, match="one grey level, 7"):
        measure(np.full((4, 8, 8), 7, np.int16), "t1")


@given(scale=st.floats(0.3, 3.0), size=st.integers(5, 60))
def test_resampling_keeps_constants_and_ramps_and_ignores_the_box(scale, size):
    (n,) = {rescaled_shape((size,) * 3, scale)[0]}
    first, weights = axis_weights(0, n, scale, size)
    assert weights.sum(axis=1) == pytest.approx(np.ones(n), abs=1e-5)
    out = weights @ np.arange(first, first + weights.shape[1])
    inner = slice(int(2 + 2 * scale), max(int(n - 2 - 2 * scale), int(3 + 2 * scale)))
    expected = rescale(np.arange(n)[:, None].astype(float), 1 / scale)[:, 0]
    if scale >= 1:  # a coarser grid averages; ramps then only hold on average over voxels
        assert out[inner] == pytest.approx(expected[inner], abs=1e-3)
    a, b = n // 3, max(n // 3 + 1, 2 * n // 3)
    part_first, part = axis_weights(a, b, scale, size)
    assert part == pytest.approx(weights[a:b, part_first - first : part_first - first + part.shape[1]], abs=1e-6)


def test_three_axes_are_independent():
    block = np.random.default_rng(0).random((6, 7, 8)).astype(np.float32)
    z, y, x = (axis_weights(0, round(n * 1.5), 1.5, n)[1] for n in block.shape)
    assert apply_weights(block, (z, y, x)) == pytest.approx(np.einsum("az,by,cx,zyx->abc", z, y, x, block), abs=1e-5)


@given(scale=st.floats(0.1, 10), p=st.floats(-5, 500))
def test_positions_return_from_another_grid(scale, p):
    there = rescale(np.full((1, 3), p), scale)
    assert rescale(there, 1 / scale) == pytest.approx(np.full((1, 3), p), abs=1e-6)
    assert rescale(np.full((1, 3), -0.5), scale) == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("diameters", "native", "expected"),
    [
        ([150.0, 280.0], 10, 10),  # 15 and 28 voxels: the smallest decides
        ([60.0, 200.0], 10, 10),  # 6 voxels is within a fifth of 7
        ([28.0, 140.0], 7, 4.0),  # 4 voxels are not
        ([600.0], 10, 24.0),
        ([280.0], 31.36, 20.0),  # 9 voxels are fine for the paper, but few at half resolution
    ],
)
def test_the_smallest_class_decides_the_working_spacing(diameters, native, expected):
    assert working_spacing_A(diameters, native) == pytest.approx(expected)


def test_calibrated_scores_are_frequencies_and_keep_their_order():
    rng = np.random.default_rng(0)
    raw, classes = rng.random(6000), rng.integers(0, 2, 6000)
    truth = 1 / (1 + np.exp(-(2 * np.log(raw / (1 - raw)) - 1 + classes)))
    hits = rng.random(6000) < truth
    calibration = fit_calibration(raw[:3000], classes[:3000], hits[:3000], np.ones(2, bool))
    scores = calibration(raw, classes)
    assert expected_calibration_error(scores[3000:], hits[3000:]) < 0.03
    assert expected_calibration_error(raw[3000:], hits[3000:]) > 0.05
    one = classes == 0
    assert (np.argsort(scores[one]) == np.argsort(raw[one])).all()


def test_without_wrong_picks_there_is_nothing_to_calibrate():
    raw = np.array([0.2, 0.9])
    calibration = fit_calibration(raw, np.zeros(2, int), np.ones(2, bool), np.ones(1, bool))
    assert calibration(raw, np.zeros(2, int)) == pytest.approx(raw)


def test_a_class_that_could_not_be_validated_is_scored_like_the_others():
    rng = np.random.default_rng(0)
    raw, classes = rng.random(400), np.repeat([0, 1], 200)
    hits = (rng.random(400) < raw) & (classes == 0)
    calibration = fit_calibration(raw, classes, hits, np.array([True, False]))
    score = calibration(np.array([0.8, 0.8]), np.array([0, 1]))
    assert score[1] == pytest.approx(score[0], abs=0.05)
    assert score[1] > 0.6


def test_hits_by_chance_among_the_lowest_do_not_flatten_the_curve():
    rng = np.random.default_rng(1)
    logits = rng.uniform(-6, 3, 3000)
    particle = rng.random(3000) < 1 / (1 + np.exp(-3 * (logits + 1)))
    raw, classes = 1 / (1 + np.exp(-logits)), np.zeros(3000, int)
    by_chance = particle | (rng.random(3000) < 0.1)
    score = fit_calibration(raw, classes, by_chance, np.ones(1, bool))(raw, classes)
    assert expected_calibration_error(score, particle) < 0.03
    assert score[logits < -3].max() < 0.02


def test_evidence_has_as_much_say_as_it_tells():
    rng = np.random.default_rng(0)
    raw, classes = 1 / (1 + np.exp(-rng.normal(0, 1, 4000))), np.zeros(4000, int)
    evidence = np.sinh(rng.normal(0, 2, 4000))
    logit = 1.5 * (np.log(raw / (1 - raw)) + 0.6 * np.arcsinh(evidence)) - 1
    hits = rng.random(4000) < 1 / (1 + np.exp(-logit))
    fitted = fit_calibration(raw, classes, hits, np.ones(1, bool), evidence=evidence)
    assert fitted.weight == pytest.approx(0.6, abs=0.1) and fitted.slope == pytest.approx(1.5, abs=0.15)
    assert expected_calibration_error(fitted(raw, classes, evidence), hits) < 0.03
    silent = fit_calibration(raw, classes, hits, np.ones(1, bool), evidence=rng.permutation(evidence))
    assert silent.weight < 0.1
    against = fit_calibration(raw, classes, hits, np.ones(1, bool), evidence=-evidence)
    assert against.weight == 0
    assert fit_calibration(raw, classes, hits, np.ones(1, bool)).weight == 0


def test_few_picks_that_part_cleanly_make_no_step():
    raw = np.linspace(0.5, 0.7, 40)
    calibration = fit_calibration(raw, np.zeros(40, int), raw > 0.6, np.ones(1, bool))
    assert calibration.slope < 50
    assert len(np.unique(calibration(raw, np.zeros(40, int)))) == 40


def test_a_histogram_alone_tells_particles_from_false_places_and_errs_on_the_safe_side():
    rng = np.random.default_rng(0)
    true = np.concatenate([np.ones(350, bool), np.zeros(250, bool)])
    logits = np.concatenate([0.1 - rng.exponential(0.4, 350), rng.normal(-3.5, 1.0, 250)])
    raw = 1 / (1 + np.exp(-logits))
    calibration = fit_histogram(raw)
    assert calibration is not None
    scores = calibration(raw, np.zeros(600, int))
    kept = scores >= 0.5
    assert true[kept].mean() > 0.95 and kept[true].mean() > 0.8
    assert (1 - scores[kept]).sum() > (~true[kept]).sum() - 5


def test_one_group_of_scores_is_not_split():
    noise = 1 / (1 + np.exp(-np.random.default_rng(0).normal(-3.5, 1.0, 500)))
    found = fit_histogram(noise)
    assert found is None or (found(noise, np.zeros(500, int)) > 0.5).mean() < 0.1
    assert fit_histogram(np.full(100, 0.4)) is None
    assert fit_histogram(noise[:20]) is None
