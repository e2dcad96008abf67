"""Look at a tomogram and picks in a program of the desktop: which one, what it is given, and its start."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from etpick.desktop.looks import DEFAULT_DIAMETER_A, classes_near, classes_of_model, looks_of, with_diameters
from etpick.desktop.opening import open_picks
from etpick.desktop.scripts import Scene, artiax_script, chimerax_script, imod_model
from etpick.errors import ExternalError, InputError
from etpick.evaluation.comparison import joined
from etpick.io.tomograms import open_tomogram
from etpick.types import Particles, Tomogram

VIEWERS: Final = ("napari", "chimerax", "artiax", "3dmod")
"""What `--with` may name."""

_ORDER: Final = ("napari", "chimerax", "3dmod")  # ArtiaX lives in ChimeraX and cannot be seen from outside
_COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "chimerax": ("chimerax", "ChimeraX", "chimerax-daily"),
    "artiax": ("chimerax", "ChimeraX", "chimerax-daily"),
    "3dmod": ("3dmod",),
}
HOW_TO_GET: Final[Mapping[str, str]] = {
    "napari": "pip install 'etpick[napari]'",
    "chimerax": "install ChimeraX (cgl.ucsf.edu/chimerax) and have `chimerax` on PATH",
    "artiax": "install ChimeraX, have `chimerax` on PATH, and in it run `toolshed install ArtiaX`",
    "3dmod": "install IMOD (bio3d.colorado.edu/imod) and have `3dmod` on PATH",
}
_WRITERS: Final[Mapping[str, Callable[..., tuple[Path, ...]]]] = {
    "chimerax": chimerax_script,
    "artiax": artiax_script,
    "3dmod": imod_model,
}


@dataclass(frozen=True, eq=False)
class Viewing:
    """What is to be shown and how: the viewer, its command, the files written for it, and remarks."""

    viewer: str
    command: tuple[str, ...]
    files: tuple[Path, ...]
    notes: tuple[str, ...]
    scene: Scene

    def lines(self) -> list[str]:
        """What to print."""
        said = [f"{self.viewer}: {shlex.join(self.command)}", *(f"  wrote {file}" for file in self.files)]
        return said + [f"  note: {note}" for note in self.notes]


def installed(viewer: str) -> bool:
    """Whether a viewer is there: napari beside etpick, the others on PATH."""
    return find_spec("napari") is not None if viewer == "napari" else _program(viewer) is not None


def choose(wanted: str | None) -> str:
    """The viewer asked for, or the first that is installed of napari, ChimeraX, 3dmod; raises ExternalError."""
    if wanted:
        return wanted
    found = next((viewer for viewer in _ORDER if installed(viewer)), None)
    if found is None:
        ways = "; ".join(f"{viewer}: {HOW_TO_GET[viewer]}" for viewer in _ORDER)
        raise ExternalError(f"no viewer is installed. {ways}. Or write the files for one --with NAME --print")
    return found


def prepare(
    tomogram: Path | str,
    picks: Sequence[Path | str] = (),
    *,
    viewer: str | None = None,
    spacing_A: float | None = None,
    diameters_A: Mapping[str, float] | None = None,
    model: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
) -> Viewing:
    """Read a tomogram's picks and write what a viewer needs, into `out` or a new temporary folder.

    Diameters come from `diameters_A`, the `model`, or the project file or model near the picks; otherwise they are
    the default, which a note says. Raises InputError, OutputError and ExternalError.
    """
    chosen = choose(viewer)
    path = Path(tomogram)
    opened = open_tomogram(path, spacing_A=spacing_A)
    files = [Path(file) for file in picks]
    particles, notes = _joined(files, opened)
    picked = set(particles.classes.tolist())
    known = classes_of_model(model) if model else next((c for file in files if (c := classes_near(file, picked))), ())
    looks, unknown = looks_of(particles, with_diameters(known, diameters_A or {}))
    if unknown:
        notes.append(
            f"nothing tells the diameter of {', '.join(unknown)}: drawn {DEFAULT_DIAMETER_A:g} Å wide; say "
            f"--diameter {unknown[0]}=Å"
        )
    scene = Scene(path, opened, particles, looks)
    if chosen == "napari":
        return Viewing(chosen, _napari_command(path, files), (), tuple(notes), scene)
    folder = out or Path(tempfile.mkdtemp(prefix="etpick-view-"))
    written = _WRITERS[chosen](scene, folder, overwrite=overwrite)
    return Viewing(chosen, _command(chosen, scene, written[0]), written, tuple(notes), scene)


def launch(viewing: Viewing) -> None:
    """Start the viewer and wait until it is closed; raises ExternalError where it is not installed or fails."""
    if not installed(viewing.viewer):
        made = f"; what it needs is written: {viewing.files[0]}" if viewing.files else ""
        raise ExternalError(f"{viewing.viewer} is not installed: {HOW_TO_GET[viewing.viewer]}{made}")
    if viewing.viewer == "napari":
        _show_in_napari(viewing.scene)
        return
    code = subprocess.run(viewing.command, check=False).returncode
    if code:
        raise ExternalError(f"{viewing.viewer} ended with an error ({code}): {shlex.join(viewing.command)}")


def _show_in_napari(scene: Scene) -> None:
    from etpick.desktop.layers import points_layer
    from etpick.desktop.plugin import show

    layer, _ = points_layer(scene.particles, tuple(scene.looks.values()), scene.tomogram.shape)
    show(scene.tomogram, [layer] if len(scene.particles) else [])


def _joined(files: Sequence[Path], tomogram: Tomogram) -> tuple[Particles, list[str]]:
    """The picks of all files in one, and what is wrong with them; a file about several gives those of this one."""
    parts: list[Particles] = []
    notes: list[str] = []
    for file in files:
        opened = [o for o in open_picks(file, [tomogram]) if o.shape is not None or len(files) == 1]
        here = [o for o in opened if o.particles.tomogram == tomogram.name]
        if not here:
            raise InputError(f"{file} has no picks of {tomogram.name}: it carries another name; rename one of them")
        for one in here:
            if one.shape is None:
                raise InputError(one.notes[0])
            parts.append(one.particles)
            notes += one.notes
    if not parts:
        return Particles.empty(tomogram.spacing_A, tomogram.name), notes
    return replace(joined(parts), spacing_A=tomogram.spacing_A, tomogram=tomogram.name), notes


def _program(viewer: str) -> str | None:
    return next((found for name in _COMMANDS[viewer] if (found := shutil.which(name))), None)


def _command(viewer: str, scene: Scene, file: Path) -> tuple[str, ...]:
    program = _program(viewer) or _COMMANDS[viewer][0]
    if viewer == "3dmod":
        return program, str(scene.file_for("3dmod")), str(file.resolve())
    return program, str(file.resolve())


def _napari_command(tomogram: Path, picks: Sequence[Path]) -> tuple[str, ...]:
    """The same by hand: the plugin finds diameters near the picks, but not those given as options."""
    return sys.executable, "-m", "napari", "--plugin", "etpick", str(tomogram), *map(str, picks)
