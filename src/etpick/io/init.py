"""Write a project file for tomograms and the pick files beside them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from etpick.errors import InputError
from etpick.io.atomic import atomic_write, refuse_existing
from etpick.io.copick_project import author_of, choose_picks, is_copick_project, read_copick_project
from etpick.io.formats.copick import PICKS
from etpick.io.formats.registry import is_pick_file
from etpick.io.pairing import picks_beside, tomograms_in
from etpick.io.picks import SEARCHED, class_of_label, read_table, resolve_labels
from etpick.io.project import Labels
from etpick.io.sanity import describe_outside, describe_spacing
from etpick.io.table import PickTable, copick_spacing_A, tomogram_name
from etpick.io.tomograms import find_tomograms, open_tomogram
from etpick.types import COLORS

_FEWEST_VX: Final = 3.5  # across a particle; 60 Å, the smallest of use, are 6 voxels of 10 Å


@dataclass(frozen=True)
class LabelledTomogram:
    """A tomogram, the pick files that belong to it, and how many picks of each class they hold."""

    path: Path
    picks: tuple[Path, ...]
    counts: Mapping[str, int]
    validate: bool = False


@dataclass(frozen=True)
class NewProject:
    """What `init_project` wrote, what it left out, and what deserves a look."""

    path: Path
    labelled: tuple[LabelledTomogram, ...]
    left_out: tuple[Path, ...]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """The summary to print."""
        said = [f"{self.path}: {len(self.labelled)} labelled tomogram(s)"]
        for item in self.labelled:
            counts = ", ".join(f"{n} {name}" for name, n in item.counts.items()) or "no particles"
            said.append(f"  {_shown(item.path)}: {counts}{' (validates)' if item.validate else ''}")
        said += [f"  left out, no picks beside it: {_shown(path)}" for path in self.left_out]
        if not any(item.validate for item in self.labelled):
            said.append("  none validates: training will hold back a part of one to judge the model")
        return said + [f"  note: {note}" for note in self.notes]


def _shown(path: Path) -> str:
    """The file's name; in copick those of all runs are alike, and the run's is told."""
    return path.name if copick_spacing_A(path) is None else f"{tomogram_name(path)}, {path.name}"


def init_project(
    sources: Sequence[Path | str],
    *,
    diameters: Mapping[str, float],
    out: Path | str,
    spacing_A: float | None = None,
    binning: float | None = None,
    validate: Sequence[str] | None = None,
    labels: Labels = "complete",
    copick_tomograms: str | None = None,
    copick_picks: str | None = None,
    overwrite: bool = False,
) -> NewProject:
    """Find tomograms in files and folders, and the pick files beside them, and write the project file `out`.

    A pick file belongs to a tomogram when its name is the tomogram's, alone or followed by `_`, `-`, `.` or a
    blank and more: `t_1.csv`, `t_1_ribosomes.star`, never `t_10.csv`; of a tomogram of Warp,
    TS_1_10.00Apx, that of its tilt series, `TS_1.csv`, does, too. Of several formats of one name CSV is taken
    first. `diameters` are the classes in order, in Å. Tomograms without picks are left out.

    A source may be the configuration of a copick project: its runs are taken, with their picks, and the diameters
    that `diameters` leaves out are twice the radii there. `copick_tomograms` says which tomograms (wbp@10) and
    `copick_picks` whose picks (USER/SESSION), where there are several.

    `binning` is how many voxels of the pick files make one of the tomograms, where that is not what the files say.

    `validate` names the tomograms to validate on; by default it is the last one with picks where there are at
    least two, and none where there is one (training then holds regions of it back).

    Raises InputError where nothing is found or classes do not fit, OutputError where `out` exists.
    """
    out = Path(out)
    refuse_existing(out, overwrite)
    found, known_A = _found(list(map(Path, sources)), copick_tomograms)
    if not (diameters or known_A):
        raise InputError("no class given: add --diameter NAME=Å for each, such as --diameter ribosome=280")
    notes: list[str] = []
    files = _chosen(found, copick_picks, notes)
    paths = list(files)
    tables = {path: _tables(path, files[path], spacing_A, binning, notes) for path in paths}
    left_out = tuple(path for path in paths if not tables[path])
    if len(left_out) == len(paths):
        hint = _others_beside(paths)
        raise InputError(f"no picks beside the {len(paths)} tomogram(s): looked for {_wanted(paths[0])}{hint}")
    diameters = {name: size_A for name, size_A in known_A.items() if name in _all_labels(tables)} | dict(diameters)
    _refuse_unknown(tables, list(diameters))
    labelled = [_labelled(path, tables[path], list(diameters)) for path in paths if tables[path]]
    notes += _doubtful_sizes(labelled[0].path, diameters, spacing_A)
    _refuse_unused(labelled, diameters)
    chosen = _validating(labelled, validate)
    labelled = [LabelledTomogram(t.path, t.picks, t.counts, t.path in chosen) for t in labelled]
    with atomic_write(out, overwrite=overwrite) as temporary:
        temporary.write_text(_document(labelled, diameters, spacing_A, binning, labels, out.parent), encoding="utf-8")
    return NewProject(out, tuple(labelled), left_out, tuple(notes))


def _found(sources: Sequence[Path], kind: str | None) -> tuple[dict[Path, list[Path]], dict[str, float]]:
    """Tomograms with the pick files beside each, and the diameters in Å of what copick knows."""
    known_A: dict[str, float] = {}
    paths = find_tomograms(sources, kind)
    projects = [read_copick_project(source) for source in sources if is_copick_project(source)]
    files = {path: picks_beside(path, paths) for path in paths}
    for project in projects:  # whose picks may lie below another root than the tomograms
        files |= {path: project.picks(tomogram_name(path)) for path in project.tomograms(kind)}
        known_A |= project.diameters_A
    return files, known_A


def _chosen(files: Mapping[Path, Sequence[Path]], who: str | None, notes: list[str]) -> dict[Path, list[Path]]:
    """The same, in copick's runs only the files of one user and session for each object."""
    runs = [path for path in files if copick_spacing_A(path) is not None]
    chosen = {path: choose_picks(own, who) if path in runs else list(own) for path, own in files.items()}
    authors, there = (sorted({author_of(f) for path in runs for f in some[path]}) for some in (chosen, files))
    if there and not authors:
        raise InputError(
            f"copick's runs have no picks of {who or 'anybody but etpick'}, but of {', '.join(there)}: say whose with "
            "--copick-picks USER/SESSION"
        )
    if len(authors) > 1:
        notes.append(f"picks of {', '.join(authors)}: choose with --copick-picks USER/SESSION")
    return chosen


