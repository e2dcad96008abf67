"""Jobs in order, one running at a time: two trainings on one machine would only starve each other."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil

from etpick.errors import InputError
from etpick.jobs import process
from etpick.jobs.record import PREVIEW, PROCESS, STOP, Job, Kind, free_folder, new_job, read_job
from etpick.jobs.status import ENDED, Status, status

_LOCK: Final = ".lock"
_KILLED_AFTER_S: Final = 10.0


class JobQueue:
    """The jobs in a folder. Whoever opens the same folder sees the same queue, also after a restart.

    The next job starts when one is added, when a job ends, and when `advance` is called.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def jobs(self) -> list[Job]:
        """All jobs, oldest first; folders without one are passed over."""
        if not self.folder.is_dir():
            return []
        found = []
        for path in sorted(self.folder.iterdir()):
            try:
                found.append(read_job(path))
            except InputError:
                continue
        return found

    def job(self, name: str) -> Job:
        """The job of a name. Raises InputError."""
        if name != Path(name).name:
            raise InputError(f"{name!r} is no name of a job")
        return read_job(self.folder / name)

    def statuses(self) -> list[Status]:
        """What is known of every job, oldest first."""
        return [status(job) for job in self.jobs()]

    def add(self, kind: Kind, **arguments: Any) -> Job:
        """Put a job at the end of the queue; it starts at once where nothing runs. Paths must be absolute.

        Raises OutputError where the folder cannot be written.
        """
        job = new_job(free_folder(self.folder, kind), kind, _as_json(arguments))
        job.tell("queued", resume=False)
        self.advance()
        return job

    def advance(self) -> Job | None:
        """Start the job that has waited longest, where none runs; returns it."""
        with self._locked():
            known = self.statuses()
            waiting = sorted((s.job for s in known if s.state == "waiting"), key=_queued)
            if not waiting or any(s.state in ("running", "stopping") for s in known):
                return None
            process.start(waiting[0])
            return waiting[0]

    def position(self, job: Job) -> int:
        """How many jobs go before a waiting one."""
        before = [s.job for s in self.statuses() if s.state in ("waiting", "running", "stopping")]
        return sum(other.name != job.name and _queued(other) < _queued(job) for other in before)

    def stop(self, job: Job) -> None:
        """Ask a job to stop; a training keeps its state. A waiting one leaves the queue. Returns at once."""
        with self._locked():
            state = status(job).state
            if state == "waiting":
                job.tell("stopped", text="taken out of the queue before it began")
            elif state in ("running", "stopping"):
                job.ask_to_stop()

    def kill(self, job: Job) -> None:
        """End a job's process that does not heed `stop`, with whatever that costs."""
        if (found := process.find(job)) is not None:
            found.terminate()
            try:
                found.wait(_KILLED_AFTER_S)
            except psutil.TimeoutExpired:
                found.kill()
            process.collect()
        self.advance()

    def resume(self, job: Job) -> None:
        """Put a stopped or failed job at the end of the queue again, to go on where it was. Raises InputError."""
        known = status(job)
        if not known.can_resume:
            why = "it has not ended" if known.state not in ENDED else "it kept nothing to go on from: start it anew"
            raise InputError(f"{job.name} cannot go on: {why}")
        self._again(job, resume=True)

    def restart(self, job: Job) -> None:
        """Put an ended job at the end of the queue, to begin anew and replace what it wrote.

        A model or picks that were there before it are not replaced. Raises InputError where it has not ended.
        """
        if status(job).state not in ENDED:
            raise InputError(f"{job.name} has not ended: stop it first")
        wrote = any(event["event"] in ("step", "picked") for event in job.events())
        (job.folder / PREVIEW).unlink(missing_ok=True)
        self._again(job, resume=False, overwrite=wrote)

    def remove(self, job: Job) -> None:
        """Forget an ended job; the model or the picks that it made stay. Raises InputError."""
        if status(job).state not in ENDED:
            raise InputError(f"{job.name} has not ended: stop it first")
        shutil.rmtree(job.folder)

    def _again(self, job: Job, *, resume: bool, overwrite: bool = False) -> None:
        with self._locked():
            for name in (STOP, PROCESS):
                (job.folder / name).unlink(missing_ok=True)
            job.tell("queued", resume=resume, overwrite=overwrite)
        self.advance()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time may start or stop jobs: the server, or a process that has just done its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _queued(job: Job) -> tuple[float, str]:
    times = [e["time"] for e in job.events() if e["event"] == "queued"]
    return (times[-1] if times else job.created, job.name)


def _as_json(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Paths as text, options that are None left out."""
    return {name: _text(value) for name, value in arguments.items() if value is not None}


def _text(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_text(part) for part in value]
    return str(value) if isinstance(value, Path) else value
