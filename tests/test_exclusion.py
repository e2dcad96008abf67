from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from etpick.config import ExclusionConfig
from etpick.errors import InputError
from etpick.exclusion import AVOID, EDGE, GOLD, MASK, SLAB, ZONES, Excluded, Masks, Zones, find_zones, sentence
from etpick.io.picks import read_picks
from etpick.io.tomograms import open_tomogram
from etpick.ops.gold import Beads
from etpick.ops.lamella import Plane, Slab
from etpick.types import Particles, Tomogram

SHAPE = (40, 60, 80)
SPACING_A = 10.0
BEADS = Beads(np.array([[20.0, 30, 40]]), np.array([4.0]))
SLAB_8_30 = Slab(Plane(8.0, 0.0, 0.0), Plane(30.0, 0.0, 0.0))


def zones(slab: Slab | None = None, beads: Beads | None = None, masks: Masks | None = None, **options: float) -> Zones:
    return Zones(SHAPE, SPACING_A, ExclusionConfig(**options), slab, beads, masks or Masks())  # type: ignore[arg-type]


def at(*places: tuple[float, float, float]) -> np.ndarray:
    return np.array(places, dtype=float)


def test_nothing_is_excluded_unless_asked_for() -> None:
    everywhere = np.argwhere(np.ones(SHAPE, bool)).astype(float)
    found = find_zones(Tomogram(np.random.default_rng(0).normal(size=SHAPE), SPACING_A), ExclusionConfig())
    assert found.asked == ()
    assert (found.of(everywhere) == "").all()


@given(seed=st.integers(0, 2**32 - 1), edge_A=st.floats(0.1, 250))
def test_the_distance_to_the_edge_is_that_to_the_nearest_face(seed: int, edge_A: float) -> None:
    positions = np.random.default_rng(seed).uniform(-0.5, np.array(SHAPE) - 0.5, (50, 3))
    names = zones(edge_A=edge_A).of(positions)
    low, high = (positions + 0.5) * SPACING_A, (np.array(SHAPE) - 0.5 - positions) * SPACING_A
    np.testing.assert_array_equal(names == EDGE, np.minimum(low, high).min(axis=1) < edge_A)


def test_the_slab_is_narrowed_or_widened_by_its_margin() -> None:
    places = at((7, 30, 40), (9, 30, 40), (11, 30, 40), (31, 30, 40))
    assert (zones(SLAB_8_30).of(places) == SLAB).tolist() == [True, False, False, True]
    assert (zones(SLAB_8_30, slab_margin_A=20).of(places) == SLAB).tolist() == [True, True, False, True]
    assert (zones(SLAB_8_30, slab_margin_A=-20).of(places) == SLAB).tolist() == [False] * 4
    assert (zones(Slab(), slab_margin_A=500).of(places) == "").all()  # nothing empty was found


def test_gold_keeps_its_margin() -> None:
    places = at((20, 30, 40), (20, 30, 45.9), (20, 30, 46.1))
    assert (zones(beads=BEADS, gold_margin_A=20).of(places) == GOLD).tolist() == [True, True, False]


def test_masks_of_another_binning_cover_the_same_places() -> None:
    mask = np.zeros((20, 30, 40), np.uint8)  # voxel 10 covers the tomogram's 20 and 21
    mask[10, 15, 20] = 7
    places = at((20, 30, 40), (21, 31, 41), (22, 30, 40), (19, 30, 40))
    assert (zones(masks=Masks(allowed=mask)).of(places) == MASK).tolist() == [False, False, True, True]
    assert (zones(masks=Masks(avoided=mask)).of(places) == AVOID).tolist() == [True, True, False, False]
    near = zones(masks=Masks(avoided=mask), avoid_margin_A=25).of(at((23, 30, 40), (24, 30, 40)))
    assert (near == AVOID).tolist() == [True, False]


def test_fine_and_coarse_masks_agree() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.random((20, 30, 40)) < 0.3
    same, fine = (coarse.repeat(n, 0).repeat(n, 1).repeat(n, 2) for n in (2, 4))
    places = rng.uniform(0, np.array(SHAPE) - 1, (300, 3))
    answers = [zones(masks=Masks(allowed=mask)).of(places) for mask in (coarse, same, fine)]
    assert 0 < (answers[0] == MASK).sum() < 300
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])