def _wanted(path: Path) -> str:
    """What pick files of a tomogram may be called."""
    if copick_spacing_A(path) is not None:
        return f"{PICKS}/USER_SESSION_OBJECT.json in copick's runs"
    return f"files such as {tomogram_name(path)}{{{','.join(SEARCHED)}}}"


def _others_beside(tomograms: Sequence[Path]) -> str:
    """What lies beside tomograms that may be their picks after a conversion, as the end of a sentence."""
    for folder in dict.fromkeys(path.parent for path in tomograms):
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() == ".mod":
                return (
                    f"; {file} is left out, since models of IMOD mostly hold gold: if it holds your particles, "
                    f"etpick convert {file} {file.with_suffix('.csv')} --tomogram TOMOGRAM"
                )
            if file.suffix.lower() in SEARCHED and is_pick_file(file) and _is_about_several(file):
                return f"; {file} is about several tomograms: first etpick convert {file} {folder} --each --to relion4"
    return ""


def _is_about_several(file: Path) -> bool:
    try:
        return len(tomograms_in(file)) > 1
    except InputError:  # it only resembles a pick file
        return False


def _doubtful_sizes(path: Path, diameters: Mapping[str, float], spacing_A: float | None) -> list[str]:
    """Notes about particles that span so few voxels that the diameter is probably in nm or voxels."""
    own_A = open_tomogram(path, spacing_A=spacing_A).spacing_A
    return [
        f"{name} is {size_A:g} Å, {size_A / own_A:.1f} voxels of {_shown(path)}, which is hardly seen. Diameters are "
        f"in Å: if these are nm, --diameter {name}={size_A * 10:g}; if voxels, {name}={size_A * own_A:g}"
        for name, size_A in diameters.items()
        if size_A < _FEWEST_VX * own_A
    ]


def _tables(
    path: Path, files: Sequence[Path], spacing_A: float | None, binning: float | None, notes: list[str]
) -> dict[Path, PickTable]:
    """Pick files of a tomogram, read; a file that only resembles one (`t_1_CTF.txt`) becomes a note."""
    tables: dict[Path, PickTable] = {}
    if not files:
        return tables
    tomogram = open_tomogram(path, spacing_A=spacing_A)
    for file in files:
        try:
            table = read_table(file, tomogram=tomogram, binning=binning or 1.0)
        except InputError as error:
            if file.stem == tomogram.name or copick_spacing_A(path) is not None:
                raise
            notes.append(f"not used as picks: {error}")
            continue
        tables[file] = table
        doubt = describe_spacing(table.spacing_A, tomogram) if binning is None else None
        if problem := doubt or describe_outside(table.positions, tomogram.shape):
            notes.append(f"{file.name} does not fit {path.name}: {problem}")
    return tables


def _all_labels(tables: Mapping[Path, Mapping[Path, PickTable]]) -> set[str]:
    return {str(label) for files in tables.values() for table in files.values() for label in table.labels}


