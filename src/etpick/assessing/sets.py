"""The picks of the sets to assess: read, compared with each other, and at most so many of each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from etpick.config import AssessmentConfig
from etpick.errors import InputError
from etpick.evaluation.comparison import find_places, joined, region_name
from etpick.extraction.plan import MOST_OUTSIDE, in_voxels_of
from etpick.io.pairing import find_picks
from etpick.io.sanity import describe_outside, is_outside
from etpick.types import NEGATIVE, ParticleClass, Particles, Tomogram

FEWEST: Final = 20
"""Particles that an average is made of, at least."""


def gather(
    sets: Mapping[str, Path], tomograms: Mapping[Path, Tomogram], kind: ParticleClass, picks_spacing_A: float | None
) -> tuple[dict[str, dict[Path, Particles]], list[str]]:
    """Of each set the picks of the class in each tomogram, in its voxels; and notes."""
    gathered: dict[str, dict[Path, Particles]] = {}
    notes = []
    for name, source in sets.items():
        files = find_picks(source, list(tomograms))
        read = {path: in_voxels_of(tomograms[path], file, picks_spacing_A) for path, file in files.items()}
        labels = sorted({str(label) for picks in read.values() for label in picks.classes} - {NEGATIVE})
        wanted = kind.name
        if kind.name not in labels and len(labels) == 1:
            wanted = labels[0]
            notes.append(f"the picks of {name} are called {wanted}: taken for {kind.name}")
        mine = {path: picks.of_class(wanted) for path, picks in read.items()}
        inside = {path: ~is_outside(picks.positions, tomograms[path].shape) for path, picks in mine.items()}
        _refuse_strangers(source, mine, inside, tomograms)
        gathered[name] = {
            path: replace(own, classes=np.array([kind.name] * len(own), dtype=np.str_))
            for path, picks in mine.items()
            if len(own := picks.select(inside[path]))
        }
        if not gathered[name]:
            raise InputError(f"{source} has no picks of {kind.name}; it has {', '.join(labels) or 'none at all'}")
        if without := len(tomograms) - len(gathered[name]):
            notes.append(f"{name} has no picks of {kind.name} in {without} of {len(tomograms)} tomograms")
    return gathered, notes


def _refuse_strangers(
    source: Path, picks: Mapping[Path, Particles], inside: Mapping[Path, NDArray[np.bool_]],
    tomograms: Mapping[Path, Tomogram],
) -> None:  # fmt: skip
    """Raise InputError where so many picks lie outside that the set must be for other tomograms."""
    count, outside = sum(map(len, picks.values())), sum(int((~rows).sum()) for rows in inside.values())
    if count and outside > MOST_OUTSIDE * count:
        path = max(inside, key=lambda one: int((~inside[one]).sum()))
        problem = describe_outside(picks[path].positions, tomograms[path].shape)
        raise InputError(f"{source} does not fit {tomograms[path].name}: {problem}")


def differences_of(
    gathered: Mapping[str, Mapping[Path, Particles]], kind: ParticleClass
) -> dict[str, dict[Path, Particles]]:
    """What all sets share, and what each has alone, as sets."""
    names = list(gathered)
    wanted = [(True,) * len(names), *(tuple(i == j for i in range(len(names))) for j in range(len(names)))]
    found: dict[str, dict[Path, Particles]] = {region_name(region, names): {} for region in wanted}
    for path in dict.fromkeys(path for rows in gathered.values() for path in rows):
        each = [rows.get(path, Particles.empty()) for rows in gathered.values()]
        spacing_A = next(float(p.spacing_A) for p in each if p.spacing_A)
        places = find_places(each, (kind,), spacing_A)
        for region in wanted:
            at = places.regions()[region]
            if len(at):
                found[region_name(region, names)][path] = places.picks(at)
    return found


def choose(
    gathered: Mapping[str, Mapping[Path, Particles]], config: AssessmentConfig
) -> tuple[dict[str, dict[Path, Particles]], list[str]]:
    """At most `particles` of each set, drawn at random; sets too small for an average are left out."""
    chosen: dict[str, dict[Path, Particles]] = {}
    notes = []
    for name, rows in gathered.items():
        count = sum(map(len, rows.values()))
        if count < FEWEST:
            notes.append(f"{name}: {count} picks, too few for an average (fewer than {FEWEST}), left out")
            continue
        limit = config.particles or count
        kept = np.sort(np.random.default_rng(config.seed).permutation(count)[:limit])
        if limit < count:
            notes.append(f"{name}: {limit} of {count} picks, drawn at random")
        starts = np.cumsum([0, *map(len, rows.values())])
        parts = {
            path: picks.select(kept[(kept >= start) & (kept < start + len(picks))] - start)
            for (path, picks), start in zip(rows.items(), starts, strict=False)
        }
        chosen[name] = {path: picks for path, picks in parts.items() if len(picks)}
    if not chosen:
        raise InputError(f"no set has {FEWEST} picks, the fewest that an average is made of: {'; '.join(notes)}")
    return chosen, notes


def digest(rows: Mapping[Path, Particles]) -> str:
    """Tells other picks from these."""
    positions = joined(list(rows.values())).positions
    return f"{len(positions)} picks, {hashlib.sha256(positions.tobytes()).hexdigest()[:12]}"
