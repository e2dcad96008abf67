"""What tests of jobs share: options of a training of seconds, and waiting for a job."""

import time
from collections.abc import Callable

from etpick.jobs import Job, Status, status

TINY = {"patch_vx": 24, "batch": 2, "validations": 2, "seed": 3, "int8": False}


def wait_for(job: Job, when: Callable[[Status], bool], seconds: float = 120) -> Status:
    """The job's status once it is as wanted; an assertion that shows it where that does not come."""
    until = time.monotonic() + seconds
    while not when(known := status(job)):
        assert time.monotonic() < until, f"{known}\n{job.output}"
        time.sleep(0.1)
    return known


def ended(known: Status) -> bool:
    return known.state in ("done", "failed", "stopped")
