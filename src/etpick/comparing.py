"""Pick files of several sets compared: read → pair by tomogram → find places → what they share, as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from etpick.checkpoint import load_model
from etpick.errors import InputError
from etpick.evaluation.comparison import Places, counts, find_places, region_name
from etpick.evaluation.curves import Curve, precision_recall
from etpick.evaluation.metrics import Evaluation, evaluate
from etpick.io.atomic import atomic_write, refuse_existing
from etpick.io.pairing import pick_files_in
from etpick.io.picks import write_picks
from etpick.io.sanity import same_spacing
from etpick.judging import classes_of, read_marked
from etpick.types import ParticleClass, Particles

MOST_SETS: Final = 6  # 63 regions; more cannot be looked at


@dataclass(frozen=True, eq=False)
class Against:
    """A set held against the set chosen as reference."""

    evaluation: Evaluation
    curve: Curve | None  # None where picks carry no scores


@dataclass(frozen=True, eq=False)
class Compared:
    """Several sets of picks in the same tomograms.

    names: of the sets. tomograms: their names. places: of each tomogram. against: by set name, where a reference was
    chosen. `notes` say what had to be assumed.
    """

    names: tuple[str, ...]
    tomograms: tuple[str, ...]
    classes: tuple[ParticleClass, ...]
    spacing_A: float
    places: tuple[Places, ...]
    reference: str | None
    against: Mapping[str, Against]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """Counts to print: each region by tomogram, then pairs of sets, then each set against the reference."""
        lines = [f"note: {note}" for note in self.notes]
        rows = [
            (region_name(region, self.names), [len(p.regions()[region]) for p in self.places], total)
            for region, total in counts(self.places).items()
        ]
        width = max(len(name) for name, _, _ in rows)
        several = len(self.tomograms) > 1
        head = "".join(f" {name[:14]:>14}" for name in self.tomograms) if several else ""
        lines.append(f"{'places with picks of':{width}}{head} {'all' if several else 'picks':>8}")
        for name, each, total in rows:
            lines.append(f"{name:{width}}{''.join(f' {n:>14}' for n in each) if several else ''} {total:>8}")
        lines += [self._pair_line(i, j) for i, j in self.pairs()]
        for name, against in self.against.items():
            s = against.evaluation.localisation
            lines.append(
                f"{name} against {self.reference}: precision {s.precision:.3f}, recall {s.recall:.3f}, F1 {s.f1:.3f}"
            )
        return lines

    def pairs(self) -> list[tuple[int, int]]:
        """Set numbers, each pair once."""
        return [(i, j) for j in range(len(self.names)) for i in range(j)]

    def pair(self, one: int, other: int, places: Sequence[Places] | None = None) -> dict[str, float]:
        """What two sets share, in all tomograms or in those of `places`: how many places, their distance in voxels, the
        share of equal classes, and Jaccard's index."""
        places = self.places if places is None else places
        distances = np.concatenate([p.distances_vx(one, other) for p in places])
        same = np.concatenate([p.same_class(one, other) for p in places])
        either = sum(int((p.present[:, one] | p.present[:, other]).sum()) for p in places)
        return {
            "shared": len(distances),
            "jaccard": len(distances) / either if either else float("nan"),
            "median_distance_vx": float(np.median(distances)) if len(distances) else float("nan"),
            "same_class": float(same.mean()) if len(same) else float("nan"),
        }

    def _pair_line(self, one: int, other: int) -> str:
        p, (a, b) = self.pair(one, other), (self.names[one], self.names[other])
        if not p["shared"]:
            return f"{a} and {b} share no place"
        what = "" if len(self.classes) == 1 else f", {p['same_class']:.0%} of them of one class"
        return (
            f"{a} and {b}: {p['jaccard']:.0%} of their places shared, "
            f"{p['median_distance_vx']:.2f} voxels apart (median){what}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "sets": list(self.names), "spacing_A": self.spacing_A,
            "tomograms": {
                name: {
                    "places": {region_name(r, self.names): len(at) for r, at in places.regions().items()},
                    "pairs": self._pairs_dict([places]),
                }
                for name, places in zip(self.tomograms, self.places, strict=True)
            },
            "total": {region_name(r, self.names): n for r, n in counts(self.places).items()},
            "pairs": self._pairs_dict(self.places),
            "reference": self.reference,
            "against_reference": {name: a.evaluation.to_dict() for name, a in self.against.items()},
            "notes": list(self.notes),
        }  # fmt: skip

    def _pairs_dict(self, places: Sequence[Places]) -> dict[str, dict[str, float | None]]:
        return {
            f"{self.names[i]} and {self.names[j]}": {k: _or_none(v) for k, v in self.pair(i, j, places).items()}
            for i, j in self.pairs()
        }

    def write(self, folder: Path, *, overwrite: bool = False) -> list[Path]:
        """The picks of each region as FOLDER/REGION/TOMOGRAM.csv and .star, and FOLDER/compare.json.

        Where several sets have a pick at a place, the first one's is written. A region without picks in a tomogram
        has no file of it. Raises OutputError, before anything is written, where a file exists.
        """
        order = [c.name for c in self.classes]
        files = {
            folder / region_name(region, self.names).replace(" ", "-") / f"{name}.{suffix}": (name, places, at)
            for name, places in zip(self.tomograms, self.places, strict=True)
            for region, at in places.regions().items()
            for suffix in ("csv", "star")
        }
        summary = folder / "compare.json"
        for path in (*files, summary):
            refuse_existing(path, overwrite)
        written = []
        for path, (name, places, at) in files.items():
            if not len(at):
                path.unlink(missing_ok=True)  # from an earlier comparison
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            picks = replace(places.picks(at), tomogram=name, spacing_A=self.spacing_A)
            written.append(write_picks(path, picks, classes=order, overwrite=overwrite))
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(summary, overwrite=overwrite) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")
        return [*written, summary]


