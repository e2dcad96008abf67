"""What lies beside a project file: models, picks, jobs; and the tomograms that it lists, opened."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from etpick.checkpoint import DESCRIPTION, STATE
from etpick.curation.review import candidates_file
from etpick.curation.session import Session, picked_tomograms
from etpick.errors import EtpickError, InputError
from etpick.io.picks import read_picks
from etpick.io.project import COLORS, ProjectFile, TomogramEntry, open_entry, read_project
from etpick.io.table import tomogram_name
from etpick.jobs import Job, JobQueue
from etpick.types import NEGATIVE, ParticleClass, Tomogram

TRAINING_MINUTES: Final = 20.0  # where nobody said how long
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class ModelFacts:
    """A model folder, as its description tells; `f1` of localisation on validation, None where nothing was judged."""

    name: str
    folder: Path
    classes: tuple[str, ...]
    thresholds: Mapping[str, float]
    f1: float | None
    labels: int
    steps: int

    @property
    def line(self) -> str:
        """`validation F1 0.93, 44 labels, 300 steps`."""
        f1 = "not validated" if self.f1 is None else f"validation F1 {self.f1:.3f}"
        return f"{f1}, {self.labels} labels, {self.steps} steps"


@dataclass
class Workspace:
    """A project and the folders beside it. Reads the disk when asked, so that every tab sees the same."""

    project: Path
    _opened: dict[str, tuple[Any, Tomogram]] = field(default_factory=dict)
    _sessions: dict[str, tuple[Any, Session]] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.project.parent

    @property
    def queue(self) -> JobQueue:
        """The jobs of the project."""
        return JobQueue(self.root / "jobs")

    def read(self) -> ProjectFile:
        """The project file. Raises InputError."""
        return read_project(self.project)

    def classes(self) -> tuple[ParticleClass, ...]:
        """The project's classes, with the colours they are drawn in."""
        entries = enumerate(self.read().classes)
        return tuple(ParticleClass(e.name, e.diameter_A, e.color or COLORS[i % len(COLORS)]) for i, e in entries)

    def entries(self) -> dict[str, TomogramEntry]:
        """The tomograms that the project lists, by name."""
        return {tomogram_name(entry.path): entry for entry in self.read().tomograms}

    def tomogram(self, name: str) -> Tomogram:
        """A tomogram, opened once. Raises InputError."""
        entries = self.entries()
        if name not in entries:
            raise InputError(f"the project does not list the tomogram {name}: it has {', '.join(entries)}")
        entry = entries[name]
        key = (entry, self.read().spacing_A, _changed(self.root / entry.path))
        if self._opened.get(name, (None,))[0] != key:
            self._opened[name] = (key, open_entry(self.root, entry, self.read().spacing_A))
        return self._opened[name][1]

    def tomograms(self) -> dict[str, Tomogram]:
        """All that can be opened; others are passed over."""
        found = {}
        for name in self.entries():
            try:
                found[name] = self.tomogram(name)
            except EtpickError:
                continue
        return found

    def labels(self) -> dict[str, Counter[str]]:
        """How many marks of each class each tomogram has, places without a particle among them. Raises InputError."""
        names = [c.name for c in self.read().classes]
        counts: dict[str, Counter[str]] = {}
        for name, entry in self.entries().items():
            counts[name] = Counter()
            for path in (self.root / p for p in entry.picks):
                if path.exists():
                    found = read_picks(path, classes=names, tomogram=self.tomogram(name), binning=entry.binning)
                    counts[name].update(str(c) for c in found.classes)
        return counts

    # --- models and picks --------------------------------------------------------------------------

    def models(self) -> list[ModelFacts]:
        """Models that can pick, newest first."""
        folders = [p for p in (self.root / "models").glob("*") if (p / DESCRIPTION).is_file()]
        folders.sort(key=lambda p: (p / DESCRIPTION).stat().st_mtime, reverse=True)
        return [facts for folder in folders if (facts := _facts(folder))]

    def picked(self) -> dict[str, list[str]]:
        """The tomograms that each model has picked, by the model's name."""
        folders = sorted((self.root / "picked").glob("*"))
        return {p.name: names for p in folders if p.is_dir() and (names := picked_tomograms(p))}

    def picked_folder(self, model: str) -> Path:
        """Where a model's picks are."""
        return self.root / "picked" / checked_name(model)

    def session(self, model: str) -> Session:
        """The curation of a model's picks, one for all tabs; made anew when they were picked anew."""
        folder, tomograms = self.picked_folder(model), self.tomograms()
        key = (tuple(tomograms), tuple((n, _changed(candidates_file(folder, n))) for n in picked_tomograms(folder)))
        if self._sessions.get(model, (None,))[0] != key:
            facts = next((m for m in self.models() if m.name == model), None)
            thresholds = dict.fromkeys((c.name for c in self.classes()), 0.0) if facts is None else facts.thresholds
            self._sessions[model] = (key, Session(folder, tomograms, thresholds))
        return self._sessions[model][1]

    def train_again(self) -> Job:
        """Queue a training as the last one was, into a new folder. Raises EtpickError."""
        last = next((job for job in reversed(self.queue.jobs()) if job.kind == "train"), None)
        options = {} if last is None else {k: v for k, v in last.arguments.items() if k not in ("project", "out")}
        options = options or {"max_minutes": TRAINING_MINUTES}
        return self.queue.add("train", project=self.project, out=self.model_folder(self.free_name()), **options)

    def model_folder(self, name: str) -> Path:
        """Where a model is, or will be. Raises InputError for a name that is none for a folder."""
        return self.root / "models" / checked_name(name)

    def free_name(self) -> str:
        """A name for the next model: model-1, model-2 …"""
        taken = {p.name for p in (self.root / "models").glob("*")} | {
            Path(str(job.arguments.get("out", ""))).name for job in self.queue.jobs() if job.kind == "train"
        }
        return next(f"model-{n}" for n in range(1, 10_000) if f"model-{n}" not in taken)

    def is_taken(self, name: str) -> bool:
        """Whether a folder of that name holds a model or an unfinished training."""
        folder = self.model_folder(name)
        return (folder / DESCRIPTION).exists() or (folder / STATE).exists()


def checked_name(name: str) -> str:
    """The name itself; raises InputError where it is none for a folder."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a folder: use letters, digits, dots, - and _, beginning with a letter or digit"
        )
    return name


def real_labels(counts: Mapping[str, Counter[str]]) -> int:
    """Marks of particles in all tomograms, without places marked as none."""
    return sum(n for each in counts.values() for name, n in each.items() if name != NEGATIVE)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _facts(folder: Path) -> ModelFacts | None:
    try:
        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        on, place = content["trained_on"], content["validation"].get("localisation", {})
        return ModelFacts(
            folder.name, folder, tuple(c["name"] for c in content["classes"]),
            {c["name"]: float(c["threshold"]) for c in content["classes"]}, place.get("f1"),
            sum(on.get("labels", {}).values()), int(on.get("steps", 0)),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None
