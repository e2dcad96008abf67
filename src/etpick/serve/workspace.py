"""The project that is open on the server: what every tab sees, and the only place where it is changed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from etpick.errors import EtpickError, InputError
from etpick.inspection import inspect_tomogram
from etpick.io.pairing import labels_beside
from etpick.io.picks import read_picks
from etpick.io.project import Labels, ProjectFile, classes_of, open_entry, read_project
from etpick.io.project_edit import add_tomograms, new_project, set_classes, set_labels, set_picks, set_validation
from etpick.io.sanity import describe_outside, describe_spacing
from etpick.io.table import tomogram_name
from etpick.io.tomograms import find_tomograms
from etpick.serve.access import Roots
from etpick.serve.annotation import Document, free_path
from etpick.types import ParticleClass, Particles, Tomogram


@dataclass(frozen=True, eq=False)
class Entry:
    """A tomogram of the project. `key` names it in addresses; `problem` says why it cannot be opened, if so."""

    key: str
    path: Path
    picks: tuple[Path, ...]
    validate: bool
    tomogram: Tomogram | None
    problem: str = ""

    @property
    def name(self) -> str:
        """The tomogram's name."""
        return self.tomogram.name if self.tomogram else self.path.name


class Workspace:
    """At most one open project. Raises InputError for whatever cannot be done, in words for the page."""

    def __init__(self, roots: Roots) -> None:
        self.roots = roots
        self.path: Path | None = None
        self.notes: list[str] = []  # what was left out when tomograms were added, and why
        self._content: ProjectFile | None = None
        self._entries: tuple[Entry, ...] = ()
        self._documents: dict[str, Document] = {}
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []

    # --- what is open ----------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The folder of the project file, beside which results are kept."""
        return self._project().parent

    @property
    def classes(self) -> tuple[ParticleClass, ...]:
        """The project's classes."""
        return classes_of(self._content) if self._content else ()

    @property
    def labels(self) -> Labels:
        """Whether every particle is marked."""
        return self._content.labels if self._content else "complete"

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The project's tomograms."""
        return self._entries

    def entry(self, key: str) -> Entry:
        """The tomogram of a key."""
        for entry in self._entries:
            if entry.key == key:
                return entry
        raise InputError("this tomogram is not in the project (any more): go to the Project page")

    def tomogram(self, key: str) -> Tomogram:
        """The tomogram of a key, opened (memory-mapped)."""
        entry = self.entry(key)
        if entry.tomogram is None:
            raise InputError(entry.problem)
        return entry.tomogram

    def document(self, key: str) -> Document:
        """The annotations of a tomogram, one for all tabs."""
        with self._lock:
            if key not in self._documents:
                entry, tomogram = self.entry(key), self.tomogram(key)
                own = self._own_file(entry)
                document = Document(own, tomogram, self._read_picks(entry, tomogram), imported=entry.picks != (own,))
                document.on_first_save = lambda: self._point_to(entry, own)
                self._documents[key] = document
            return self._documents[key]

    def counts(self, key: str) -> dict[str, int]:
        """Picks of each class, and of none, in a tomogram."""
        return self.document(key).counts()

    def warnings(self, key: str) -> list[str]:
        """What `etpick info` warns of in a tomogram and its picks."""
        entry, tomogram = self.entry(key), self.tomogram(key)
        sets = [(file.name, p) for file, p in zip(entry.picks, self._read_picks(entry, tomogram), strict=True)]
        return list(inspect_tomogram(tomogram, sets).warnings)

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` when the project changes, until the function given back is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    # --- changes ---------------------------------------------------------------------------------

    def open(self, path: Path | str) -> None:
        """Open a project file."""
        path = self.roots.inside(path)
        content = read_project(path)
        with self._lock:
            self.path, self._content, self._documents = path, content, {}
            self._entries = _named_once([self._opened(i) for i in range(len(content.tomograms))])
        self._changed()

    def close(self) -> None:
        """Have no project open."""
        self.path, self._content, self._entries, self._documents = None, None, (), {}
        self._changed()

    def create(
        self, path: Path | str, sources: Sequence[Path | str], classes: Sequence[ParticleClass], labels: Labels
    ) -> None:
        """Write a project of tomograms, files or folders, with the pick files beside them, and open it."""
        path = self.roots.inside(path)
        found = self._found(sources)
        if not found:
            raise InputError("choose at least one tomogram for the project")
        _refuse_one_name(found)
        new_project(path, found, classes, labels)
        for tomogram in found:
            if picks := self._fitting(tomogram, found, [c.name for c in classes]):
                set_picks(path, tomogram, picks)
        self.open(path)

    def add(self, sources: Sequence[Path | str]) -> int:
        """Add tomograms, files or folders, that are not in the project yet; returns how many."""
        there = {entry.path for entry in self._entries}
        found = [path for path in self._found(sources) if path not in there]
        _refuse_one_name([*there, *found])
        names = [c.name for c in self.classes]
        add_tomograms(self._project(), [(path, self._fitting(path, found, names)) for path in found])
        self._reopen()
        return len(found)

    def import_picks(self, key: str, files: Sequence[Path | str]) -> int:
        """Join pick files, of any format, to a tomogram's picks; returns how many picks they hold.

        They must fit: classes that the project has, positions within the tomogram, its spacing.
        """
        entry, tomogram = self.entry(key), self.tomogram(key)
        inside = [self.roots.inside(file) for file in files]
        count = 0
        for file in inside:
            if file in entry.picks:
                raise InputError(f"{file.name} is among the tomogram's picks already")
            particles = read_picks(file, classes=[c.name for c in self.classes], tomogram=tomogram)
            doubt = describe_spacing(particles.spacing_A, tomogram)
            if doubt := doubt or describe_outside(particles.positions, tomogram.shape):
                raise InputError(f"{file.name} does not fit {tomogram.name}: {doubt}")
            count += len(particles)
        with self._lock:
            set_picks(self._project(), entry.path, [*entry.picks, *inside])
            self._documents.pop(key, None)
            self._reopen()
        return count

    def change_classes(self, classes: Sequence[ParticleClass]) -> None:
        """Put classes in place of those there are; one that picks have cannot go."""
        kept = {c.name for c in classes}
        for entry in self._entries:
            used = {name for name, count in self.counts(entry.key).items() if count} if entry.tomogram else set()
            if lost := sorted(used & {c.name for c in self.classes} - kept):
                raise InputError(f"{entry.name} has picks of class {lost[0]}: give them another class first")
        set_classes(self._project(), classes)
        self._reopen()

    def change_labels(self, labels: Labels) -> None:
        """Say whether every particle in the tomograms is marked."""
        set_labels(self._project(), labels)
        self._reopen()

    def change_validation(self, key: str, validate: bool) -> None:
        """Let a tomogram choose the model, or train it."""
        set_validation(self._project(), self.entry(key).path, validate)
        self._reopen()

    def _project(self) -> Path:
        if self.path is None:
            raise InputError("no project is open: open one, or make one, on the Project page")
        return self.path

    def _reopen(self) -> None:
        """Read the project file again; annotations in memory stay where their tomogram does."""
        documents, path = self._documents, self._project()
        self.open(path)
        keys = {entry.key for entry in self._entries}
        self._documents = {key: document for key, document in documents.items() if key in keys}

    def _changed(self) -> None:
        for listener in list(self._listeners):
            listener()

    def _point_to(self, entry: Entry, own: Path) -> None:
        """The first change of imported picks: the project names the file they are kept in from now on."""
        set_picks(self._project(), entry.path, [own])
        self._reopen()

    def _own_file(self, entry: Entry) -> Path:
        """Where a tomogram's annotations are kept: picks/NAME.csv, or a name that nothing else has."""
        own = self.folder / "picks" / f"{entry.name}.csv"
        taken = {file for other in self._entries if other is not entry for file in other.picks}
        if own in entry.picks[:1] and len(entry.picks) == 1:
            return own
        return free_path(own, taken)

    # --- reading ---------------------------------------------------------------------------------

    def _opened(self, number: int) -> Entry:
        content, folder = self._content, self.folder
        assert content is not None
        entry = content.tomograms[number]
        path = (folder / entry.path).resolve()
        key = hashlib.sha256(str(path).encode()).hexdigest()[:10]
        picks = tuple((folder / file).resolve() for file in entry.picks)
        try:
            self.roots.inside(path)
            for file in picks:
                self.roots.inside(file)
            return Entry(key, path, picks, entry.validate_on, open_entry(folder, entry, content.spacing_A))
        except EtpickError as error:
            return Entry(key, path, picks, entry.validate_on, None, str(error))

    def _read_picks(self, entry: Entry, tomogram: Tomogram) -> list[Particles]:
        content = self._content
        assert content is not None
        binning = next(t.binning for t in content.tomograms if (self.folder / t.path).resolve() == entry.path)
        names = [c.name for c in self.classes]
        return [read_picks(file, classes=names, tomogram=tomogram, binning=binning) for file in entry.picks]

    def _found(self, sources: Sequence[Path | str]) -> list[Path]:
        paths = [self.roots.inside(source) for source in sources]
        return [self.roots.inside(path) for path in find_tomograms(paths)] if paths else []

    def _fitting(self, tomogram: Path, others: Sequence[Path], names: Sequence[str]) -> list[Path]:
        """Pick files beside a tomogram that can be read with these classes."""
        fitting: list[Path] = []
        try:
            files = labels_beside(tomogram, others)
        except InputError as error:
            self.notes.append(f"not used as picks: {error}")
            return fitting
        for file in files:
            try:
                read_picks(file, classes=list(names))
            except InputError as error:
                self.notes.append(f"not used as picks: {error}")
                continue
            fitting.append(self.roots.inside(file))
        return fitting


def _refuse_one_name(paths: Sequence[Path]) -> None:
    """Marks and picks go by the tomogram's name: raise InputError where two have one."""
    owners: dict[str, Path] = {}
    for path in paths:
        if (other := owners.setdefault(tomogram_name(path), path)) != path:
            raise InputError(
                f"{other} and {path} have one name, by which picks are kept: rename one of them, or make a project "
                "of its own for it"
            )


def _named_once(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The same, where a project has two of one name: the second cannot be worked on, and says why."""
    seen: dict[str, Path] = {}
    kept = []
    for entry in entries:
        if entry.tomogram and (other := seen.setdefault(entry.name, entry.path)) != entry.path:
            problem = f"{other} has the same name, by which picks are kept: rename one of the files"
            kept.append(replace(entry, tomogram=None, problem=problem))
        else:
            kept.append(entry)
    return tuple(kept)
