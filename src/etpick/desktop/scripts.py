"""What ChimeraX, ArtiaX and 3dmod are given to show a tomogram and picks: files in a folder, and the command.

Sources: ChimeraX's user guide (commands `open`, `volume`, `marker`, `rename`, `transparency`, `view`) and its
volumecommand.py; ArtiaX's src/cmd/cmd.py and its page on file formats; the man page of 3dmod. In ChimeraX a voxel
index times the spacing is the place in Å once `originIndex 0,0,0` overrides the origin of the header.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from etpick.errors import InputError, OutputError
from etpick.io.atomic import atomic_write
from etpick.io.formats.base import WriteOptions
from etpick.io.formats.chimerax import FIRST_MODEL, marker_lines, remark
from etpick.io.formats.imod import write_model
from etpick.io.picks import write_picks
from etpick.types import ParticleClass, Particles, Tomogram

_TRANSPARENCY: Final = 50  # per cent, so that the density in a sphere is seen
_MRC = (".mrc", ".rec", ".map", ".st")
_READ: Final[Mapping[str, tuple[str, ...]]] = {
    "ChimeraX": (*_MRC, ".em"),
    "ArtiaX": (*_MRC, ".em"),
    "3dmod": (*_MRC, ".tif", ".tiff"),
}


@dataclass(frozen=True, eq=False)
class Scene:
    """A tomogram's file with its particles, and the look of each class in the order that numbers them."""

    path: Path
    tomogram: Tomogram
    particles: Particles
    looks: Mapping[str, ParticleClass]

    def file_for(self, program: str) -> Path:
        """The tomogram's file, absolute; raises InputError where the program does not read its format."""
        if not self.path.name.lower().endswith(_READ[program]):
            raise InputError(
                f"{program} does not read {self.path.name}: it reads {', '.join(_READ[program])}, not packed; "
                "save the tomogram so, or look at it --with napari"
            )
        return self.path.resolve()


def chimerax_script(scene: Scene, folder: Path, *, overwrite: bool = False) -> tuple[Path, ...]:
    """Write NAME.cxc, which opens the tomogram with a sphere for each pick; etpick reads it as picks, too.

    It is for a ChimeraX that has just started, where the first model is #1.
    """
    spacing_A, (z, y, x) = scene.tomogram.spacing_A, scene.tomogram.shape
    order = {name: number for number, name in enumerate(scene.looks, start=1)}
    lines = [
        remark(scene.tomogram.name, spacing_A),
        f"open {_quoted(scene.file_for('ChimeraX'))}{_format(scene.path)}",
        f"volume #1 originIndex 0,0,0 voxelSize {spacing_A:.9g} step 1 style image",
        f"volume #1 orthoplanes xyz positionPlanes {x // 2},{y // 2},{z // 2}",
        *marker_lines(
            scene.particles,
            spacing_A,
            order,
            {name: look.color for name, look in scene.looks.items()},
            {name: look.diameter_A / 2 for name, look in scene.looks.items()},
        ),
    ]
    if drawn := sorted({FIRST_MODEL + order[str(name)] for name in scene.particles.classes}):
        lines.append(f"transparency #{','.join(map(str, drawn))} {_TRANSPARENCY} target a")
    lines.append("view orient")
    return (_script(folder / f"{scene.tomogram.name}.cxc", lines, overwrite),)


def artiax_script(scene: Scene, folder: Path, *, overwrite: bool = False) -> tuple[Path, ...]:
    """Write NAME_artiax.cxc and a motive list of each class, which ArtiaX colours and sizes as a whole.

    ArtiaX's models are #1, its tomograms #1.1.1 …, its particle lists #1.2.1 … in the order of opening.
    """
    spacing_A, name = scene.tomogram.spacing_A, scene.tomogram.name
    lines = [
        "artiax start",
        f"artiax open tomo {_quoted(scene.file_for('ArtiaX'))}",
        f"artiax tomo #1.1.1 pixelSize {spacing_A:.9g}",
    ]
    lists = []
    for class_name in [c for c in scene.looks if (scene.particles.classes == c).any()]:
        file = folder / f"{name}_{_plain(class_name)}.em"
        write_picks(
            file, scene.particles.of_class(class_name), classes=list(scene.looks), style="artiax", overwrite=overwrite
        )
        lists.append(file)
        look, scale = scene.looks[class_name], f"{spacing_A:.9g}"
        lines += [
            f"open {_quoted(file.resolve())} format motl",
            f"artiax particles #1.2.{len(lists)} originScaleFactor {scale} transScaleFactor {scale} "
            f"radius {look.diameter_A / 2:.4g} color {look.color}",
        ]
    lines.append("artiax view xy")
    return _script(folder / f"{name}_artiax.cxc", lines, overwrite), *lists


def imod_model(scene: Scene, folder: Path, *, overwrite: bool = False) -> tuple[Path, ...]:
    """Write NAME.mod, with an object of spheres for each class."""
    scene.file_for("3dmod")
    path = folder / f"{scene.tomogram.name}.mod"
    options = WriteOptions(scene.tomogram.name, scene.tomogram.shape, list(scene.looks))
    with atomic_write(path, overwrite=overwrite) as temporary:
        write_model(temporary, scene.particles, options, scene.looks)
    return (path,)


def _script(path: Path, lines: Sequence[str], overwrite: bool) -> Path:
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _format(path: Path) -> str:
    """ChimeraX knows .mrc, .map and .rec by name, .st means another thing to it."""
    return " format mrc" if path.suffix.lower() == ".st" else ""


def _quoted(path: Path) -> str:
    """A path as ChimeraX takes it: in double quotes, which it therefore cannot hold."""
    if '"' in str(path):
        raise OutputError(f"{path} has a double quote in its name, which ChimeraX's commands cannot hold: rename it")
    return f'"{path}"'


def _plain(name: str) -> str:
    """A class name as part of a file name."""
    return re.sub(r"[^\w.+-]+", "_", name)