def _refuse_unknown(tables: Mapping[Path, Mapping[Path, PickTable]], classes: Sequence[str]) -> None:
    unknown = sorted(label for label in _all_labels(tables) - {"", "0"} if class_of_label(label, classes) is None)
    if not unknown:
        return
    file = next(f for files in tables.values() for f, table in files.items() if unknown[0] in table.labels)
    said = f"picks of class {', '.join(unknown)} but no diameter for it ({file.name}; given: {', '.join(classes)}): "
    if unknown[0].isdecimal():
        raise InputError(
            f"{said}if these numbers are 3D classes, remove their column; if {unknown[0]} is a kind of particle, add "
            "one --diameter for each kind, in the order that numbers them"
        )
    near = get_close_matches(unknown[0], classes, 1)
    meant = f"if {near[0]} is meant, name it so; otherwise " if near else ""
    raise InputError(
        f"{said}{meant}add --diameter {unknown[0]}=Å, or leave it out: etpick convert {file.name} OUT --only "
        f"{classes[0] if classes else 'CLASS'}"
    )


def _labelled(path: Path, tables: Mapping[Path, PickTable], classes: Sequence[str]) -> LabelledTomogram:
    counts: Counter[str] = Counter()
    for file, table in tables.items():
        counts.update(str(name) for name in resolve_labels(file, table.labels, classes))
    return LabelledTomogram(path, tuple(tables), {name: counts[name] for name in classes if counts[name]})


def _refuse_unused(labelled: Sequence[LabelledTomogram], diameters: Mapping[str, float]) -> None:
    found = list(dict.fromkeys(name for tomogram in labelled for name in tomogram.counts))
    if missing := [name for name in diameters if name not in found]:
        raise InputError(
            f"no pick of class {', '.join(missing)}: the pick files hold {', '.join(found) or 'nothing'}; "
            "check the names after --diameter"
        )


def _validating(labelled: Sequence[LabelledTomogram], names: Sequence[str] | None) -> set[Path]:
    if names is None:
        with_picks = [tomogram.path for tomogram in labelled if tomogram.counts]
        return set(with_picks[-1:]) if len(with_picks) > 1 else set()
    by_name = {tomogram_name(tomogram.path): tomogram.path for tomogram in labelled}
    if unknown := [name for name in names if tomogram_name(name) not in by_name]:
        raise InputError(f"cannot validate on {', '.join(unknown)}: the labelled tomograms are {', '.join(by_name)}")
    return {by_name[tomogram_name(name)] for name in names}


def _document(
    labelled: Sequence[LabelledTomogram],
    diameters: Mapping[str, float],
    spacing_A: float | None,
    binning: float | None,
    labels: Labels,
    folder: Path,
) -> str:
    """The TOML text, with what each field means beside it."""
    import tomlkit

    document = tomlkit.document()
    _remark(document, "etpick project: what to learn, and from which tomograms. Paths are relative to this file.")
    document.add(tomlkit.nl())
    _remark(document, 'Are all particles of the classes below marked in these tomograms ("complete"), or only')
    _remark(document, 'some of them ("partial")? With "partial", unmarked places that look like particles are')
    _remark(document, "left out, not taken for background.")
    document.add("labels", tomlkit.item(labels))
    document.add(tomlkit.nl())
    _remark(document, "Voxel size in Å of all tomograms, where the headers of the files do not tell the truth.")
    if spacing_A is None:
        _remark(document, "spacing_A = 10.0")
    else:
        document.add("spacing_A", tomlkit.item(float(spacing_A)))
    document.add(tomlkit.nl())
    _remark(document, "The kinds of particles: name, diameter in Å, colour in pictures. A number in a pick file")
    _remark(document, "means the class at that place in this list, counted from 1.")
    document.add("classes", _classes(diameters))
    document.add(tomlkit.nl())
    _remark(
        document,
        "The tomograms: path, pick file (or a list of them), and whether it validates, that is, judges",
    )
    _remark(document, "the model instead of teaching it. Where needed, add to one of them:")
    _remark(document, "  spacing_A = 10.0   # its own voxel size in Å")
    _remark(document, "  binning = 4        # its picks are in voxels 4 times finer than the tomogram's")
    document.add("tomograms", _tomograms(labelled, binning, folder))
    return tomlkit.dumps(document)


def _remark(document: Any, text: str) -> None:
    import tomlkit

    document.add(tomlkit.comment(text))


def _classes(diameters: Mapping[str, float]) -> Any:
    import tomlkit

    tables = tomlkit.aot()
    for index, (name, diameter_A) in enumerate(diameters.items()):
        table = tomlkit.table()
        table.add("name", name)
        table.add("diameter_A", float(diameter_A))
        table.add("color", COLORS[index % len(COLORS)])
        tables.append(table)
    return tables


def _tomograms(labelled: Sequence[LabelledTomogram], binning: float | None, folder: Path) -> Any:
    import tomlkit

    tables = tomlkit.aot()
    for tomogram in labelled:
        picks = [_relative(path, folder) for path in tomogram.picks]
        table = tomlkit.table()
        table.add("path", _relative(tomogram.path, folder))
        table.add("picks", picks[0] if len(picks) == 1 else picks)
        if binning is not None:
            table.add("binning", binning)
        if tomogram.validate:
            table.add("validate", True)
        tables.append(table)
    return tables


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
