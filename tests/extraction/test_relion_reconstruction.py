"""RELION itself reconstructs our particle at the right place and hand from what etpick wrote."""

from pathlib import Path

import numpy as np
import pytest
import starfile
from extraction_sample import SPACING_A, Sample

from etpick.errors import ExternalError
from etpick.evaluation.density import agreement, best_offset
from etpick.external import Relion, find_relion
from etpick.extraction import extract
from etpick.io.mrc import read_mrc

BOX_VX = 32
SHORTEST_A = 35.0


@pytest.fixture(scope="module")
def relion() -> Relion:
    try:
        return find_relion()
    except ExternalError as absent:
        pytest.skip(str(absent))


def reconstruct(relion: Relion, folder: Path) -> np.ndarray:
    options = ["--i", "particles.star", "--o", "out.mrc", "--3d_rot", "--ctf", "--maxres", SHORTEST_A]
    relion.run("relion_reconstruct", options, folder)
    return np.array(read_mrc(folder / "out.mrc").data, dtype=np.float64)


def in_box(density: np.ndarray) -> np.ndarray:
    """An odd cube put so that its middle voxel is the box's."""
    low = BOX_VX // 2 - density.shape[0] // 2
    box = np.zeros((BOX_VX,) * 3)
    box[(slice(low, low + density.shape[0]),) * 3] = density
    return box


def test_relion_reconstructs_the_particle_at_its_place_and_hand(relion: Relion, sample: Sample, tmp_path: Path) -> None:
    done = extract(sample.picks, sample.path, tmp_path, box_vx=BOX_VX, edge="pad", tilts="-60,60,3")
    found, density = reconstruct(relion, tmp_path), in_box(sample.species.density)
    mirrored = np.roll(density[::-1], 1, axis=0)
    assert done.count >= 20
    assert agreement(found, density, SPACING_A, SHORTEST_A) > 0.8
    assert agreement(found, mirrored, SPACING_A, SHORTEST_A) < 0.5
    assert agreement(found, density.transpose(2, 1, 0), SPACING_A, SHORTEST_A) < 0.5
    assert np.abs(best_offset(found, density, 4)[1]).max() <= 0.25


def test_relion_takes_the_remainder_from_the_origins(relion: Relion, sample: Sample, tmp_path: Path) -> None:
    extract(sample.picks, sample.path, tmp_path, box_vx=BOX_VX, edge="pad", tilts="-60,60,3", gallery=0)
    density = in_box(sample.species.density)
    right = agreement(reconstruct(relion, tmp_path), density, SPACING_A, SHORTEST_A)
    blocks = starfile.read(tmp_path / "particles.star", always_dict=True)
    blocks["particles"][[f"rlnOrigin{axis}Angst" for axis in "XYZ"]] *= -1
    starfile.write(blocks, tmp_path / "particles.star", overwrite=True)
    assert agreement(reconstruct(relion, tmp_path), density, SPACING_A, SHORTEST_A) < right - 0.02
