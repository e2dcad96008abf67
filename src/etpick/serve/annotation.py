"""The picks of one tomogram as people edit them: every edit is on disk before it is answered, and can be undone."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from etpick.errors import InputError
from etpick.io.picks import read_picks, write_picks
from etpick.types import Particles, Tomogram

_SNAP_SIGMAS: Final = 1.0  # grey levels that far from their surroundings' mean count towards a centre of mass


class StaleEdit(InputError):
    """An edit of something that has changed since it was looked at."""


@dataclass(frozen=True)
class Pick:
    """A pick: where it is in voxels zyx, its class, and its score, if it was picked by a program."""

    position: tuple[float, float, float]
    kind: str
    score: float | None = None


@dataclass(frozen=True)
class Change:
    """What an edit did to one pick: before and after, None where there was or is none."""

    key: int
    before: Pick | None
    after: Pick | None

    def undone(self) -> Change:
        """The change that takes this one back."""
        return Change(self.key, self.after, self.before)


Changes = tuple[Change, ...]


class Document:
    """The picks of one tomogram, shared by all tabs and saved with every edit.

    `path` is the CSV file that is written; `revision` counts the changes, so that a tab knows whether it is up to
    date. Raises StaleEdit where an edit rests on what is no longer so, OutputError where the disk refuses.
    """

    def __init__(self, path: Path, tomogram: Tomogram, sets: Sequence[Particles], *, imported: bool = False) -> None:
        self.path, self.tomogram = path, tomogram
        self.imported = imported and bool(sets)
        self.on_first_save: Callable[[], None] | None = None
        self.revision = 0
        self.picks: dict[int, Pick] = {}
        self._done: list[Changes] = []
        self._undone: list[Changes] = []
        self._next = 1
        self._lock = threading.RLock()
        self._listeners: list[Callable[[Changes], None]] = []
        self._own = not imported and path.exists()  # whether `path` holds these picks
        self._fill(sets)
        self._stamp = self._on_disk()

    # --- edits -----------------------------------------------------------------------------------

    def add(self, position: Sequence[float], kind: str) -> int:
        """A new pick; returns its key."""
        with self._lock:
            key = self._next
            self._edit((Change(key, None, Pick(self._inside(position), kind)),))
            return key

    def move(self, key: int, position: Sequence[float], seen: Pick | None = None) -> None:
        """Move a pick; `seen` is how the tab knew it."""
        was = self._same(key, seen)
        self._edit((Change(key, was, replace(was, position=self._inside(position), score=None)),))

    def reclass(self, key: int, kind: str, seen: Pick | None = None) -> None:
        """Give a pick another class."""
        was = self._same(key, seen)
        if was.kind != kind:
            self._edit((Change(key, was, replace(was, kind=kind, score=None)),))

    def delete(self, keys: Sequence[int]) -> None:
        """Take picks away."""
        self._edit(tuple(Change(key, self._same(key, None), None) for key in keys))

    def snap(self, key: int, radius_vx: float) -> None:
        """Move a pick to the centre of mass of what stands out, dark or bright, within its radius."""
        was = self._same(key, None)
        self.move(key, centre_of_mass(self.tomogram, was.position, radius_vx))

    def undo(self) -> bool:
        """Take the last edit back; False where there is none."""
        return self._step(self._done, self._undone)

    def redo(self) -> bool:
        """Make the edit taken back last again; False where there is none."""
        return self._step(self._undone, self._done)

    @property
    def saved(self) -> bool:
        """Whether the file holds these picks."""
        return self._own

    @property
    def can_undo(self) -> bool:
        """Whether there is something to take back."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether something was taken back."""
        return bool(self._undone)

    # --- looking ---------------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """How many picks of each class."""
        return dict(Counter(pick.kind for pick in self.picks.values()))

    def particles(self) -> Particles:
        """As the rest of etpick knows them."""
        picks = list(self.picks.values())
        scores = [pick.score for pick in picks]
        return Particles(
            np.array([pick.position for pick in picks]).reshape(-1, 3),
            np.array([pick.kind for pick in picks], dtype=np.str_),
            np.array(scores, dtype=float) if scores and None not in scores else None,
            spacing_A=self.tomogram.spacing_A,
            tomogram=self.tomogram.name,
        )

    def on_change(self, listener: Callable[[Changes], None]) -> Callable[[], None]:
        """Call `listener` with every change until the function given back is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    # --- disk ------------------------------------------------------------------------------------

    def refresh(self) -> str:
        """Take up what another program has written; returns a sentence about it, or "" where nothing changed.

        What was here is kept in a file of its own. What can be undone ends there.
        """
        with self._lock:
            if not self._own or self._on_disk() == self._stamp:
                return ""
            kept = free_path(self.path.with_name(f"{self.path.stem}.before{self.path.suffix}"))
            write_picks(kept, self.particles(), tomogram_shape=self.tomogram.shape)
            before = dict(self.picks)
            sets = [read_picks(self.path, tomogram=self.tomogram)] if self.path.exists() else []
            self.picks, self._done, self._undone = {}, [], []
            self._fill(sets)
            self._stamp = self._on_disk()
            self._tell(
                (*(Change(k, p, None) for k, p in before.items()), *(Change(k, None, p) for k, p in self.picks.items()))
            )
            return f"{self.path.name} was changed by another program and read anew; what was here is in {kept.name}"

    def _edit(self, changes: Changes) -> None:
        with self._lock:
            if sentence := self.refresh():
                raise StaleEdit(f"{sentence}: look, and edit again")
            self._perform(changes)
            self._done.append(changes)
            self._undone.clear()
            self._tell(changes)

    def _step(self, source: list[Changes], target: list[Changes]) -> bool:
        with self._lock:
            if sentence := self.refresh():
                raise StaleEdit(f"{sentence}: nothing is left to undo")
            if not source:
                return False
            changes = tuple(change.undone() for change in reversed(source[-1]))
            self._perform(changes)
            source.pop()
            target.append(changes)
            self._tell(changes)
            return True

    def _perform(self, changes: Changes) -> None:
        """Make changes and save them; what cannot be saved has not happened."""
        self._apply(changes)
        try:
            self._save()
        except Exception:
            self._apply(tuple(change.undone() for change in reversed(changes)))
            raise

    def _apply(self, changes: Changes) -> None:
        for change in changes:
            if change.after is None:
                self.picks.pop(change.key, None)
            else:
                self.picks[change.key] = change.after
                self._next = max(self._next, change.key + 1)

    def _save(self) -> None:
        write_picks(self.path, self.particles(), tomogram_shape=self.tomogram.shape, overwrite=self._own)
        self._stamp = self._on_disk()
        if not self._own:
            self._own = True
            if self.on_first_save:
                self.on_first_save()

    def _tell(self, changes: Changes) -> None:
        self.revision += 1
        for listener in list(self._listeners):
            listener(changes)

    def _fill(self, sets: Sequence[Particles]) -> None:
        for particles in sets:
            scores = [None] * len(particles) if particles.scores is None else particles.scores.tolist()
            for position, kind, score in zip(
                particles.positions.tolist(), particles.classes.tolist(), scores, strict=True
            ):
                self.picks[self._next] = Pick(tuple(position), kind, score)
                self._next += 1

    def _same(self, key: int, seen: Pick | None) -> Pick:
        now = self.picks.get(key)
        if now is None:
            raise StaleEdit("this pick was deleted in another tab")
        if seen is not None and seen != now:
            raise StaleEdit("this pick was changed in another tab: look again")
        return now

    def _inside(self, position: Sequence[float]) -> tuple[float, float, float]:
        z, y, x = (
            round(float(np.clip(p, -0.5, n - 0.5)), 3) for p, n in zip(position, self.tomogram.shape, strict=True)
        )
        return z, y, x

    def _on_disk(self) -> tuple[int, int] | None:
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return None
        return stat.st_mtime_ns, stat.st_size


def centre_of_mass(tomogram: Tomogram, position: Sequence[float], radius_vx: float) -> list[float]:
    """Of what differs from the mean within a radius, zyx; the place itself where nothing stands out.

    Particles are dark in some tomograms and bright in others: the side of the mean with the longer tail counts.
    """
    centre, r = np.asarray(position, float), max(2.0, radius_vx)
    start = np.maximum(np.floor(centre - r).astype(int), 0)
    stop = np.minimum(np.ceil(centre + r).astype(int) + 1, tomogram.shape)
    z, y, x = (slice(a, b) for a, b in zip(start, stop, strict=True))
    block = np.asarray(tomogram.data[z, y, x], dtype=float)
    grid = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(start, stop, strict=True)), indexing="ij"))
    inside = ((grid - centre[:, None, None, None]) ** 2).sum(0) <= r * r
    levels = block[inside]
    deviation = (levels - levels.mean()) / (levels.std() or 1.0)
    side = -1.0 if np.mean(deviation**3) < 0 else 1.0
    weights = np.maximum(side * deviation - _SNAP_SIGMAS, 0)
    if not weights.sum():
        return list(position)
    centre_vx: list[float] = ((grid[:, inside] * weights).sum(axis=1) / weights.sum()).tolist()
    return centre_vx


def free_path(path: Path, taken: Collection[Path] = ()) -> Path:
    """The path, or one with a number where that is taken, by a file or otherwise."""
    number, free = 1, path
    while free.exists() or free in taken:
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
