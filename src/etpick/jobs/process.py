"""The process of a job: started apart from who starts it, and known again by its number and the time it began."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Final

import psutil

from etpick.io.atomic import atomic_write
from etpick.jobs.record import OUTPUT, PROCESS, Job

_SAME_START_S: Final = 0.5  # the system counts process starts in hundredths of a second


def start(job: Job) -> None:
    """Start a job's process in a session of its own, which closing the terminal or the server does not end."""
    command = [sys.executable, "-m", "etpick.jobs.work", str(job.folder)]
    with (job.folder / OUTPUT).open("ab") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    _children[child.pid] = child
    remember(job, child.pid)


_children: dict[int, subprocess.Popen[bytes]] = {}
"""Processes started from here, to be collected when they end; others know them by their files."""


def remember(job: Job, pid: int) -> None:
    """Note which process does the job."""
    try:
        began = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        began = 0.0
    with atomic_write(job.folder / PROCESS, overwrite=True) as path:
        path.write_text(json.dumps({"pid": pid, "began": began}) + "\n", encoding="utf-8")


def was_started(job: Job) -> bool:
    """Whether a process was ever started for the job, since it was last queued."""
    return (job.folder / PROCESS).exists()


def find(job: Job) -> psutil.Process | None:
    """The job's process, if it still runs; another one that got its number is not taken for it."""
    collect()
    try:
        noted = json.loads((job.folder / PROCESS).read_text(encoding="utf-8"))
        process = psutil.Process(int(noted["pid"]))
        alike = abs(process.create_time() - float(noted["began"])) < _SAME_START_S
        return process if alike and process.is_running() and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None


def collect() -> None:
    """Let go of children that have ended."""
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            del _children[pid]
