"""Laws of joining what was said of picks to labels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from etpick.curation.correction import Corrected, correct_labels
from etpick.curation.review import Decisions
from etpick.types import NEGATIVE, Particles

RADII = {"a": 6.0, "b": 3.0}


def said(*verdicts: tuple[tuple[float, float, float], str, str]) -> Decisions:
    """(position zyx, verdict, picked as) …"""
    return Decisions(
        Particles(np.array([v[0] for v in verdicts]), np.array([v[1] for v in verdicts])),
        np.array([v[2] for v in verdicts], dtype=np.str_),
    )


def marks(*marked: tuple[tuple[float, float, float], str]) -> Particles:
    return Particles(np.array([m[0] for m in marked], dtype=float), np.array([m[1] for m in marked], dtype=np.str_))


def as_set(particles: Particles) -> set[tuple[object, ...]]:
    return {(*p.tolist(), str(c)) for p, c in zip(particles.positions, particles.classes, strict=True)}


@st.composite
def cases(draw: st.DrawFn) -> tuple[Particles, Decisions]:
    """Labels anywhere, and picks that keep the distance that the picker makes them keep."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    labels = rng.uniform(0, 40, (draw(st.integers(0, 12)), 3))
    names = rng.choice(["a", "b", NEGATIVE], len(labels))
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3) * 14.0
    places = grid[rng.permutation(27)[: draw(st.integers(0, 12))]] + rng.uniform(-1, 1, 3)
    picked_as = rng.choice(["a", "b"], len(places))
    verdicts = np.where(rng.random(len(places)) < 0.5, NEGATIVE, picked_as)
    return Particles(labels, names), Decisions(Particles(places, verdicts), picked_as)


@given(cases())
def test_saying_it_again_changes_nothing(case: tuple[Particles, Decisions]) -> None:
    labels, decisions = case
    once = correct_labels(labels, decisions, RADII)
    again = correct_labels(once.particles, decisions, RADII)
    assert not again.changed
    assert as_set(again.particles) == as_set(once.particles)


@given(cases())
def test_every_word_is_heeded(case: tuple[Particles, Decisions]) -> None:
    labels, decisions = case
    corrected = correct_labels(labels, decisions, RADII)
    now = corrected.particles
    for position, verdict, was in zip(
        decisions.particles.positions, decisions.particles.classes, decisions.picked_as, strict=True
    ):
        distances = np.linalg.norm(now.positions - position, axis=1)
        negative = now.classes == NEGATIVE
        reach = RADII[was]
        if verdict == NEGATIVE:
            assert (distances < reach).any()
        else:
            assert ((distances < reach) & ~negative).any()
            assert not ((distances < reach) & negative).any()
    kept = len(labels) - len(as_set(labels) - as_set(now))
    assert len(now) == kept + corrected.added + corrected.negatives


@given(cases())
def test_labels_that_nobody_spoke_about_stay(case: tuple[Particles, Decisions]) -> None:
    labels, decisions = case
    corrected = correct_labels(labels, decisions, RADII)
    for position, name in zip(labels.positions, labels.classes, strict=True):
        distances = np.linalg.norm(decisions.particles.positions - position, axis=1)
        if not (distances < max(RADII.values())).any():
            assert (*position.tolist(), str(name)) in as_set(corrected.particles)


def test_nothing_said_changes_nothing() -> None:
    labels = marks(((1, 2, 3), "a"))
    corrected = correct_labels(labels, Decisions.none(), RADII)
    assert not corrected.changed
    assert as_set(corrected.particles) == as_set(labels)


def test_what_becomes_of_each_word() -> None:
    labels = marks(((10, 10, 10), "a"), ((30, 30, 30), NEGATIVE), ((50, 50, 50), "a"), ((70, 70, 70), "b"))
    decisions = said(
        ((12, 10, 10), "a", "a"),  # labelled already
        ((30, 31, 30), "a", "a"),  # was marked as none
        ((53, 50, 50), NEGATIVE, "a"),  # off a particle's centre, but inside it
        ((90, 90, 90), NEGATIVE, "b"),  # a wrong pick
        ((70, 71, 70), "a", "b"),  # another class, said so
        ((20, 60, 20), "b", "b"),  # a new particle
    )
    corrected = correct_labels(labels, decisions, RADII)
    assert as_set(corrected.particles) == {
        (10.0, 10.0, 10.0, "a"), (30.0, 31.0, 30.0, "a"), (50.0, 50.0, 50.0, "a"), (90.0, 90.0, 90.0, NEGATIVE),
        (70.0, 70.0, 70.0, "a"), (20.0, 60.0, 20.0, "b"),
    }  # fmt: skip
    counts = (corrected.added, corrected.negatives, corrected.known, corrected.replaced, corrected.standing)
    assert counts == (2, 1, 1, 2, 1)


def test_a_pick_that_was_accepted_by_mistake_can_be_rejected_in_the_next_round() -> None:
    first = correct_labels(Particles.empty(), said(((5, 5, 5), "a", "a")), RADII)
    second = correct_labels(first.particles, said(((5, 5, 5), NEGATIVE, "a")), RADII)
    assert as_set(second.particles) == {(5.0, 5.0, 5.0, NEGATIVE)}
    assert second.changed


def test_a_correction_without_additions_is_known_as_such() -> None:
    assert not Corrected(Particles.empty(), known=3, standing=1).changed
