"""A small project on disk, to train on in seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from balls import CLASSES, balls
from etpick.io.mrc import write_mrc
from etpick.io.picks import write_picks
from etpick.jobs import JobQueue


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
