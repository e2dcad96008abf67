"""How far a project's picks can be trusted, from its own labels alone. Behind `etpick crosscheck`.

Some labels are hidden and a model is trained on the rest: how many of the hidden does it find (label-dropout recall)?
The labels are split in two and a model is trained on each half: how often do they pick the same places? And do the
picks lie as particles can?
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from etpick.checkpoint import DESCRIPTION, STATE, Model, load_model
from etpick.config import TrainingConfig, recipe
from etpick.errors import InputError, TrainingError
from etpick.evaluation.comparison import find_places
from etpick.evaluation.matching import match, radii_vx
from etpick.evaluation.plausibility import Plausibility, plausibility
from etpick.io.atomic import atomic_write
from etpick.io.project import load_project
from etpick.io.run_folder import open_folder
from etpick.picking import Picker
from etpick.preparation import prepare
from etpick.progress import OnProgress
from etpick.training import train_model
from etpick.types import NEGATIVE, Dataset, ParticleClass, Particles, Tomogram, TrainingItem

FILE: Final = "result.json"
PAGE: Final = "crosscheck.html"
FEWEST: Final = 10  # labels that a class needs for some to be hidden

_MODELS: Final = ("hidden", "half-1", "half-2")
_PLACES: Final = 4000  # random ones, for what chance would find
_Z: Final = 1.96


@dataclass(frozen=True)
class Recall:
    """Hidden labels of a class found again. by_chance: the share that as many picks at random would find."""

    found: int
    hidden: int
    by_chance: float

    @property
    def share(self) -> float:
        """Found of hidden; NaN where none was hidden."""
        return self.found / self.hidden if self.hidden else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        if not self.hidden:
            return 0.0, 1.0
        n, p = self.hidden, self.share
        middle, half = (p + _Z**2 / (2 * n)), _Z * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
        return float((middle - half) / (1 + _Z**2 / n)), float((middle + half) / (1 + _Z**2 / n))


@dataclass(frozen=True)
class Agreement:
    """Two models' picks of a class. shared: places that both picked; by_chance: that random places would share."""

    one: int
    other: int
    shared: int
    by_chance: float

    @property
    def jaccard(self) -> float:
        """Shared of all places; NaN where there are none."""
        either = self.one + self.other - self.shared
        return self.shared / either if either else float("nan")


@dataclass(frozen=True, eq=False)
class Crosscheck:
    """Recall and agreement by class, and plausibility by tomogram and class (of the picks of the first model)."""

    classes: tuple[ParticleClass, ...]
    recall: Mapping[str, Recall]
    agreement: Mapping[str, Agreement]
    plausible: Mapping[str, Mapping[str, Plausibility]]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """To print."""
        lines = [f"note: {note}" for note in self.notes]
        for name, r in self.recall.items():
            low, high = r.interval
            lines.append(
                f"{name}: {r.found} of {r.hidden} hidden labels found again, {r.share:.0%} "
                f"({low:.0%} to {high:.0%}; by chance {r.by_chance:.0%})"
            )
        for name, a in self.agreement.items():
            lines.append(
                f"{name}: models of half the labels picked {a.one} and {a.other}, {a.shared} at the same places, "
                f"{a.jaccard:.0%} of all (by chance {a.by_chance:.0%})"
            )
        for tomogram, by_class in self.plausible.items():
            for name, found in by_class.items():
                lines += [f"{tomogram}, {name}: {remark}" for remark in found.remarks()]
        return lines

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "recall": {
                n: {"found": r.found, "hidden": r.hidden, "by_chance": r.by_chance, "interval": list(r.interval)}
                for n, r in self.recall.items()
            },
            "agreement": {
                n: {"one": a.one, "other": a.other, "shared": a.shared, "jaccard": _or_none(a.jaccard),
                    "by_chance": a.by_chance}
                for n, a in self.agreement.items()
            },
            "plausibility": {t: {n: p.to_dict() for n, p in by.items()} for t, by in self.plausible.items()},
            "notes": list(self.notes),
        }  # fmt: skip


