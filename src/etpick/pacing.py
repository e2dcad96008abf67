"""How long training takes: the learning rate over its steps, and how many steps fit into the time allowed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

WARM_UP: Final = 0.1  # share of the steps in which the learning rate rises
LAST_RATE: Final = 0.01  # of the peak, at the end
TIMED_STEPS: Final = 6
_WORTH_CHANGING: Final = (0.95, 1.15)  # a plan within these shares of what is possible stays as it is


def one_cycle(progress: float) -> float:
    """Share of the peak learning rate at a share of the steps: a linear rise, then a cosine fall."""
    if progress < WARM_UP:
        return 0.1 + 0.9 * progress / WARM_UP
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - WARM_UP) / (1 - WARM_UP))))
    return LAST_RATE + (1 - LAST_RATE) * fall


def milestones(steps: int, count: int) -> set[int]:
    """The steps after which the picks are validated, the last step among them."""
    count = min(count, steps)
    return {round(steps * (i + 1) / count) for i in range(count)}


@dataclass
class Pace:
    """Fits the number of steps, at most `most`, into `minutes` of wall time (None: no limit)."""

    most: int
    minutes: float | None
    seconds: list[float] = field(default_factory=list)  # of each step of this session

    def first_plan(self, elapsed_s: float, validations_s: float) -> int:
        """Steps in all, once a few have been timed; at least one."""
        if self.minutes is None:
            return self.most
        left = self.minutes * 60 - elapsed_s - validations_s
        return max(1, self._capped(0, left, float(np.median(self.seconds[2:]))))

    def new_plan(self, step: int, steps: int, elapsed_s: float, validations_s: float) -> int | None:
        """Steps in all, where the machine's speed has changed enough to matter; None where it has not."""
        if self.minutes is None or step >= steps or not self.seconds:
            return None
        left = self.minutes * 60 - elapsed_s - validations_s
        possible = self._capped(step, left, float(np.mean(self.seconds[-200:])))
        low, high = _WORTH_CHANGING
        return None if low * steps <= possible <= high * steps else possible

    def _capped(self, step: int, left_s: float, step_s: float) -> int:
        return min(self.most, step + _two_digits(left_s / step_s))


def _two_digits(value: float) -> int:
    """Rounded down to two significant digits, so that small changes of speed do not change the run."""
    if value < 1:
        return 0
    unit = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return int(value // unit * unit)
