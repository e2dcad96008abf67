"""Commands of etpick as jobs of a SLURM cluster, submitted through submitit.

Each job runs one command in a process of its own. Before the time limit, and where SLURM is set to warn of preemption
so, submitit tells the job (SIGUSR2): the command is told to stop (SIGINT, on which a training keeps its state), and the
job goes back to the queue. Started again, by this or by SLURM itself, it goes on (--resume).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from etpick.errors import ExternalError, InputError
from etpick.io.atomic import make_folder

_RESUMABLE = ("train", "pick", "extract", "assess", "crosscheck")
_LOOK_EVERY_S = (2.0, 20.0)  # at first, and after half an hour
_FAILURES = 20
_LATE_S = 15
_LAST_LINES = 3
_WARNING_S = 300  # before the time limit: a training ends its step, validates, and keeps its state
_GRACE_S = 600


@dataclass(frozen=True)
class Resources:
    """What each job is given; `more` are options of sbatch by name, such as account; they go first."""

    minutes: int = 60
    cpus: int = 4
    gpus: int = 0
    memory_GB: int = 16
    partition: str | None = None
    after: str | None = None
    requeues: int = 3
    more: Mapping[str, str | bool] = field(default_factory=lambda: MappingProxyType({}))


class Work:
    """What a job does: a command of etpick, `arguments`, that writes to `out`; nothing where there are none."""

    def __init__(self, arguments: Sequence[str], out: Path | None) -> None:
        self.arguments, self.out = list(arguments), out
        self._process: subprocess.Popen[bytes] | None = None
        self._told = False

    def __call__(self) -> None:
        """Run it; raises ExternalError where it fails, and its own words are in the job's log."""
        if not self.arguments:
            return
        again = int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
        arguments = resumed(self.arguments, self.out) if again else self.arguments
        threads = {"OMP_NUM_THREADS": os.environ.get("SLURM_CPUS_PER_TASK", "1")}
        signal.signal(signal.SIGTERM, self._note)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "etpick.cli", *arguments], env=os.environ | threads, preexec_fn=_told_by_us_alone
        )
        code = self._process.wait()
        if code and self._told:
            time.sleep(_GRACE_S)
        if code:
            raise ExternalError(f"etpick {arguments[0]} failed with exit status {code}")

    def _note(self, *_: object) -> None:
        """SLURM takes the node. The command was told, too; a job that now failed would not be put back by SLURM."""
        self._told = True

    def checkpoint(self) -> Any:
        """Stop, and go on when the job's turn comes again, if it has not ended well meanwhile; called by submitit."""
        from submitit.helpers import DelayedSubmission

        done = self._process is not None and _stopped(self._process)
        return DelayedSubmission(Work([], None) if done else Work(self.arguments, self.out))


