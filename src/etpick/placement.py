"""Are picks where the particles are: their density against random places, as they are and with each mistake undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from etpick.io.sanity import MISTAKES, is_outside
from etpick.ops.contrast import ContrastProbe
from etpick.types import FloatArray, Shape3

AS_THEY_ARE: Final = "as they are"
FEWEST: Final = 5  # picks with which anything can be said
CLEAR: Final = 5.0  # standard errors from which a mistake undone is believed …
RATIO: Final = 2.0  # … if it stands out so many times more than the picks as they are
FAINT: Final = 3.0  # standard errors below which picks do not stand out
ENOUGH: Final = 20  # picks that should stand out where they are right


@dataclass(frozen=True)
class Hypothesis:
    """What may be wrong with picks, and how they stand out once it is undone.

    effect: mean difference of grey level from the surroundings, in σ of the same at random places; strength: the
    same in standard errors, without its sign. Both None where picks would then lie outside the tomogram.
    """

    what: str
    effect: float | None
    strength: float | None

    def line(self) -> str:
        """For a table: what, effect with its 95 % interval, strength."""
        if self.effect is None or self.strength is None:
            return f"{self.what:52} outside"
        error = abs(self.effect) / self.strength if self.strength else 0.0
        return f"{self.what:52} {self.effect:+.2f} ± {1.96 * error:.2f} σ   {self.strength:5.1f}"


@dataclass(frozen=True)
class Placement:
    """The picks as they are and each mistake undone; `likely` is the mistake to believe, or None."""

    count: int
    hypotheses: tuple[Hypothesis, ...]
    likely: str | None

    @property
    def is_random(self) -> bool:
        """Whether picks that lie inside are so many that they should stand out, and do not."""
        strength = self.hypotheses[0].strength
        return strength is not None and strength < FAINT and self.count >= ENOUGH and not self.likely

    @property
    def verdict(self) -> str:
        """One sentence."""
        strength = self.hypotheses[0].strength
        if self.count < FEWEST:
            return f"{self.count} picks are too few to tell: give at least {FEWEST}, better {ENOUGH}"
        if self.likely:
            best = next(h for h in self.hypotheses if h.what == self.likely)
            now = "they lie outside" if strength is None else f"they do by {strength:.1f}"
            return (
                f"{self.likely}: undone, the picks stand out from random places by {best.strength:.1f} standard "
                f"errors, as they are {now}"
            )
        if strength is None:
            return "picks lie outside the tomogram, and no usual mistake explains it"
        if self.is_random:
            return "the grey levels at the picks are those of random places: do picks and tomogram belong together?"
        if strength < FAINT:
            return f"{self.count} picks do not stand out from random places; that few need not"
        return f"the picks stand out from random places by {strength:.1f} standard errors: they fit the tomogram"

    def lines(self) -> list[str]:
        """A table, the verdict last."""
        rows = [h.line() for h in self.hypotheses]
        return [f"{'':52} density        standard errors", *rows, self.verdict]


def check_placement(positions: FloatArray, shape: Shape3, probe: ContrastProbe) -> Placement:
    """Hold picks, (n, 3) zyx voxels, against a tomogram as they are and with each usual mistake undone.

    A mistake is believed where, undone, the picks stand out clearly, and twice as much as they are. A shift by a
    voxel or half of one is too small to be seen this way.
    """
    found = [_judged(AS_THEY_ARE, positions, shape, probe)]
    if len(positions) < FEWEST:
        return Placement(len(positions), tuple(found), None)
    found += [_judged(what, undo(positions, shape), shape, probe) for what, undo in MISTAKES.items()]
    now, *others = found
    best = max(others, key=lambda h: h.strength or 0.0)
    clear = max(CLEAR, RATIO * (now.strength or 0.0))
    return Placement(len(positions), tuple(found), best.what if (best.strength or 0.0) > clear else None)


def _judged(what: str, positions: FloatArray, shape: Shape3, probe: ContrastProbe) -> Hypothesis:
    if not len(positions) or is_outside(positions, shape).any():
        return Hypothesis(what, None, None)
    contrast = probe.at(positions)
    return Hypothesis(what, contrast.effect, contrast.strength)