def crosscheck(
    project: Path | str | Dataset,
    out: Path | str,
    *,
    hide: float = 0.2,
    halves: bool = True,
    network: str = "fast",
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    on_stage: Callable[[str], OnProgress] = lambda _: lambda _progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> Crosscheck:
    """Train on part of a project's labels, and hold the picks against the rest and against each other.

    `hide` is the share of the labels that the first model does not see; without `halves` it is the only one. All
    models train with partial labels, because what is hidden from them must not be learnt as background. The models are
    kept in OUT/hidden, OUT/half-1 and OUT/half-2, the answer in OUT/result.json. `options` are fields of
    `etpick.config.TrainingConfig`, of each training. Raises EtpickError.
    """
    if not 0 < hide < 1:
        raise InputError(f"a share of {hide:g} of the labels cannot be hidden: give one between 0 and 1, as 0.2")
    dataset = project if isinstance(project, Dataset) else load_project(project)
    config = recipe(network, **options)
    rng = np.random.default_rng(config.seed)
    chosen, few, notes = _hidden(dataset, hide, rng)
    half, _, _ = _hidden(dataset, 0.5, rng)
    kept = [np.isin(item.particles.classes, few) for item in dataset.items]
    seen = {
        "hidden": [~rows for rows in chosen], "half-1": [a | b for a, b in zip(half, kept, strict=True)],
        "half-2": [~rows for rows in half],
    }  # fmt: skip
    wanted = _MODELS if halves else _MODELS[:1]
    parts, too_small = _possible({name: _part(dataset, seen[name]) for name in wanted}, config)
    notes += too_small
    request = config.model_dump() | {"hide": hide, "halves": halves, "labels": _labels(dataset)}
    folder = open_folder(Path(out), "crosscheck", request, (*_MODELS, FILE, PAGE), resume=resume, overwrite=overwrite)
    picks: dict[str, list[Particles]] = {}
    for name, part in parts.items():
        model = _trained(part, config, Path(out) / name, device, on_stage(name), should_stop)
        picker = Picker(model, device=device)
        picks[name] = [picker(item.tomogram).picks for item in dataset.items]
    result = _judged(dataset, chosen, picks, notes, rng)
    with atomic_write(Path(out) / FILE, overwrite=True) as temporary:
        temporary.write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
    folder.finish()
    return result


def _labels(dataset: Dataset) -> str:
    """Tells other labels from these."""
    import hashlib

    content = b"".join(item.particles.positions.tobytes() for item in dataset.items)
    return f"{sum(len(item.real) for item in dataset.items)} labels, {hashlib.sha256(content).hexdigest()[:12]}"


def _hidden(
    dataset: Dataset, share: float, rng: np.random.Generator
) -> tuple[list[NDArray[np.bool_]], list[str], list[str]]:
    """Of each item which labels to hide, a share of each class; the classes with too few to hide any; notes of them."""
    chosen = [np.zeros(len(item.particles), dtype=bool) for item in dataset.items]
    few, notes = [], []
    for c in dataset.classes:
        mine = [np.flatnonzero(item.particles.classes == c.name) for item in dataset.items]
        rows = [(i, row) for i, own in enumerate(mine) for row in own]
        if len(rows) < FEWEST:
            few.append(c.name)
            notes.append(f"{c.name} has {len(rows)} labels: too few to hide some (fewer than {FEWEST})")
            continue
        for index in rng.permutation(len(rows))[: max(1, round(share * len(rows)))]:
            item, row = rows[index]
            chosen[item][row] = True
    if not any(rows.any() for rows in chosen):
        raise InputError(f"no class has {FEWEST} labels, of which some could be hidden: {'; '.join(notes)}")
    return chosen, few, notes


def _part(dataset: Dataset, seen: Sequence[NDArray[np.bool_]]) -> Dataset:
    """The data set with some of its labels, said to be partial; places marked as no particle stay."""
    items = tuple(
        replace(item, particles=item.particles.select(rows | (item.particles.classes == NEGATIVE)))
        for item, rows in zip(dataset.items, seen, strict=True)
    )
    return replace(dataset, items=items, partial_labels=True)


def _trained(
    dataset: Dataset, config: TrainingConfig, folder: Path, device: str, on_progress: OnProgress,
    should_stop: Callable[[], bool],
) -> Model:  # fmt: skip
    """The model in a folder: trained, or trained to its end where it was stopped."""
    started = (folder / STATE).exists()
    if not started and (folder / DESCRIPTION).exists() and (model := load_model(folder)).trained_on:
        return model
    return train_model(
        dataset, config, folder, resume=started, overwrite=True, device=device, on_progress=on_progress,
        should_stop=should_stop,
    )  # fmt: skip


def _possible(parts: Mapping[str, Dataset], config: TrainingConfig) -> tuple[dict[str, Dataset], list[str]]:
    """The parts that can be trained on, and a note where halves are too small; before hours are spent on the first.

    Raises TrainingError where the first part is too small.
    """
    possible = dict(parts)
    for name, part in parts.items():
        try:
            prepare(part, config, lambda _: None)
        except TrainingError as error:
            if name == _MODELS[0]:
                raise
            possible = {_MODELS[0]: parts[_MODELS[0]]}
            return possible, [f"no two models of half of the labels each: {error}"]
    return possible, []


def _judged(
    dataset: Dataset, hidden: Sequence[NDArray[np.bool_]], picks: Mapping[str, Sequence[Particles]],
    notes: Sequence[str], rng: np.random.Generator,
) -> Crosscheck:  # fmt: skip
    first = picks["hidden"]
    recall, agreement = {}, {}
    for c in dataset.classes:
        recall[c.name] = _recall(c, dataset.items, hidden, first, rng)
        if "half-1" in picks:
            agreement[c.name] = _agreement(c, dataset.items, picks["half-1"], picks["half-2"], rng)
    plausible = {
        item.tomogram.name: {
            c.name: plausibility(
                own.of_class(c.name).positions, item.tomogram.shape, c.diameter_A / item.tomogram.spacing_A
            )
            for c in dataset.classes
        }
        for item, own in zip(dataset.items, first, strict=True)
    }
    return Crosscheck(
        dataset.classes, {n: r for n, r in recall.items() if r.hidden}, agreement, plausible, tuple(notes)
    )  # fmt: skip


def _recall(
    kind: ParticleClass, items: Sequence[TrainingItem], hidden: Sequence[NDArray[np.bool_]],
    picks: Sequence[Particles], rng: np.random.Generator,
) -> Recall:  # fmt: skip
    """Hidden labels of a class with a pick of any class within their radius: is it found at all?"""
    found = count = 0
    chance = 0.0
    for item, rows, own in zip(items, hidden, picks, strict=True):
        mine = item.particles.select(rows).of_class(kind.name)
        radii = radii_vx(mine, (kind,), item.tomogram.spacing_A)
        found += len(match(own.positions, mine.positions, radii))
        count += len(mine)
        chance += len(mine) * _near_a_pick(item.tomogram, own.positions, kind, rng)
    return Recall(found, count, chance / count if count else 0.0)


def _near_a_pick(
    tomogram: Tomogram, positions: np.ndarray[Any, Any], kind: ParticleClass, rng: np.random.Generator
) -> float:
    """The share of random places within a radius of a pick."""
    from scipy.spatial import KDTree

    if not len(positions):
        return 0.0
    places = rng.uniform(0, np.array(tomogram.shape), (_PLACES, 3))
    nearest = np.asarray(KDTree(positions).query(places)[0])
    return float((nearest < kind.diameter_A / 2 / tomogram.spacing_A).mean())


def _agreement(
    kind: ParticleClass, items: Sequence[TrainingItem], one: Sequence[Particles], other: Sequence[Particles],
    rng: np.random.Generator,
) -> Agreement:  # fmt: skip
    counts, chance = np.zeros(3, dtype=int), 0.0
    for item, a, b in zip(items, one, other, strict=True):
        pair = [a.of_class(kind.name), b.of_class(kind.name)]
        places = find_places(pair, (kind,), item.tomogram.spacing_A)
        counts += [len(pair[0]), len(pair[1]), int(places.present.all(axis=1).sum())]
        chance += len(pair[0]) * _near_a_pick(item.tomogram, pair[1].positions, kind, rng)
    shared_by_chance = chance / max(counts[0] + counts[1] - chance, 1)
    return Agreement(int(counts[0]), int(counts[1]), int(counts[2]), float(shared_by_chance))


def _or_none(value: float) -> float | None:
    return None if value != value else value
