"""Programs that etpick calls and does not contain: found on PATH, their version checked, their errors told."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from etpick.errors import ExternalError

OLDEST_RELION = (3, 1)
HOW_TO_GET_RELION = (
    "install RELION (Debian and Ubuntu: apt-get install relion; source: github.com/3dem/relion), a separate "
    "program under the GPL, and have its folder on PATH"
)
_LAST_LINES = 12
_BAR = "~~(,_,"  # RELION's progress bar, a mouse


@dataclass(frozen=True)
class Relion:
    """RELION's tools of one installation."""

    folder: Path
    version: tuple[int, ...]

    def has(self, tool: str) -> bool:
        """Whether a tool such as `relion_refine_mpi` is there."""
        return shutil.which(tool, path=str(self.folder)) is not None

    def run(self, tool: str, arguments: Sequence[object], folder: Path) -> str:
        """Run a tool in a folder (RELION's project: paths count from there) and return what it printed.

        Raises ExternalError with the end of its output where it fails, or where it is not there.
        """
        program = shutil.which(tool, path=str(self.folder))
        if program is None:
            raise ExternalError(f"{tool} is not among RELION's tools in {self.folder}: {HOW_TO_GET_RELION}")
        done = subprocess.run(
            [program, *map(str, arguments)], cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip() and _BAR not in line]
            end = "\n".join(lines[-_LAST_LINES:])
            raise ExternalError(f"{tool} failed ({done.returncode}) in {folder}; its last lines:\n{end}")
        return done.stdout


def find_relion(needed: str = "relion_reconstruct") -> Relion:
    """RELION by its tool `needed` on PATH; raises ExternalError where it is absent or older than 3.1."""
    program = shutil.which(needed)
    if program is None:
        raise ExternalError(f"{needed} is not on PATH: {HOW_TO_GET_RELION}")
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace", check=False)
    found = re.search(r"RELION version:\s*(\d+(?:\.\d+)*)", shown.stdout + shown.stderr)
    if found is None:
        raise ExternalError(f"{program} --version does not say which RELION it is: {HOW_TO_GET_RELION}")
    version = tuple(map(int, found[1].split(".")))
    if version < OLDEST_RELION:
        raise ExternalError(f"{program} is of RELION {found[1]}; etpick needs 3.1 or newer: {HOW_TO_GET_RELION}")
    return Relion(Path(program).parent, version)
