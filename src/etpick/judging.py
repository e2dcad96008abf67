"""Pick files scored against truth files, by the rule asked for."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etpick import __version__
from etpick.checkpoint import Model, load_model
from etpick.errors import InputError
from etpick.evaluation.curves import precision_recall
from etpick.evaluation.metrics import Evaluation, evaluate
from etpick.evaluation.rules import CziiScore, ShrecScore, czii_rule, shrec_rule
from etpick.io.pairing import pick_files_in
from etpick.io.picks import SEARCHED, read_picks, read_table
from etpick.io.sanity import same_spacing
from etpick.types import NEGATIVE, ParticleClass, Particles

RULES = ("radius", "shrec", "czii")


@dataclass(frozen=True, eq=False)
class Judged:
    """Picks against truth, one pair for each tomogram; `notes` say what had to be assumed."""

    names: tuple[str, ...]
    picks: tuple[Particles, ...]
    truths: tuple[Particles, ...]
    classes: tuple[ParticleClass, ...]
    spacings_A: tuple[float, ...]
    evaluation: Evaluation
    average_precision: Mapping[str, float]
    challenge: ShrecScore | CziiScore | None
    notes: tuple[str, ...]
    provenance: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return self.evaluation.to_dict() | {
            "average_precision": {name: _or_none(value) for name, value in self.average_precision.items()},
            "tomograms": list(self.names),
            "spacing_A": list(self.spacings_A),
            "diameters_A": {c.name: c.diameter_A for c in self.classes},
            "challenge": None if self.challenge is None else _challenge_dict(self.challenge),
            "notes": list(self.notes),
            "provenance": dict(self.provenance),
        }

    def rows(self) -> list[dict[str, Any]]:
        """For CSV: a row for each tomogram and class, then for all tomograms; `localisation` ignores the class."""
        each = zip(self.names, self.picks, self.truths, self.spacings_A, strict=True)
        parts = [(name, evaluate([p], [t], self.classes, s)) for name, p, t, s in each]
        return [
            {"tomogram": name, "class": what} | {k: "" if v is None else v for k, v in score.to_dict().items()}
            for name, e in [*parts, ("all", self.evaluation)]
            for what, score in [("localisation", e.localisation), *e.classification.items()]
        ]

    def lines(self) -> list[str]:
        """A table to print."""
        e = self.evaluation
        rows = [("localisation", e.localisation), *e.classification.items()]
        width = max(len(name) for name, _ in rows)
        head = " " * width + "       P      R     F1  AD/vx     AP  right wrong missed"
        lines = [*(f"note: {note}" for note in self.notes), head]
        for name, s in rows:
            ap = self.average_precision.get(name, math.nan)
            lines.append(
                f"{name:{width}}  {_text(s.precision):>6} {_text(s.recall):>6} {_text(s.f1):>6} "
                f"{_text(s.mean_distance_vx, 2):>6} {_text(ap):>6}  {s.tp:5d} {s.fp:5d} {s.fn:6d}"
            )
        if len(e.classification) > 1:
            lines.append(f"mean class F1 {_text(e.mean_class_f1)}")
        return [*lines, self.by_rule] if self.by_rule else lines

    @property
    def by_rule(self) -> str:
        """The score by the rule of a challenge, in a line; "" where none was asked for."""
        c = self.challenge
        if isinstance(c, ShrecScore):
            return (
                f"SHREC rule: P {_text(c.precision)}, R {_text(c.recall)}, F1 {_text(c.f1)}, "
                f"AD {_text(c.mean_distance_vx, 2)} voxels, mean class F1 {_text(c.mean_class_f1)}"
            )
        return "" if c is None else f"CZII rule: F-beta {_text(c.f_beta, 4)}"


def _text(value: float, digits: int = 3) -> str:
    """A number, or a dash where nothing was measured (NaN)."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def judge(
    picks: Path | str,
    truth: Path | str,
    *,
    model: Path | str | None = None,
    diameters_A: Mapping[str, float] | None = None,
    spacing_A: float | None = None,
    rule: str = "radius",
    occupancy: Path | str | None = None,
) -> Judged:
    """Score a pick file against a truth file, or a folder of them against a folder with the same names.

    Diameters come from `diameters_A`, else from the model. The spacing is the one given, else the pick
    file's own, else the truth's, else the one that the model's tomograms had; a note says so. A truth file
    without its pick file counts as a tomogram without picks; pick files without truth are named in a note.
    Raises InputError, also where a pick file and its truth state different spacings.
    """
    if rule not in RULES:
        raise InputError(f"rule {rule!r} is not known: use one of {', '.join(RULES)}")
    pairs, notes = _pairs(Path(picks), Path(truth))
    loaded = None if model is None else load_model(model)
    classes = classes_of(diameters_A or {}, loaded)
    names = [c.name for c in classes]
    true = [read_marked(t, names, spacing_A) for _, t in pairs]
    found = [Particles.empty() if p is None else read_marked(p, names, spacing_A) for p, _ in pairs]
    spacings = [
        _spacing(spacing_A, f, t, path, loaded, notes) for f, t, (_, path) in zip(found, true, pairs, strict=True)
    ]
    evaluation = evaluate(found, true, classes, spacings)
    notes += [
        f"{p.name} holds no picks" for f, (p, _) in zip(found, pairs, strict=True) if p is not None and not len(f)
    ]
    if not evaluation.localisation.tp and any(map(len, found)) and any(map(len, true)):
        notes.append(_far_apart(found, true))
    return Judged(
        tuple(t.stem for _, t in pairs), tuple(found), tuple(true), classes, tuple(spacings), evaluation,
        _average_precision(found, true, classes, spacings),
        _challenge(rule, found, true, classes, spacings, occupancy), tuple(notes),
        {
            "etpick": __version__, "picks": str(picks), "truth": str(truth), "rule": rule,
            "model": "" if model is None else str(model),
            "diameters": ", ".join(f"{c.name} {c.diameter_A:g} Å" for c in classes),
            "judged": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )  # fmt: skip


def _far_apart(found: Sequence[Particles], true: Sequence[Particles]) -> str:
    """Where picks and truth reach, to see another binning or exchanged axes."""
    reach = []
    for sets in (found, true):
        every = np.concatenate([s.positions for s in sets])
        low, high = every.min(axis=0), every.max(axis=0)
        reach.append(", ".join(f"{axis} {low[i]:.0f} to {high[i]:.0f}" for i, axis in ((2, "x"), (1, "y"), (0, "z"))))
    return f"no pick is near any true particle: picks reach {reach[0]}, the truth {reach[1]}; another binning, or axes?"


def read_marked(path: Path, classes: Sequence[str], spacing_A: float | None) -> Particles:
    """Particles with the spacing that their file states, or None; `spacing_A` only serves to read origins in Å."""
    stated_A = read_table(path, spacing_A=spacing_A).spacing_A
    marked = read_picks(path, classes=classes, spacing_A=spacing_A)
    return replace(marked.select(marked.classes != NEGATIVE), spacing_A=stated_A)


def _pairs(picks: Path, truth: Path) -> tuple[list[tuple[Path | None, Path]], list[str]]:
    """Each truth with its picks, and notes on what is missing on either side."""
    if picks.is_dir() != truth.is_dir():
        raise InputError(f"{picks} and {truth} must both be files, or both be folders")
    if not picks.is_dir():
        return [(picks, truth)], []
    truths, found = pick_files_in(truth), pick_files_in(picks)
    if not truths:
        raise InputError(f"{truth} holds no pick files ({', '.join(SEARCHED)})")
    if not set(truths) & set(found):
        raise InputError(f"no file in {picks} has the name of one in {truth}: {', '.join(sorted(truths)[:5])} …")
    pairs = [(found.get(name), path) for name, path in sorted(truths.items())]
    notes = [f"no pick file for {t.name}: counted as no picks" for p, t in pairs if p is None]
    if extra := [found[name].name for name in sorted(set(found) - set(truths))]:
        notes.append(f"no truth for {', '.join(extra)}: left out")
    return pairs, notes


def classes_of(diameters_A: Mapping[str, float], model: Model | None) -> tuple[ParticleClass, ...]:
    """The classes with the diameters given, else the model's. Raises InputError without either."""
    if diameters_A:
        return tuple(ParticleClass(name, diameter) for name, diameter in diameters_A.items())
    if model is None:
        raise InputError("how near is right depends on the diameter: pass --model, or --diameter NAME=Å for each class")
    return model.classes


def _spacing(
    given: float | None, found: Particles, true: Particles, path: Path, model: Model | None, notes: list[str]
) -> float:
    if found.spacing_A and true.spacing_A and not same_spacing(found.spacing_A, true.spacing_A):
        raise InputError(
            f"the picks for {path.name} are in voxels of {found.spacing_A:g} Å, the truth in voxels of "
            f"{true.spacing_A:g} Å: bring both to the voxels of one tomogram first"
        )
    known = given or found.spacing_A or true.spacing_A
    if known is not None:
        return float(known)
    native = [] if model is None else list(model.trained_on.get("native_spacing_A", []))
    if len(native) != 1:
        raise InputError(f"neither {path} nor its picks say the tomogram's spacing: pass --spacing, the Å per voxel")
    notes.append(f"no spacing given for {path.name}: {native[0]:g} Å taken, as of the tomograms trained on")
    return float(native[0])


def _average_precision(
    found: Sequence[Particles],
    true: Sequence[Particles],
    classes: Sequence[ParticleClass],
    spacings: Sequence[float],
) -> dict[str, float]:
    """By class name and for `localisation`; empty where picks carry no scores."""
    if any(f.scores is None or not np.isfinite(f.scores).all() for f in found):
        return {}
    curves = precision_recall(found, true, classes, spacings)
    return {"localisation": curves.localisation.average_precision} | {
        name: curve.average_precision for name, curve in curves.classification.items()
    }


def _challenge(
    rule: str, found: Sequence[Particles], true: Sequence[Particles], classes: Sequence[ParticleClass],
    spacings: Sequence[float], occupancy: Path | str | None,
) -> ShrecScore | CziiScore | None:  # fmt: skip
    if rule == "czii":
        return czii_rule(found, true, classes, spacings)
    if rule == "shrec":
        if occupancy is None or len(found) != 1:
            raise InputError(
                "the SHREC rule scores one tomogram on its occupancy volume: pass one pair and --occupancy"
            )
        return shrec_rule(found[0], true[0], read_occupancy(Path(occupancy)), classes)
    return None


def read_occupancy(path: Path) -> NDArray[np.integer]:
    """Particle number per voxel [z, y, x] from .npz (its first array), .npy or MRC. Raises InputError."""
    try:
        if path.suffix in (".npz", ".npy"):
            with path.open("rb") as file:  # numpy leaves a damaged file open
                content = np.load(file, allow_pickle=False)
                volume = content[content.files[0]] if path.suffix == ".npz" else content
        else:
            from etpick.io.mrc import read_mrc

            volume = np.asarray(read_mrc(path).data)
    except (OSError, EOFError, ValueError, IndexError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be read as an occupancy volume: {error}") from None
    return np.asarray(volume, dtype=np.int64)


def _challenge_dict(score: ShrecScore | CziiScore) -> dict[str, Any]:
    if isinstance(score, CziiScore):
        by_class = {name: _or_none(value) for name, value in score.by_class.items()}
        return {"rule": "czii", "f_beta": _or_none(score.f_beta), "by_class": by_class}
    return {
        "rule": "shrec", "precision": score.precision, "recall": score.recall, "f1": score.f1,
        "mean_distance_vx": _or_none(score.mean_distance_vx), "mean_class_f1": _or_none(score.mean_class_f1),
    }  # fmt: skip
