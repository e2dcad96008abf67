"""A small project on disk, to train on in seconds."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from balls import CLASSES, balls
from etpick.io.mrc import write_mrc
from etpick.io.picks import write_picks
from etpick.jobs import Job, JobQueue, Status, status

TINY = {"patch_vx": 32, "batch": 2, "validations": 2, "seed": 3, "int8": False}


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labelled tomograms of balls, one of which validates, and the project file."""
    folder = tmp_path_factory.mktemp("balls")
    lines = ['labels = "complete"']
    for c in CLASSES:
        lines += ["[[classes]]", f'name = "{c.name}"', f"diameter_A = {c.diameter_A}"]
    for seed in (0, 1):
        tomogram, particles = balls(seed)
        write_mrc(folder / f"t{seed}.mrc", tomogram.data, tomogram.spacing_A)
        write_picks(folder / f"t{seed}.csv", particles)
        lines += [
            "[[tomograms]]",
            f'path = "t{seed}.mrc"',
            f'picks = "t{seed}.csv"',
            f"validate = {str(seed == 1).lower()}",
        ]
    (folder / "project.toml").write_text("\n".join(lines))
    return folder / "project.toml"


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    """An empty queue; whatever still runs in it at the end is ended."""
    queue = JobQueue(tmp_path / "jobs")
    yield queue
    for job in queue.jobs():
        queue.stop(job)
    for job in queue.jobs():
        queue.kill(job)


def wait_for(job: Job, when: Callable[[Status], bool], seconds: float = 120) -> Status:
    """The job's status once it is as wanted; an assertion that shows it where that does not come."""
    until = time.monotonic() + seconds
    while not when(known := status(job)):
        assert time.monotonic() < until, f"{known}\n{job.output}"
        time.sleep(0.1)
    return known


def ended(known: Status) -> bool:
    return known.state in ("done", "failed", "stopped")
