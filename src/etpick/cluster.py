"""Commands of etpick as jobs of a SLURM cluster, submitted through submitit.

Each job runs one command in a process of its own. Before the time limit, or where SLURM wants the node for somebody
else, submitit tells the job (SIGUSR2); the command is then told to stop (SIGTERM, on which a training keeps its state),
the job goes back to the queue, and goes on there (--resume).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from etpick.errors import ExternalError, InputError

_RESUMABLE = ("train", "pick", "extract", "assess", "crosscheck")
_LOOK_EVERY_S = 2.0
_LAST_LINES = 3


@dataclass(frozen=True)
class Resources:
    """What each job is given; `more` are options of sbatch by name, such as account or qos."""

    minutes: int = 60
    cpus: int = 4
    gpus: int = 0
    memory_GB: int = 16
    partition: str | None = None
    after: str | None = None
    requeues: int = 3
    more: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class Work:
    """What a job does: a command of etpick, `arguments`, that writes to `out`."""

    def __init__(self, arguments: Sequence[str], out: Path | None) -> None:
        self.arguments, self.out, self.again = list(arguments), out, False
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Run it; raises ExternalError where it fails, and its own words are in the job's log."""
        arguments = resumed(self.arguments, self.out) if self.again else self.arguments
        threads = {"OMP_NUM_THREADS": os.environ.get("SLURM_CPUS_PER_TASK", "1")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "etpick.cli", *arguments], env=os.environ | threads, preexec_fn=_only_told_by_us
        )
        if code := self._process.wait():
            raise ExternalError(f"etpick {arguments[0]} failed with exit status {code}")

    def checkpoint(self) -> Any:
        """Stop, and go on when the job's turn comes again; called by submitit."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None:
            with suppress(ProcessLookupError, ChildProcessError):  # it has ended, and __call__ knows
                os.kill(self._process.pid, signal.SIGTERM)
                # __call__ is in Popen.wait, whose lock a signal handler must not wait for
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        later = Work(self.arguments, self.out)
        later.again = True
        return DelayedSubmission(later)


def _only_told_by_us() -> None:
    """SLURM signals all processes of a job, and SIGUSR2 would kill the command before its job is told."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def resumed(arguments: Sequence[str], out: Path | None) -> list[str]:
    """The command that goes on with what an earlier one left in `out`, or begins anew where that is nothing."""
    from etpick.checkpoint import STATE

    command = arguments[0]
    left = out is not None and (out / STATE if command == "train" else out).exists()
    if command not in _RESUMABLE or not left:
        return list(arguments)
    return [*(a for a in arguments if a not in ("--overwrite", "--resume")), "--resume"]


@dataclass(frozen=True)
class Submitted:
    """Jobs that SLURM has taken; their logs are in `folder`."""

    jobs: Sequence[Any]
    folder: Path

    @property
    def number(self) -> str:
        """By which SLURM knows them."""
        return str(self.jobs[0].job_id).partition("_")[0]

    def lines(self) -> list[str]:
        """What to tell whoever submitted."""
        what = "1 job" if len(self.jobs) == 1 else f"{len(self.jobs)} jobs"
        return [
            f"job {self.number}: {what} submitted",
            f"  logs: {self.folder}/{self.number}_*_log.out and .err; what SLURM was given: *_submission.sh there",
            f"  squeue -j {self.number} shows it, scancel {self.number} ends it, --after {self.number} waits for it",
        ]

    def wait(self, on_change: Callable[[int, int, int], None] = lambda *_: None) -> None:
        """Wait for all; `on_change(ended, running, all)`. Raises ExternalError that names the failed ones."""
        before = None
        while True:
            active = dict(_active(self.number))
            running = sum(state == "RUNNING" for state in active.values())
            now = (len(self.jobs) - len(active), running, len(self.jobs))
            if now != before:
                on_change(*now)
            before = now
            if not active:
                break
            time.sleep(_LOOK_EVERY_S)
        if failed := [job for job in self.jobs if not _succeeded(job)]:
            raise ExternalError(
                f"{len(failed)} of {len(self.jobs)} jobs failed, the first of them {failed[0].job_id}: "
                f"{_last_words(failed[0])} ({failed[0].paths.stderr})"
            )


def submit(
    commands: Sequence[Sequence[str]], folder: Path | str, resources: Resources, *, out: Path | None = None
) -> Submitted:
    """Submit commands, each a job, of one array where they are several; `folder` gets their logs.

    The folder, and all that the commands name, must lie where the nodes see it. Raises ExternalError without SLURM or
    where it refuses, InputError where submitit is not installed.
    """
    submitit = _import_submitit()
    if shutil.which("srun") is None:
        raise ExternalError("no SLURM here (no srun on PATH): submit where sbatch works, or run the command itself")
    executor = submitit.AutoExecutor(
        folder=Path(folder).absolute(), cluster="slurm", slurm_max_num_timeout=resources.requeues
    )
    executor.update_parameters(**_parameters(commands, resources))
    try:
        with executor.batch():
            jobs = [executor.submit(Work(command, out)) for command in commands]
    except submitit.core.utils.FailedJobError as error:
        raise ExternalError(f"SLURM refused the job: {error}") from error
    return Submitted(jobs, Path(folder))


def _import_submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise InputError("submitting needs the package submitit: pip install 'etpick[cluster]'") from error
    return submitit


def _parameters(commands: Sequence[Sequence[str]], resources: Resources) -> dict[str, Any]:
    more = dict(resources.more)
    if resources.after is not None:
        more["dependency"] = f"afterok:{resources.after}"
    optional = {"slurm_partition": resources.partition, "gpus_per_node": resources.gpus or None}
    return {
        "name": f"etpick-{commands[0][0]}", "timeout_min": resources.minutes, "cpus_per_task": resources.cpus,
        "mem_gb": resources.memory_GB, "slurm_array_parallelism": len(commands),
        "slurm_additional_parameters": more,
        **{name: value for name, value in optional.items() if value is not None},
    }  # fmt: skip


def _active(number: str) -> Iterator[tuple[str, str]]:
    """The tasks that SLURM has yet to finish, and their states."""
    shown = subprocess.run(
        ["squeue", "--noheader", "--array", "--jobs", number, "--format", "%i %T"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if shown.returncode and "Invalid job id" not in shown.stderr:  # as SLURM says of a job that it has forgotten
        raise ExternalError(f"squeue failed: {shown.stderr.strip()}")
    for line in shown.stdout.splitlines():
        task, state = line.split()
        if state not in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL"):
            yield task, state


def _succeeded(job: Any) -> bool:
    return job.paths.result_pickle.exists() and job.exception() is None


def _last_words(job: Any) -> str:
    """What the command itself said last, without submitit's lines."""
    try:
        lines = job.paths.stderr.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it left no log"
    own = [line.strip() for line in lines if line.startswith("Error: ")]
    return " ".join(own[-1:]).removeprefix("Error: ") or " ".join(lines[-_LAST_LINES:]) or "its log is empty"


def minutes_of(text: str) -> int:
    """Minutes in a time as sbatch takes it: 90, 1:30:00 or 2-12:00:00; raises ValueError."""
    match = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):(\d\d):(\d\d)|(\d+))", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no time: give minutes, H:MM:SS or D-HH:MM:SS")
    days, hours, minutes, seconds, whole = (int(part or 0) for part in match.groups())
    return whole or days * 1440 + hours * 60 + minutes + (seconds > 0)
