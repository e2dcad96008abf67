import numpy as np
import pytest

from etpick.evaluation.plausibility import SLABS, plausibility

SHAPE = (100, 80, 80)


def lattice(step: int = 20) -> np.ndarray:
    axes = [np.arange(step // 2, n, step) for n in SHAPE]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(float)


def test_particles_apart_and_even_are_plausible() -> None:
    found = plausibility(lattice(), SHAPE, 10.0)
    assert found.remarks() == [] and found.overlapping == 0
    assert found.nearest == pytest.approx(2.0)
    assert found.slabs.sum() == found.count == 80 and found.slabs.max() == 16


def test_doubles_are_counted_by_brute_force_and_said() -> None:
    rng = np.random.default_rng(0)
    positions = np.concatenate([lattice(), lattice()[:6] + rng.uniform(1, 2, (6, 3))])
    found = plausibility(positions, SHAPE, 10.0)
    apart = np.linalg.norm(positions[:, None] - positions, axis=2) + 1e9 * np.eye(len(positions))
    assert found.overlapping == int((apart.min(axis=1) < 9).sum()) == 12
    assert any("12 of 86 picks are closer than 0.9 diameters" in remark for remark in found.remarks())


@pytest.mark.parametrize(("z", "face"), [(2.0, "lowest"), (97.0, "highest")])
def test_crowding_at_a_face_is_said(z: float, face: str) -> None:
    rng = np.random.default_rng(0)
    crowd = np.column_stack([np.full(60, z), rng.uniform(0, 80, (60, 2))])
    remarks = plausibility(np.concatenate([lattice(), crowd]), SHAPE, 1.0).remarks()
    assert len(remarks) == 1 and f"in the {face} tenth" in remarks[0]


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one(count: int) -> None:
    found = plausibility(lattice()[:count], SHAPE, 10.0)
    assert found.count == count and found.remarks() == [] and found.slabs.shape == (SLABS,)
    assert found.to_dict()["median_nearest_diameters"] is None and "–" in found.line()
