"""A job's folder: what is to be done (job.json), what happened (progress.jsonl), and files that ask and tell."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from etpick.errors import InputError, OutputError
from etpick.io.atomic import atomic_write

Kind = Literal["train", "pick"]
JOB: Final = "job.json"
PROCESS: Final = "process.json"
EVENTS: Final = "progress.jsonl"
OUTPUT: Final = "output.txt"
STOP: Final = "stop"
PREVIEW: Final = "validation.png"


@dataclass(frozen=True)
class Job:
    """One piece of work. `arguments` are those of `etpick.api.train` or `pick_files`, as JSON holds them.

    `created` is in seconds since 1970.
    """

    folder: Path
    kind: Kind
    arguments: Mapping[str, Any]
    created: float

    @property
    def name(self) -> str:
        """The folder's name, which is the job's in its queue."""
        return self.folder.name

    @property
    def out(self) -> Path:
        """Where the model or the picks go."""
        return Path(self.arguments["out"])

    @property
    def preview(self) -> Path:
        """The picture of the last validation, where a training has made one."""
        return self.folder / PREVIEW

    def tell(self, event: str, **facts: Any) -> None:
        """Append a line to what happened; NaN becomes null."""
        line = json.dumps({"time": time.time(), "event": event} | {k: _plain(v) for k, v in facts.items()})
        with (self.folder / EVENTS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def events(self) -> tuple[dict[str, Any], ...]:
        """What happened, oldest first; a line that a crash cut short is passed over."""
        path = self.folder / EVENTS
        try:
            stat = path.stat()
        except OSError:
            return ()
        return _read_events(path, stat.st_mtime_ns, stat.st_size)

    def ask_to_stop(self) -> None:
        """Leave the word that its process reads."""
        (self.folder / STOP).touch()

    @property
    def asked_to_stop(self) -> bool:
        """Whether somebody left that word."""
        return (self.folder / STOP).exists()

    @property
    def output(self) -> str:
        """What its process printed, for somebody who looks for the reason of a failure."""
        try:
            return (self.folder / OUTPUT).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


def new_job(folder: Path, kind: Kind, arguments: Mapping[str, Any]) -> Job:
    """Make the folder of a job. Raises InputError for a kind that there is not, OutputError where the disk refuses."""
    if kind not in get_args(Kind):
        raise InputError(f"there are no jobs of the kind {kind!r}: use one of {', '.join(get_args(Kind))}")
    job = Job(folder, kind, dict(arguments), time.time())
    with atomic_write(folder / JOB) as path:
        path.write_text(json.dumps({"kind": kind, "arguments": job.arguments, "created": job.created}, indent=1) + "\n")
    return job


def read_job(folder: Path) -> Job:
    """The job of a folder. Raises InputError where there is none."""
    try:
        content = json.loads((folder / JOB).read_text(encoding="utf-8"))
        return Job(folder, content["kind"], content["arguments"], float(content["created"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no job: {error}") from None


def free_folder(parent: Path, kind: Kind) -> Path:
    """A new folder for the next job, 0001-train; made, so that nobody else gets it. Raises OutputError."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(p.name[:4]) for p in parent.iterdir() if p.name[:4].isdecimal()), default=0)
        while True:
            folder = parent / f"{number:04d}-{kind}"
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                number += 1
    except OSError as error:
        raise OutputError(f"no job can be written into {parent}: {error.strerror}; choose another place") from error


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value


@functools.lru_cache(maxsize=128)
def _read_events(path: Path, time_ns: int, size: int) -> tuple[dict[str, Any], ...]:
    """The events of a file as it is at that time; pages ask every second."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return tuple(event for line in text.splitlines() if (event := _parsed(line)))


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None