def compare(
    sets: Sequence[Path | str],
    *,
    names: Sequence[str] = (),
    model: Path | str | None = None,
    diameters_A: Mapping[str, float] | None = None,
    spacing_A: float | None = None,
    reference: str | None = None,
) -> Compared:
    """Compare two or more sets of picks, each a file, or a folder with a file for each tomogram.

    Folders are paired by the names of their files; a tomogram that a set lacks counts as one without picks of it.
    `names` are the sets' own names, from the paths if not given; `reference`, one of them, is what the other sets
    are scored against. Diameters come from `diameters_A`, else from the model; picks within half a diameter of
    each other are at one place. Raises InputError.
    """
    paths = [Path(path) for path in sets]
    if not 2 <= len(paths) <= MOST_SETS:
        raise InputError(f"{len(paths)} set{'s' * (len(paths) != 1)} of picks: give two to {MOST_SETS}")
    named = names_of(paths, names)
    if reference is not None and reference not in named:
        raise InputError(f"there is no set {reference!r} to be the reference: the sets are {', '.join(named)}")
    files, notes = _by_tomogram(paths, named)
    classes = classes_of(diameters_A or {}, None if model is None else load_model(model))
    order = [c.name for c in classes]
    read = {
        name: [Particles.empty() if p is None else read_marked(p, order, spacing_A) for p in row]
        for name, row in files.items()
    }
    spacing = _spacing([p for row in read.values() for p in row], spacing_A)
    places = tuple(find_places(row, classes, spacing) for row in read.values())
    against = (
        {} if reference is None else _against(named.index(reference), named, list(read.values()), classes, spacing)
    )
    return Compared(named, tuple(read), classes, spacing, places, reference, against, tuple(notes))


def names_of(paths: Sequence[Path], names: Sequence[str]) -> tuple[str, ...]:
    """The names given, or what tells the paths apart: their ends, as long as needed."""
    if names and len(names) != len(paths):
        raise InputError(f"{len(names)} names for {len(paths)} sets: give a name for each, or none")
    chosen = tuple(names) or _telling([p.resolve().with_suffix("") if p.is_file() else p.resolve() for p in paths])
    if len(set(chosen)) < len(chosen):
        raise InputError(f"two sets have the same name ({', '.join(chosen)}): tell them apart with --name")
    if bad := [name for name in chosen if "/" in name or name.startswith(".") or not name.strip()]:
        raise InputError(f"a set cannot be named {bad[0]!r}: its name becomes that of a folder")
    return chosen


def _telling(paths: Sequence[Path]) -> tuple[str, ...]:
    longest = max(len(p.parts) for p in paths)
    for length in range(1, longest):
        ends = tuple("_".join(p.parts[-length:]) for p in paths)
        if len(set(ends)) == len(ends):
            return ends
    return tuple(p.name for p in paths)


def _by_tomogram(paths: Sequence[Path], names: Sequence[str]) -> tuple[dict[str, list[Path | None]], list[str]]:
    """For each tomogram the file of each set, or None where it has none."""
    if len({path.is_dir() for path in paths}) > 1:
        raise InputError(f"{', '.join(map(str, paths))}: give files of one tomogram, or folders, not both")
    if not paths[0].is_dir():
        return {paths[0].stem: list(paths)}, []
    folders = [pick_files_in(path) for path in paths]
    if empty := [path for path, found in zip(paths, folders, strict=True) if not found]:
        raise InputError(f"{empty[0]} holds no pick files")
    tomograms = sorted(set().union(*folders))
    if len(tomograms) == sum(map(len, folders)):
        raise InputError(
            f"no two of the folders have a file of the same name ({', '.join(tomograms[:5])} …): files are paired "
            "by the tomogram's name"
        )
    notes = [
        f"{name} has no picks of {', '.join(absent)}: counted as none"
        for name, found in zip(names, folders, strict=True)
        if (absent := [t for t in tomograms if t not in found])
    ]
    return {t: [found.get(t) for found in folders] for t in tomograms}, notes


def _spacing(picks: Sequence[Particles], given_A: float | None) -> float:
    """The one spacing of all picks. Raises InputError where they state different ones, or none."""
    stated = [float(p.spacing_A) for p in picks if p.spacing_A]
    if given_A is not None:
        return given_A
    if not stated:
        raise InputError("no pick file says the tomogram's spacing: pass --spacing, the Å per voxel")
    if other := [s for s in stated if not same_spacing(s, stated[0])]:
        raise InputError(
            f"picks are in voxels of {stated[0]:g} Å and of {other[0]:g} Å: bring all to the voxels of one tomogram "
            "first"
        )
    return stated[0]


def _against(
    reference: int, names: Sequence[str], rows: Sequence[Sequence[Particles]], classes: tuple[ParticleClass, ...],
    spacing_A: float,
) -> dict[str, Against]:  # fmt: skip
    truths = [row[reference] for row in rows]
    spacings = [spacing_A] * len(rows)
    result = {}
    for number, name in enumerate(names):
        if number == reference:
            continue
        picks = [row[number] for row in rows]
        ranked = all(len(p) == 0 or (p.scores is not None and np.isfinite(p.scores).all()) for p in picks)
        curve = precision_recall(picks, truths, classes, spacings).localisation if ranked else None
        result[name] = Against(evaluate(picks, truths, classes, spacings), curve)
    return result


def _or_none(value: float) -> float | None:
    return None if value != value else value
