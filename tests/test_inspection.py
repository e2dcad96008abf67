import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from etpick.inspection import grey_levels, inspect_picks, inspect_project, inspect_tomogram, placement_of
from etpick.io.mrc import write_mrc
from etpick.io.picks import read_picks, write_picks
from etpick.io.tomograms import open_tomogram
from etpick.types import FloatArray, Particles, Tomogram

SHAPE = (40, 90, 100)
Change = Callable[[FloatArray], FloatArray]

MADE_UP = [
    pytest.param(lambda p: p[:, ::-1], "x and z are swapped", id="zyx for xyz"),
    pytest.param(lambda p: p[:, [0, 2, 1]], "x and y are swapped", id="xy"),
    pytest.param(lambda p: p[:, [1, 0, 2]], "y and z are swapped", id="yz"),
    pytest.param(lambda p: p * 2, r"2 times finer \(binning = 2\)", id="binning 2"),
    pytest.param(lambda p: p * 4, r"4 times finer \(binning = 4\)", id="binning 4"),
    pytest.param(lambda p: p / 2, r"2 times coarser \(binning = 0\.5\)", id="binning half"),
]


@pytest.fixture(scope="module")
def made_up() -> tuple[Tomogram, Particles]:
    """Dark cubes of five voxels in noise as strong as they are, on a ramp along z, with bright outliers."""
    rng = np.random.default_rng(1)
    data = rng.normal(size=SHAPE).astype(np.float32) + np.linspace(0, 5, SHAPE[0], dtype=np.float32)[:, None, None]
    centres = rng.uniform(8, np.array(SHAPE) - 8, (40, 3))
    for z, y, x in centres.round().astype(int):
        data[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3] -= 1.0
    data[tuple(rng.integers(0, SHAPE, (20, 3)).T)] = 1000
    return Tomogram(data, 10.0, "made_up"), Particles(centres, np.array(["a"] * 25 + ["b"] * 15))


def test_right_picks_raise_no_warning(made_up: tuple[Tomogram, Particles]) -> None:
    tomogram, particles = made_up
    found = inspect_tomogram(tomogram, [("picks.csv", particles)])
    assert found.warnings == ()
    assert dict(found.picks[0].counts) == {"a": 25, "b": 15}
    assert found.picks[0].contrast is not None and found.picks[0].contrast < -1
    assert found.shape == SHAPE and found.dtype == "float32" and found.file_bytes is None
    text = "\n".join(found.lines())
    assert "100 × 90 × 40 voxels (x, y, z) of 10 Å" in text and "25 a, 15 b" in text


@pytest.mark.parametrize(("change", "sentence"), MADE_UP)
def test_mistakes_are_named(made_up: tuple[Tomogram, Particles], change: Change, sentence: str) -> None:
    tomogram, particles = made_up
    wrong = replace(particles, positions=change(particles.positions))
    found = inspect_tomogram(tomogram, [("picks.csv", wrong)])
    (warning,) = found.warnings
    assert re.search(f"to judge by the grey levels, .*{sentence}", warning)


@pytest.mark.parametrize(("change", "sentence"), [pytest.param(lambda p: p, None, id="right"), *MADE_UP])
def test_mistakes_in_the_real_tomogram(shared_data: Path, change: Change, sentence: str | None) -> None:
    tomogram = open_tomogram(shared_data / "real" / "chlamy_lamella_171.mrc")
    particles = read_picks(shared_data / "real" / "chlamy_lamella_171_ribosomes.csv", tomogram=tomogram)
    wrong = replace(particles, positions=change(particles.positions))
    warnings = [w for w in inspect_tomogram(tomogram, [("p", wrong)]).warnings if "repeat" not in w]
    assert len(warnings) == (sentence is not None)
    assert sentence is None or re.search(f"to judge by the grey levels, .*{sentence}", warnings[0])


def test_picks_of_another_tomogram_are_doubted(made_up: tuple[Tomogram, Particles]) -> None:
    tomogram, _ = made_up
    elsewhere = np.random.default_rng(5).uniform(0, np.array(SHAPE) - 1, (60, 3))
    (warning,) = inspect_tomogram(tomogram, [("p", Particles(elsewhere, np.array("a")))]).warnings
    assert "belong together?" in warning


def test_picks_outside_are_counted(made_up: tuple[Tomogram, Particles]) -> None:
    tomogram, particles = made_up
    shifted = particles.positions.copy()
    shifted[:3, 0] += 300
    found = inspect_tomogram(tomogram, [("p", replace(particles, positions=shifted))])
    assert found.picks[0].outside == 3
    assert "3 of 40 picks lie outside" in found.warnings[0] and "another tomogram" in found.warnings[0]


def test_spacing_of_the_picks(made_up: tuple[Tomogram, Particles]) -> None:
    tomogram, particles = made_up
    (warning,) = inspect_tomogram(tomogram, [("p", replace(particles, spacing_A=2.5))]).warnings
    assert "voxels of 2.5 Å, made_up has 10 Å: set binning = 4" in warning
    (warning,) = inspect_tomogram(tomogram, [("p", replace(particles, spacing_A=5.0))], binning=2).warnings
    assert "voxels of 5 Å at binning = 2, made_up has 10 Å: set binning = 4" in warning


def test_grey_levels_are_robust_and_count_outliers(made_up: tuple[Tomogram, Particles]) -> None:
    grey = grey_levels(made_up[0])
    assert grey.maximum == 1000 and 1 < grey.std < 2.5 and grey.voxels_read == np.prod(SHAPE)
    assert grey.outlier_fraction == pytest.approx(20 / np.prod(SHAPE), rel=0.1)


