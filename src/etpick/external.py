"""Programs that etpick calls and does not contain: found on PATH, their version checked, their errors told."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
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
_MPI = {  # Open MPI: more processes than cores, idle ones not to wait busily, and containers, where everyone is root
    "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}  # fmt: skip


@dataclass(frozen=True)
class Relion:
    """RELION's tools of one installation."""

    folder: Path
    version: tuple[int, ...]

    def has(self, tool: str) -> bool:
        """Whether a tool such as `relion_refine_mpi` is there."""
        return shutil.which(tool, path=str(self.folder)) is not None

    def run(
        self, tool: str, arguments: Sequence[object], folder: Path, *, processes: int = 1, log: Path | None = None,
        while_running: Callable[[], None] = lambda: None,
    ) -> str:  # fmt: skip
        """Run a tool in a folder (RELION's project: paths count from there) and return what it printed.

        `processes` above 1 start it with mpirun. What it prints can be read in `log` at once; `while_running` is
        called every second. Raises ExternalError with the end of its output where it fails, or where it is not there.
        """
        command = self._command(tool, processes)
        with tempfile.TemporaryFile("w+", errors="replace") if log is None else log.open("w+", errors="replace") as out:
            process = subprocess.Popen(
                [*command, *map(str, arguments)], cwd=folder, stdout=out, stderr=subprocess.STDOUT,
                env=os.environ | _MPI, start_new_session=True,
            )  # fmt: skip
            try:
                while process.poll() is None:
                    _wait(process)
                    while_running()
            finally:
                _end(process)
            out.seek(0)
            printed = out.read()
        if process.returncode:
            lines = [line for line in printed.splitlines() if line.strip() and _BAR not in line]
            end = "\n".join(lines[-_LAST_LINES:])
            raise ExternalError(f"{tool} failed ({process.returncode}) in {folder}; its last lines:\n{end}")
        return printed

    def refuse_without_mpi(self) -> None:
        """Raise ExternalError where several processes cannot be started together."""
        if shutil.which("mpirun") is None:
            raise ExternalError("mpirun is not on PATH, with which RELION refines: install Open MPI or MPICH")

    def _command(self, tool: str, processes: int) -> list[str]:
        program = shutil.which(tool, path=str(self.folder))
        if program is None:
            raise ExternalError(f"{tool} is not among RELION's tools in {self.folder}: {HOW_TO_GET_RELION}")
        if processes == 1:
            return [program]
        self.refuse_without_mpi()
        return ["mpirun", "-n", str(processes), program]


def _wait(process: subprocess.Popen[bytes]) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a program and those it started, where it still runs."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


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
