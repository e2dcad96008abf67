"""The picks of a tomogram as circles over its slices: coloured by score or class, crossed where rejected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

import numpy as np

from etpick.curation.session import Session
from etpick.serve.viewer import Mark

Coloring = Literal["score", "class"]
ACCEPTED: Final = "#37d67a"
REJECTED: Final = "#ff4d4d"
SCORE_COLORS: Final = ("#ff7a45", "#ffd43b", "#3bd0e0")  # of 0, ½ and 1: apart in hue and in lightness


def score_color(score: float) -> str:
    """#rrggbb of a score, 0–1; grey where there is none."""
    if not np.isfinite(score):
        return "#c0c6cc"
    stops = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in SCORE_COLORS])
    channels = [round(np.interp(np.clip(score, 0, 1), (0, 0.5, 1), channel)) for channel in stops.T]
    return "#" + "".join(f"{int(value):02x}" for value in channels)


def marks_of(
    session: Session, name: str, looks: Mapping[str, tuple[str, float]], coloring: Coloring,
    dragged: frozenset[str] = frozenset(),
) -> list[Mark]:  # fmt: skip
    """Circles of a tomogram, keyed by row: what passes the filters, and what somebody spoke about.

    looks: colour and diameter in Å by class. Picks of `dragged` classes are there whatever their score, which they
    carry, so that the browser can hide them below a threshold that moves.
    """
    review, filters = session.reviews[name], session.filters
    low = replace(filters, min_score={**filters.min_score, **dict.fromkeys(dragged, 0.0)})
    shown = session.passing(name, low) | review.accepted | review.rejected
    return [mark_of(session, name, int(row), looks, coloring, dragged) for row in np.flatnonzero(shown)]


def mark_of(
    session: Session, name: str, row: int, looks: Mapping[str, tuple[str, float]], coloring: Coloring,
    dragged: frozenset[str] = frozenset(),
) -> Mark:  # fmt: skip
    """The circle of one pick."""
    review, spacing_A = session.reviews[name], session.tomograms[name].spacing_A
    kind = str(review.picks.classes[row])
    color, diameter_A = looks.get(kind, ("#888888", 200.0))
    score = float("nan") if review.picks.scores is None else float(review.picks.scores[row])
    if review.accepted[row]:
        color = ACCEPTED
    elif review.rejected[row]:
        color = REJECTED
    elif coloring == "score":
        color = score_color(score)
    z, y, x = review.picks.positions[row].tolist()
    carried = score if kind in dragged and not review.accepted[row] and np.isfinite(score) else None
    return Mark(row, (z, y, x), diameter_A / 2 / spacing_A, color, carried, bool(review.rejected[row]))
