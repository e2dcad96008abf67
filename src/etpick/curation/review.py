"""What somebody said of picks, kept on disk at once: FOLDER/reviewed/NAME.csv beside the picks of a model.

The file is a pick file: accepted picks with their class, rejected ones as `not-a-particle`, and what each was picked
as in the column `picked_as`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from etpick.curation.filters import Filters
from etpick.errors import InputError
from etpick.io.atomic import atomic_write
from etpick.io.picks import read_picks
from etpick.types import NEGATIVE, FloatArray, Particles

REVIEWED: Final = "reviewed"
CANDIDATES: Final = "candidates"
_FILTERS: Final = "filters.json"
_COLUMNS: Final = ("class", "x", "y", "z", "score", "picked_as", "spacing_A")
_SAME_VX: Final = 0.5  # what is picked again in another run at the same place is the same pick


@dataclass(frozen=True, eq=False)
class Decisions:
    """What was said of picks of one tomogram. particles: `not-a-particle` where rejected. picked_as: (n,) classes."""

    particles: Particles
    picked_as: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.picked_as)

    @classmethod
    def none(cls) -> Decisions:
        """Nothing was said."""
        return cls(Particles.empty(), np.zeros(0, dtype=np.str_))

    @property
    def rejected(self) -> NDArray[np.bool_]:
        """(n,) whether each was said to be no particle."""
        return np.asarray(self.particles.classes == NEGATIVE)

    def select(self, rows: NDArray[np.bool_]) -> Decisions:
        """Those at a mask."""
        return Decisions(self.particles.select(rows), self.picked_as[rows])


class Review:
    """The picks of one tomogram, with what was said of them; each word is on disk before the next.

    picks: the candidates with their scores where the folder holds them, else the picks above the thresholds.
    verdicts: (n,) "" where nothing was said, `not-a-particle` where rejected, else the class accepted.
    """

    def __init__(self, folder: Path | str, name: str) -> None:
        """Read FOLDER/candidates/NAME.csv, or FOLDER/NAME.csv, and what was said before. Raises InputError."""
        self.folder, self.name = Path(folder), name
        self.picks = read_picks(candidates_file(self.folder, name))
        self._said = read_decisions(self.file)  # those of picks that are there no more stay in the file
        self.verdicts = np.full(len(self.picks), "", dtype=object)
        rows, of = _pairs(self._said.particles.positions, self.picks.positions)
        self.verdicts[of] = self._said.particles.classes[rows]
        self._gone = self._said.select(~np.isin(np.arange(len(self._said)), rows))
        self._before: list[NDArray[np.object_]] = []

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return self.folder / REVIEWED / f"{self.name}.csv"

    @property
    def decisions(self) -> Decisions:
        """All that was said."""
        return read_decisions(self.file)

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """(n,) whether each pick was accepted."""
        return np.asarray((self.verdicts != "") & (self.verdicts != NEGATIVE), dtype=bool)

    @property
    def rejected(self) -> NDArray[np.bool_]:
        """(n,) whether each pick was rejected."""
        return np.asarray(self.verdicts == NEGATIVE, dtype=bool)

    def accept(self, rows: Sequence[int] | NDArray[np.intp], as_class: str | None = None) -> bool:
        """Say that these picks are particles, of the class that they were picked as or another; whether that is new."""
        return self._say({int(row): as_class or str(self.picks.classes[row]) for row in rows})

    def reject(self, rows: Sequence[int] | NDArray[np.intp]) -> bool:
        """Say that these picks are none; whether that is new."""
        return self._say({int(row): NEGATIVE for row in rows})

    def forget(self, rows: Sequence[int] | NDArray[np.intp]) -> bool:
        """Take back what was said of these picks; whether there was something."""
        return self._say({int(row): "" for row in rows})

    def undo(self) -> bool:
        """Take back the last `accept`, `reject` or `forget`; whether there was one."""
        if not self._before:
            return False
        self._write(self._before[-1])
        self.verdicts = self._before.pop()
        return True

    def chosen(self, above: NDArray[np.bool_]) -> Particles:
        """What is kept of the picks: accepted, or `above` the threshold and not rejected; classes as corrected."""
        keep = self.accepted | (above & ~self.rejected)
        names = np.where(self.accepted, self.verdicts, self.picks.classes).astype(np.str_)
        return replace(self.picks, classes=names).select(keep)

    def _say(self, verdicts: Mapping[int, str]) -> bool:
        changed = self.verdicts.copy()
        for row, verdict in verdicts.items():
            changed[row] = verdict
        if (changed == self.verdicts).all():
            return False
        self._write(changed)
        self._before.append(self.verdicts)
        self.verdicts = changed
        return True

    def _write(self, verdicts: NDArray[np.object_]) -> None:
        said = verdicts != ""
        picks = self.picks.select(said)
        scores = np.full(len(picks), np.nan) if picks.scores is None else picks.scores
        rows = _rows(picks.positions, verdicts[said], scores, picks.classes, self.picks.spacing_A)
        gone = self._gone.particles
        if len(gone):
            old = np.full(len(gone), np.nan) if gone.scores is None else gone.scores
            rows += _rows(gone.positions, gone.classes, old, self._gone.picked_as, gone.spacing_A)
        with atomic_write(self.file, overwrite=True) as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_COLUMNS)
            writer.writerows(rows)


def read_filters(folder: Path | str) -> Filters | None:
    """The thresholds and filters last chosen for the picks in a folder, or None. Raises InputError."""
    path = Path(folder) / REVIEWED / _FILTERS
    if not path.exists():
        return None
    try:
        return Filters.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path} cannot be read: {error}; remove it to begin with the model's thresholds") from None


def write_filters(folder: Path | str, filters: Filters) -> None:
    """Keep thresholds and filters beside the picks. Raises OutputError."""
    with atomic_write(Path(folder) / REVIEWED / _FILTERS, overwrite=True) as path:
        path.write_text(json.dumps(filters.to_dict(), indent=1) + "\n", encoding="utf-8")


def candidates_file(folder: Path, name: str) -> Path:
    """The file with all candidates of a tomogram, or with its picks where there is none such."""
    candidates = folder / CANDIDATES / f"{name}.csv"
    return candidates if candidates.exists() else folder / f"{name}.csv"


def reviewed_tomograms(folder: Path | str) -> dict[str, Path]:
    """The files with what was said of a model's picks, by the tomogram's name."""
    return {path.stem: path for path in sorted((Path(folder) / REVIEWED).glob("*.csv"))}


def read_decisions(path: Path) -> Decisions:
    """What a file says; nothing where there is none. Raises InputError."""
    if not path.exists():
        return Decisions.none()
    particles = read_picks(path)
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(line for line in file if line.strip() and not line.startswith("#"))
        picked_as = [row.get("picked_as") or row.get("class") or "" for row in table]
    if len(picked_as) != len(particles):
        raise InputError(f"{path} has {len(picked_as)} lines for {len(particles)} picks: restore it, or remove it")
    return Decisions(particles, np.array(picked_as, dtype=np.str_))


def _pairs(said: FloatArray, picks: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of `said` that are about one of `picks`, and the rows of those."""
    from scipy.spatial import KDTree

    if not len(said) or not len(picks):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    distances, nearest = KDTree(picks).query(said)
    rows = np.flatnonzero(distances < _SAME_VX)
    return rows, np.asarray(nearest, dtype=np.intp)[rows]


def _rows(
    positions: FloatArray, verdicts: NDArray[np.object_] | NDArray[np.str_], scores: FloatArray,
    picked_as: NDArray[np.str_], spacing_A: float | None,
) -> list[list[str]]:  # fmt: skip
    spacing = "" if spacing_A is None else f"{spacing_A:.7g}"
    return [
        [str(verdict), *(f"{v:.4f}" for v in (x, y, z)), "" if np.isnan(s) else f"{s:.7g}", str(was), spacing]
        for (z, y, x), verdict, s, was in zip(positions, verdicts, scores, picked_as, strict=True)
    ]
