"""Template matching with pyTME, run as a program: it is under the GPL and never imported.

Installed into an environment of its own (python -m venv FOLDER; FOLDER/bin/pip install pytme), it is found on PATH
or through ETPICK_PYTME, the folder of its `pytme` command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common import density
from etpick.io.mrc import write_mrc
from etpick.ops.normalise import measure
from etpick.types import Particles, Tomogram

HOW_TO_GET = (
    "pyTME is not there: install it (PyPI: pytme) into an environment of its own and set ETPICK_PYTME to its bin folder"
)
OUTLINE = 0.05  # share of a density's maximum that counts as inside
SOFT_VX = 2  # width of the mask's edge
WIDEST_VX = 65  # a cube that holds every species
CANDIDATES = 1000


def find_pytme() -> str | None:
    """Path of the `pytme` command, or None."""
    return shutil.which("pytme", path=os.environ.get("ETPICK_PYTME"))


def match_template(tomogram: Tomogram, name: str, diameter_A: float, step_deg: float, threads: int) -> Particles:
    """Candidates of one class: maxima of the correlation with its density over rotations `step_deg` apart.

    The tomogram is dark where there is protein, the density bright, so the target is inverted. The wedge opens
    along z (2) with the tilt axis along y: pyTME names by (2, 0) the plane of beam and tilt, z and x. From each
    correlation that with a phase-scrambled template is taken off.
    """
    image = np.asarray(tomogram.data)
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        write_mrc(at / "target.mrc", measure(image)(image), tomogram.spacing_A)  # gold beads are cut off
        template, mask = template_and_mask(name)
        write_mrc(at / "template.mrc", template, tomogram.spacing_A)
        write_mrc(at / "mask.mrc", mask, tomogram.spacing_A)
        _run(
            "match", "-m", at / "target.mrc", "-i", at / "template.mrc", "-I", at / "mask.mrc", "-o", at / "out.pickle",
            "-a", step_deg, "-n", threads, "-s", "FLCSphericalMask", "--invert-target-contrast",
            "--tilt-angles", "60,60", "--wedge-axes", "2,0", "--background-correction", "phase-scrambling",
        )  # fmt: skip
        _run(
            "postprocess", "--input-file", at / "out.pickle", "--output-prefix", at / "out", "--no-stats",
            "--output-format", "orientations", "--num-peaks", CANDIDATES,
            "--min-distance", max(1, round(diameter_A / 2 / tomogram.spacing_A)),
        )  # fmt: skip
        x, y, z, score = np.loadtxt(at / "out.tsv", skiprows=1, usecols=(0, 1, 2, 6), ndmin=2).T
    return Particles(np.stack([z, y, x], axis=1), np.array(name), score)


def template_and_mask(name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A class's density in an odd cube, its centre of mass in the middle voxel, and a soft ball around it.

    An even cube has its centre between voxels, and every position would be off by half a voxel.
    """
    volume = density(name, WIDEST_VX)
    inside = np.argwhere(volume > OUTLINE * volume.max())
    radius = float(np.linalg.norm(inside - WIDEST_VX // 2, axis=1).max())
    half = int(radius) + 2 + SOFT_VX
    cut = density(name, 2 * half + 1).astype(np.float32)
    distance = np.linalg.norm(np.indices(cut.shape) - half, axis=0)
    mask = np.clip((radius + SOFT_VX - distance) / SOFT_VX, 0, 1)
    return cut / cut.std(), mask.astype(np.float32)


def _run(*arguments: object) -> None:
    tool = find_pytme()
    if tool is None:
        raise SystemExit(HOW_TO_GET)
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"pytme {arguments[0]} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
