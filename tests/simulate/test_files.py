from pathlib import Path

import mrcfile
import numpy as np
import pytest

from etpick.errors import InputError, OutputError
from etpick.io.picks import read_picks
from etpick.simulate import simulate_folder

SHAPE = (40, 64, 72)


def test_folder_holds_tomograms_truth_and_occupancy_that_fit_together(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    paths = simulate_folder(
        tmp_path / "new" / "out", count=2, shape=SHAPE, seed=4, on_progress=lambda *done: seen.append(done)
    )
    assert [p.name for p in paths] == ["tomo_000.mrc", "tomo_001.mrc"]
    assert seen == [(1, 2), (2, 2)]
    volumes = []
    for path in paths:
        with mrcfile.open(path) as mrc:
            assert mrc.data.shape == SHAPE and mrc.data.dtype == np.float32
            assert float(mrc.voxel_size.x) == pytest.approx(10.0)
            volumes.append(mrc.data.copy())
        truth = read_picks(path.with_suffix(".csv"))
        assert len(truth) > 0 and truth.angles is not None
        occupancy = np.load(path.with_name(f"{path.stem}_occupancy.npz"))["occupancy"]
        assert occupancy.shape == SHAPE and occupancy.dtype == np.uint16
        for row, position in enumerate(truth.positions, start=1):
            centre = np.argwhere(occupancy == row).mean(axis=0)
            assert np.linalg.norm(centre - position) < 1
    assert (volumes[0] != volumes[1]).any()


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        simulate_folder(tmp_path / name, count=1, shape=(36, 40, 40), seed=9, species=["proteasome"])
    for one in sorted((tmp_path / "a").iterdir()):
        assert one.read_bytes() == (tmp_path / "b" / one.name).read_bytes(), one.name


def test_nothing_is_overwritten_unless_told(tmp_path: Path) -> None:
    (tmp_path / "tomo_001.csv").write_text("precious")
    arguments = {"count": 2, "shape": (36, 40, 40), "species": ["proteasome"]}
    with pytest.raises(OutputError, match=r"tomo_001\.csv exists"):
        simulate_folder(tmp_path, **arguments)
    assert [p.name for p in tmp_path.iterdir()] == ["tomo_001.csv"]
    simulate_folder(tmp_path, **arguments, overwrite=True)
    assert (tmp_path / "tomo_001.csv").read_text() != "precious"


def test_maps_become_particles(tmp_path: Path, shared_data: Path) -> None:
    (path,) = simulate_folder(
        tmp_path, count=1, shape=(40, 64, 64), maps=shared_data / "maps", species=["1bxn", "4cr2"]
    )
    assert set(read_picks(path.with_suffix(".csv")).classes) == {"1bxn", "4cr2"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"shape": (0, 10, 10)},
        {"spacing_A": 0.0},
        {"seed": -1},
        {"particles_per_class": -1},
        {"species": ["unicorn"]},
    ],
)
def test_impossible_wishes_are_refused_before_anything_is_written(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        simulate_folder(tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()
