"""What lies beside the project that is open: jobs, models, picks, and their curation."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from etpick.checkpoint import DESCRIPTION, STATE
from etpick.curation.review import candidates_file
from etpick.curation.session import Session, picked_tomograms
from etpick.errors import InputError
from etpick.io.project import read_project
from etpick.jobs import Job, JobQueue
from etpick.serve.workspace import Entry, Workspace
from etpick.types import NEGATIVE, Tomogram

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
    unfinished: bool = False

    @property
    def line(self) -> str:
        """`validation F1 0.93, 44 labels, 300 steps`."""
        f1 = "not validated" if self.f1 is None else f"validation F1 {self.f1:.3f}"
        return f"{f1}, {self.labels} labels, {'its training goes on' if self.unfinished else f'{self.steps} steps'}"


class Results:
    """The jobs, models and picks of the project that is open, read from the disk when asked: every tab sees the same.

    One for the server, so that tabs share what they say of picks. Methods raise InputError without a project.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._sessions: dict[Path, tuple[Any, Session]] = {}

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.workspace.folder

    @property
    def project(self) -> Path:
        """The project file."""
        return self.root / (self.workspace.path or Path()).name

    @property
    def queue(self) -> JobQueue:
        """The jobs of the project."""
        return JobQueue(self.root / "jobs")

    def entries(self) -> dict[str, Entry]:
        """The project's tomograms that can be opened, by name."""
        return {entry.name: entry for entry in self.workspace.entries if entry.tomogram}

    def tomograms(self) -> dict[str, Tomogram]:
        """The same, opened."""
        return {name: e.tomogram for name, e in self.entries().items() if e.tomogram}

    def stated_spacings(self) -> dict[str, float | None]:
        """What the project says of each tomogram's spacing, in Å; None where its header is believed."""
        content = read_project(self.project)
        stated = {(self.root / e.path).resolve(): e.spacing_A or content.spacing_A for e in content.tomograms}
        return {name: stated.get(entry.path) for name, entry in self.entries().items()}

    def reread(self) -> None:
        """Take up what a correction has written into the project."""
        self.workspace.open(self.project)

    def labels(self) -> dict[str, dict[str, int]]:
        """How many marks of each class each tomogram has, places without a particle among them."""
        return {name: self.workspace.counts(entry.key) for name, entry in self.entries().items()}

    # --- models and picks --------------------------------------------------------------------------

    def models(self) -> list[ModelFacts]:
        """Models that can pick, newest first; those whose training is not finished last."""
        folders = [p for p in (self.root / "models").glob("*") if (p / DESCRIPTION).is_file()]
        folders.sort(key=lambda p: (p / DESCRIPTION).stat().st_mtime, reverse=True)
        found = [facts for folder in folders if (facts := _facts(folder))]
        return sorted(found, key=lambda facts: facts.unfinished)

    def picked(self) -> dict[str, list[str]]:
        """The tomograms that each model has picked, by the model's name."""
        folders = sorted((self.root / "picked").glob("*"))
        return {p.name: names for p in folders if p.is_dir() and (names := picked_tomograms(p))}

    def newest_picked(self) -> str | None:
        """The newest model that has picked; None where none has."""
        picked = self.picked()
        return next((m.name for m in self.models() if m.name in picked), min(picked, default=None))

    def picked_folder(self, model: str) -> Path:
        """Where a model's picks are."""
        return self.root / "picked" / checked_name(model)

    def session(self, model: str) -> Session:
        """The curation of a model's picks, one for all tabs; made anew when they were picked anew."""
        folder, tomograms = self.picked_folder(model), self.tomograms()
        classes = self.workspace.classes
        files = [candidates_file(folder, name) for name in picked_tomograms(folder)]
        key = ([(n, t.path, t.spacing_A) for n, t in tomograms.items()], [(f, _changed(f)) for f in files])
        if self._sessions.get(folder, (None,))[0] != key:
            facts = next((m for m in self.models() if m.name == model), None)
            thresholds = dict.fromkeys((c.name for c in classes), 0.0) if facts is None else facts.thresholds
            self._sessions[folder] = (key, Session(folder, tomograms, thresholds))
        return self._sessions[folder][1]

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


@functools.cache
def results_of(workspace: Workspace) -> Results:
    """The one that all pages share."""
    return Results(workspace)


def checked_name(name: str) -> str:
    """The name itself; raises InputError where it is none for a folder."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a folder: use letters, digits, dots, - and _, beginning with a letter or digit"
        )
    return name


def real_labels(counts: Mapping[str, Mapping[str, int]]) -> int:
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
            (folder / STATE).exists(),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None