def test_the_first_zone_is_held_responsible() -> None:
    every = zones(SLAB_8_30, BEADS, Masks(np.zeros(SHAPE), np.ones(SHAPE)), edge_A=20)
    assert every.asked == ZONES
    assert every.of(at((0, 0, 0), (5, 30, 40), (20, 30, 40), (20, 30, 5))).tolist() == [EDGE, SLAB, GOLD, MASK]
    held = every.holding(Particles(at((20, 30, 40), (20, 30, 5)), np.array(["a", "b"]), np.array([0.5, 0.4])))
    assert held.counts() == {GOLD: 1, MASK: 1}
    assert held.particles.classes.tolist() == ["a", "b"]


def test_a_sentence_names_every_zone_asked_for_and_what_was_found() -> None:
    some = zones(SLAB_8_30, BEADS, gold_margin_A=150)
    held = some.holding(Particles(at((5, 30, 40), (3, 1, 1), (20, 30, 40)), np.array("a")))
    assert sentence(held, some) == "2 outside the lamella (z 8–30), 1 near gold (1 bead, 150 Å around)"
    nothing = zones(Slab(), Beads(np.zeros((0, 3)), np.zeros(0)))
    assert sentence(Excluded(), nothing) == (
        "0 outside the lamella (none found, everything is searched), 0 near gold (none found)"
    )
    tilted = zones(Slab(None, Plane(10.0, 0.0, 0.1)), slab_margin_A=30)
    assert tilted.describe(SLAB) == "z 0–14, tilted 6°, 30 Å inwards"


def test_a_mask_of_another_field_of_view_is_refused() -> None:
    tomogram = Tomogram(np.zeros(SHAPE), SPACING_A, "t1")
    with pytest.raises(InputError, match="the mask to avoid of t1 does not fit its tomogram: it has 60 × 60 × 40"):
        find_zones(tomogram, ExclusionConfig(), Masks(avoided=np.zeros((40, 60, 60))))


def test_a_flat_mask_is_refused() -> None:
    with pytest.raises(InputError, match="the mask of t1 has 2 dimensions"):
        find_zones(Tomogram(np.zeros(SHAPE), SPACING_A, "t1"), ExclusionConfig(), Masks(np.zeros((60, 80))))


def test_margins_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="gold_margin_A"):
        ExclusionConfig(gold_margin_A=-1)


def test_the_real_lamella_is_found_and_no_labelled_ribosome_is_lost(shared_data: Path) -> None:
    tomogram = open_tomogram(shared_data / "real" / "chlamy_lamella_171.mrc")
    found = find_zones(tomogram, ExclusionConfig(slab=True, gold=True))
    assert found.slab is not None
    assert found.slab.low is not None
    assert found.slab.high is not None
    middle = np.array([[0.0, 127.5, 127.5]])
    assert found.slab.low.height(middle)[0] == pytest.approx(31.5, abs=3)
    assert found.slab.high.height(middle)[0] == pytest.approx(95, abs=3)
    labels = read_picks(shared_data / "real" / "chlamy_lamella_171_ribosomes.csv")
    assert len(found.holding(labels)) == 0


@pytest.mark.parametrize("number", range(100, 107))
def test_phantoms_have_three_beads_and_no_empty_region(shared_data: Path, number: int) -> None:
    path = shared_data / "phantom" / f"tomo_{number}.mrc"
    tomogram = open_tomogram(path)
    found = find_zones(tomogram, ExclusionConfig(slab=True, gold=True))
    assert found.slab == Slab()
    assert found.beads is not None
    assert len(found.beads) == 3
    dark, count = ndimage.label(np.asarray(tomogram.data) < -115)  # six σ: beads stand alone there
    large = 1 + np.flatnonzero(ndimage.sum_labels(dark > 0, dark, np.arange(1, count + 1)) > 20)
    cores = np.array(ndimage.center_of_mass(dark > 0, dark, large))
    assert found.beads.distance(cores).max() < 3  # in it, or in the streaks of the missing wedge
    inside = found.beads.distance(read_picks(path.with_suffix(".csv")).positions) < 0
    assert not inside.any()  # no true particle is taken for gold
