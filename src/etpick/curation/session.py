"""Curating the picks of a model: thresholds and filters, what they show, in which order to look at it, what is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from etpick.curation.filters import Filters, doubt
from etpick.curation.review import CANDIDATES, Review, read_filters, write_filters
from etpick.exporting import Chosen
from etpick.io.picks import is_pick_file
from etpick.types import Particles, Tomogram

Order = Literal["best", "worst", "least sure"]
Which = Literal["shown", "not reviewed", "accepted", "rejected"]
Row = tuple[str, int]  # a pick: its tomogram's name, and its row


class Session:
    """The picks in a folder that `etpick.api.pick_files` wrote, of those tomograms that are at hand.

    thresholds: by class, where the filters begin when none were chosen yet. Filters are on disk at once, as is what
    is said of picks. Raises InputError where a file cannot be read.
    """

    def __init__(self, folder: Path | str, tomograms: Mapping[str, Tomogram], thresholds: Mapping[str, float]) -> None:
        self.folder = Path(folder)
        self.tomograms = {n: tomograms[n] for n in picked_tomograms(self.folder) if n in tomograms}
        self.reviews = {name: Review(self.folder, name) for name in self.tomograms}
        self.thresholds = dict(thresholds)
        self._filters = read_filters(self.folder) or Filters(self.thresholds)
        self._said: list[list[str]] = []
        self._listeners: list[Callable[[Sequence[Row]], None]] = []

    @property
    def filters(self) -> Filters:
        """What a pick must fulfil to be shown and kept."""
        return self._filters

    @filters.setter
    def filters(self, filters: Filters) -> None:
        write_filters(self.folder, filters)
        self._filters = filters

    @property
    def lowest(self) -> float:
        """The lowest score in the files: below it no threshold shows more."""
        scores = [r.picks.scores for r in self.reviews.values() if r.picks.scores is not None]
        return float(np.nanmin(np.concatenate([np.ones(1), *scores])))

    def with_threshold(self, threshold: float, classes: Iterable[str]) -> Filters:
        """The filters with another least score for some classes."""
        return replace(self.filters, min_score={**self.filters.min_score, **dict.fromkeys(classes, threshold)})

    def passing(self, name: str, filters: Filters | None = None) -> NDArray[np.bool_]:
        """(n,) which picks of a tomogram fulfil the filters, or others."""
        tomogram = self.tomograms[name]
        return (filters or self.filters).passing(self.reviews[name].picks, tomogram.shape, tomogram.spacing_A)

    def rows(self, order: Order, which: Which = "shown", names: Sequence[str] | None = None) -> list[Row]:
        """Picks to look at, in an order: those that fulfil the filters, or of these those not reviewed yet, or all
        that were accepted, or rejected. The least sure are asked about wherever the threshold lies."""
        found: list[tuple[float, str, int]] = []
        for name in self.tomograms if names is None else names:
            review = self.reviews[name]
            keys = _keys(review.picks, order)
            found += [(float(keys[row]), name, int(row)) for row in np.flatnonzero(self._which(name, which, order))]
        return [(name, row) for _, name, row in sorted(found, key=lambda entry: -entry[0])]

    def _which(self, name: str, which: Which, order: Order) -> NDArray[np.bool_]:
        review = self.reviews[name]
        if which == "accepted":
            return review.accepted
        if which == "rejected":
            return review.rejected
        passing = self.passing(name)
        if order == "least sure":
            passing = self.passing(name, replace(self.filters, min_score={}))
        return passing & ~(review.accepted | review.rejected) if which == "not reviewed" else passing

    # --- what is said of picks ---------------------------------------------------------------------

    def on_say(self, listener: Callable[[Sequence[Row]], None]) -> Callable[[], None]:
        """Call `listener` with the picks that each word, or its undoing, changed, until the function given back is."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def accept(self, rows: Sequence[Row]) -> None:
        """Say that these are particles of the class that they were picked as."""
        self._say(rows, Review.accept)

    def reject(self, rows: Sequence[Row]) -> None:
        """Say that these are none."""
        self._say(rows, Review.reject)

    def forget(self, rows: Sequence[Row]) -> None:
        """Take back what was said of these."""
        self._say(rows, Review.forget)

    def undo(self) -> bool:
        """Take back the last of these as a whole; whether there was one."""
        if not self._said:
            return False
        before = self._verdicts()
        for name in self._said.pop():
            self.reviews[name].undo()
        self._note(before)
        return True

    def _say(self, rows: Sequence[Row], what: Callable[[Review, list[int]], bool]) -> None:
        before = self._verdicts()
        changed = [name for name, numbers in _by_tomogram(rows).items() if what(self.reviews[name], numbers)]
        if changed:
            self._said.append(changed)
        self._note(before)

    def _verdicts(self) -> dict[str, NDArray[np.object_]]:
        return {name: review.verdicts for name, review in self.reviews.items()}

    def _note(self, before: Mapping[str, NDArray[np.object_]]) -> None:
        pairs = [(n, np.flatnonzero(before[n] != now)) for n, now in self._verdicts().items()]
        changed = [(name, int(row)) for name, rows in pairs for row in rows]
        for listener in list(self._listeners):
            listener(changed)

    # --- what is kept ------------------------------------------------------------------------------

    def chosen(self, names: Sequence[str] | None = None) -> list[Chosen]:
        """What is kept of each tomogram's picks: accepted, or passing the filters and not rejected."""
        return [
            Chosen(name, self.tomograms[name].shape, self._with_spacing(name))
            for name in (self.tomograms if names is None else names)
        ]

    def _with_spacing(self, name: str) -> Particles:
        kept = self.reviews[name].chosen(self.passing(name))
        return replace(kept, spacing_A=self.tomograms[name].spacing_A, tomogram=name)

    def counts(self, filters: Filters | None = None) -> dict[str, int]:
        """How many are kept of each class, or would be with other filters."""
        kept = [str(c) for n, r in self.reviews.items() for c in r.chosen(self.passing(n, filters)).classes]
        return {name: kept.count(name) for name in sorted({*self.thresholds, *kept})}

    @property
    def accepted(self) -> int:
        """How many were accepted."""
        return sum(int(review.accepted.sum()) for review in self.reviews.values())

    @property
    def rejected(self) -> int:
        """How many were rejected."""
        return sum(int(review.rejected.sum()) for review in self.reviews.values())


def picked_tomograms(folder: Path | str) -> list[str]:
    """The names of the tomograms whose picks are in a folder."""
    files = [*Path(folder).glob("*.csv"), *(Path(folder) / CANDIDATES).glob("*.csv")]
    return sorted({path.stem for path in files if is_pick_file(path)})


def _keys(picks: Particles, order: Order) -> NDArray[np.float64]:
    """(n,) what to sort by, the highest first."""
    if order == "least sure":
        return doubt(picks)
    scores = np.zeros(len(picks)) if picks.scores is None else np.nan_to_num(picks.scores)
    return scores if order == "best" else -scores


def _by_tomogram(rows: Sequence[Row]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, row in rows:
        found.setdefault(name, []).append(row)
    return found