def test_nan_and_constant_volumes() -> None:
    data = np.random.default_rng(0).normal(size=(10, 10, 10)).astype(np.float32)
    data[0, 0, :3] = np.nan
    (warning,) = inspect_tomogram(Tomogram(data, 10.0, "holes")).warnings
    assert "3 of 1000 voxels of holes are NaN" in warning
    (warning,) = inspect_tomogram(Tomogram(np.full_like(data, np.nan), 10.0, "void")).warnings
    assert "nothing but NaN" in warning
    (warning,) = inspect_tomogram(Tomogram(np.zeros((10, 10, 10)), 10.0, "flat")).warnings
    assert "every voxel of flat is 0" in warning
    holes = inspect_tomogram(Tomogram(data, 10.0, "holes"), [("p", Particles(np.ones((3, 3)), np.array("a")))])
    assert np.isfinite(holes.picks[0].contrast or np.nan)


class Huge:
    """A volume of 40 GB that knows only how to be cut, and counts what is asked of it."""

    shape = (1000, 4000, 2500)
    dtype = np.dtype(np.float32)
    given = 0

    def __getitem__(self, key: tuple[int | slice, ...]) -> np.ndarray:
        steps = [k.indices(n) if isinstance(k, slice) else (0, 1, 1) for k, n in zip(key, self.shape, strict=True)]
        size = [len(range(*step)) for step, k in zip(steps, key, strict=True) if isinstance(k, slice)]
        self.given += int(np.prod(size))
        return np.random.default_rng(0).normal(size=size).astype(np.float32)


def test_a_huge_tomogram_is_sampled() -> None:
    volume = Huge()
    places = np.random.default_rng(0).uniform(0, volume.shape, (2000, 3))
    found = inspect_tomogram(Tomogram(volume, 10.0, "huge"), [("p", Particles(places, np.array("a")))])
    assert volume.given < 2e8 and found.grey.voxels_read <= 16_000_000
    assert "M voxels" in found.lines()[1]


def test_picks_alone() -> None:
    found = inspect_picks("p", Particles(np.array([[1.0, 2, 3], [1, 2, 3.5], [-50, 2, 3]]), np.array("a")))
    assert dict(found.counts) == {"a": 3} and found.reach == ((-50, 2, 3), (1, 2, 3.5))
    assert len(found.warnings) == 2 and "repeat" in found.warnings[0] and "-50.0" in found.warnings[1]
    empty = inspect_picks("p", Particles.empty())
    assert empty.warnings == ("p holds no picks",) and empty.lines() == [
        "picks in p: none",
        "warning: p holds no picks",
    ]


def test_a_project_with_problems_is_shown_whole(tmp_path: Path, made_up: tuple[Tomogram, Particles]) -> None:
    tomogram, particles = made_up
    write_mrc(tmp_path / "t.mrc", tomogram.data, 10.0)
    write_picks(tmp_path / "t.csv", particles)
    classes = "".join(f'[[classes]]\nname = "{name}"\ndiameter_A = 50\n' for name in "abc")
    good = '[[tomograms]]\npath = "t.mrc"\npicks = ["t.csv", "gone.csv"]\nvalidate = true\n'
    bad = '[[tomograms]]\npath = "gone.mrc"\npicks = "t.csv"\n'
    (tmp_path / "p.toml").write_text(f'labels = "partial"\n{classes}{good}{bad}')
    found = inspect_project(tmp_path / "p.toml")
    assert [t.name for t in found.tomograms] == ["t"] and found.validating == ("t.mrc",)
    assert ["no pick file" in found.problems[0], "no tomogram" in found.problems[1]] == [True, True]
    assert found.warnings[2] == "no pick of class c in any tomogram" and len(found.warnings) == 3
    assert found.tomograms[0].file_bytes == (tmp_path / "t.mrc").stat().st_size
    assert "validates on: t.mrc" in found.lines()


FLIPPED = [
    pytest.param(0, "z runs the other way", id="z"),
    pytest.param(1, "y runs the other way", id="y"),
    pytest.param(2, "x runs the other way", id="x"),
]


def flipped(positions: FloatArray, shape: tuple[int, ...], axis: int) -> FloatArray:
    out = positions.copy()
    out[:, axis] = shape[axis] - 1 - out[:, axis]
    return out


@pytest.mark.parametrize(("axis", "sentence"), FLIPPED)
def test_flipped_axes_are_named(made_up: tuple[Tomogram, Particles], axis: int, sentence: str) -> None:
    tomogram, particles = made_up
    wrong = replace(particles, positions=flipped(particles.positions, tomogram.shape, axis))
    assert placement_of(tomogram, particles).likely is None
    found = placement_of(tomogram, wrong)
    assert found.likely is not None and sentence in found.likely
    assert found.likely in found.verdict and "standard errors" in found.verdict


@pytest.mark.parametrize(("axis", "sentence"), FLIPPED)
def test_flipped_axes_in_the_real_tomogram(shared_data: Path, axis: int, sentence: str) -> None:
    tomogram = open_tomogram(shared_data / "real" / "chlamy_lamella_171.mrc")
    particles = read_picks(shared_data / "real" / "chlamy_lamella_171_ribosomes.csv", tomogram=tomogram)
    wrong = replace(particles, positions=flipped(particles.positions, tomogram.shape, axis))
    assert sentence in (placement_of(tomogram, wrong).likely or "")


def test_few_picks_and_random_places_cry_no_wolf(made_up: tuple[Tomogram, Particles]) -> None:
    tomogram, particles = made_up
    assert "too few to tell" in placement_of(tomogram, particles.select(slice(0, 4))).verdict
    rng = np.random.default_rng(0)
    for count in (6, 10, 30, 100):
        for _ in range(2):
            anywhere = Particles(rng.uniform(0, np.array(tomogram.shape) - 1, (count, 3)), np.array("a"))
            assert placement_of(tomogram, anywhere).likely is None
