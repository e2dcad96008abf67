"""A tomogram and picks in a folder; napari without a screen."""

import os
from pathlib import Path

import numpy as np
import pytest
from desktop_sample import SPACING_A, write_tomogram

from etpick.io.picks import write_picks
from etpick.types import Particles

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


@pytest.fixture
def tomogram(tmp_path: Path) -> Path:
    return write_tomogram(tmp_path / "t_1.mrc")


@pytest.fixture
def particles() -> Particles:
    return Particles(
        np.array([[5.0, 10.25, 30.25], [7.0, 8.0, 9.0], [12.0, 20.0, 3.0]]),
        np.array(["ribosome", "proteasome", "ribosome"]),
        np.array([0.9, 0.5, 0.25]),
        spacing_A=SPACING_A,
        tomogram="t_1",
    )


@pytest.fixture
def picks(tmp_path: Path, particles: Particles) -> Path:
    return write_picks(tmp_path / "t_1.csv", particles)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project.toml"
    path.write_text(
        'labels = "complete"\n'
        '[[classes]]\nname = "proteasome"\ndiameter_A = 150\ncolor = "#00ff00"\n'
        '[[classes]]\nname = "ribosome"\ndiameter_A = 280\ncolor = "#0000ff"\n'
        '[[tomograms]]\npath = "t_1.mrc"\npicks = "t_1.csv"\n'
    )
    return path