def _told_by_us_alone() -> None:
    """SLURM signals all processes of a job, and SIGUSR2 would kill the command before its job is told."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _stopped(process: subprocess.Popen[bytes]) -> bool:
    """Let a command keep its state and end; whether it was done by itself."""
    if process.returncode is not None:
        return process.returncode == 0
    try:
        os.kill(process.pid, signal.SIGINT)
        # `__call__` is in Popen.wait, whose lock a signal handler must not wait for
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    except (ProcessLookupError, ChildProcessError):  # reaped, and not said yet how it ended
        return False
    return ended is not None and ended.si_code == os.CLD_EXITED and ended.si_status == 0


def resumed(arguments: Sequence[str], out: Path | None) -> list[str]:
    """The command that goes on with what an earlier start left in `out`, or begins anew where that is nothing.

    `pick --overwrite` begins anew: which of the files are of the earlier start, and which of before, is not known.
    """
    from etpick.checkpoint import STATE

    command = arguments[0]
    left = out is not None and (out / STATE if command == "train" else out).exists()
    if command not in _RESUMABLE or not left or (command == "pick" and "--overwrite" in arguments):
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
        before, began, failures = None, time.monotonic(), 0
        while True:
            active = _active(self.number)
            failures = 0 if active is not None else failures + 1
            if failures > _FAILURES:
                raise ExternalError(f"squeue has failed {failures} times: look for job {self.number} by hand")
            if active is not None:
                now = (len(self.jobs) - len(active), active.count("RUNNING"), len(self.jobs))
                if now != before:
                    on_change(*now)
                before = now
                if not active:
                    break
            time.sleep(min(_LOOK_EVERY_S[1], _LOOK_EVERY_S[0] + (time.monotonic() - began) / 60))
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
    make_folder(Path(folder))
    executor = submitit.AutoExecutor(
        folder=Path(folder).absolute(), cluster="slurm", slurm_max_num_timeout=resources.requeues
    )
    executor.update_parameters(**_parameters(commands, resources))
    try:
        with executor.batch():
            jobs = [executor.submit(Work(command, out)) for command in commands]
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        raise ExternalError(f"SLURM refused the job: {error}") from error
    return Submitted(jobs, Path(folder))


def _import_submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise InputError("submitting needs the package submitit: pip install 'etpick[cluster]'") from error
    return submitit


def _parameters(commands: Sequence[Sequence[str]], resources: Resources) -> dict[str, Any]:
    more = {name.replace("-", "_"): value for name, value in resources.more.items()}  # as submitit names them
    chosen: dict[str, Any] = {
        "name": f"etpick-{commands[0][0]}", "timeout_min": resources.minutes, "cpus_per_task": resources.cpus,
        "slurm_array_parallelism": len(commands), "slurm_signal_delay_s": min(_WARNING_S, resources.minutes * 60 // 3),
        # srun of SLURM 22.05 to 23.11 does not take it from the job
        "slurm_srun_args": [f"--cpus-per-task={more.get('cpus_per_task', resources.cpus)}"],
    }  # fmt: skip
    if not any(name.startswith("mem") for name in more):
        chosen["mem_gb"] = resources.memory_GB
    if resources.gpus:
        chosen["gpus_per_node"] = resources.gpus
    if resources.partition is not None:
        chosen["slurm_partition"] = resources.partition
    waiting = {} if resources.after is None else {
        "dependency": f"afterok:{resources.after}", "kill_on_invalid_dep": "yes",  # else they would wait for ever
    }  # fmt: skip
    return chosen | {"slurm_additional_parameters": {"requeue": True, **waiting, **more}}


def _active(number: str) -> list[str] | None:
    """The states of the tasks that SLURM has yet to finish; None where it cannot be asked just now."""
    shown = subprocess.run(
        ["squeue", "--noheader", "--array", "--jobs", number, "--format", "%i %T"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if shown.returncode:
        return [] if "Invalid job id" in shown.stderr else None  # as SLURM says of a job that it has forgotten
    rows = [line.split() for line in shown.stdout.splitlines()]
    return [row[1] for row in rows if len(row) == 2]


def _succeeded(job: Any) -> bool:
    """Whether a job that has ended left a result, which a shared disk may show late, and no error in it."""
    result: Path = job.paths.result_pickle
    for _ in range(_LATE_S):
        if result.exists():
            return job.exception() is None
        time.sleep(1)
    return False


def _last_words(job: Any) -> str:
    """What the command itself said since its last start, without submitit's and SLURM's lines if it said something."""
    try:
        text = job.paths.stderr.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "it left no log"
    lines = text.rpartition("DUE TO JOB REQUEUE")[2].splitlines()
    own = [line.strip() for line in lines if line.startswith("Error: ")]
    return " ".join(own[-1:]).removeprefix("Error: ") or " ".join(lines[-_LAST_LINES:]) or "its log is empty"


def minutes_of(text: str) -> int:
    """Minutes in a time, 90, 1:30:00 or 2-12:00:00, rounded up; raises ValueError, also for none."""
    match = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):(\d\d):(\d\d)|(\d+))", text.strip())
    days, hours, minutes, seconds, whole = (int(part or 0) for part in match.groups()) if match else (0,) * 5
    if total := whole or days * 1440 + hours * 60 + minutes + (seconds > 0):
        return total
    raise ValueError(f"{text!r} is no time: give minutes, H:MM:SS or D-HH:MM:SS")
