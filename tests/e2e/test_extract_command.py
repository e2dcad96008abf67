"""`etpick extract` as typed, from picks to subtomograms."""

from pathlib import Path

import pytest
import starfile
from click.testing import CliRunner, Result

from etpick.cli import main


def etpick(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    assert etpick("simulate", folder, "--count", 2, "--shape", 48, 96, 96, "--species", "ribosome").exit_code == 0
    return folder


def test_a_line_makes_subtomograms_a_table_and_a_gallery(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = etpick("extract", data, data, "--out", out, "--box", "320A", "--edge", "pad", "--tilts", "-60,60,3")
    assert done.exit_code == 0, done.output
    assert "note: contrast: particles are dark in the tomograms, so it was inverted" in done.output
    particles = starfile.read(out / "particles.star", always_dict=True)["particles"]
    assert f"{len(particles)} subtomograms: " in done.output and str(out / "gallery.html") in done.output
    assert set(particles.rlnMicrographName) == {"tomo_000", "tomo_001"}
    again = etpick("extract", data, data, "--out", out, "--box", "320A", "--edge", "pad", "--tilts", "-60,60,3")
    assert again.exit_code == 1 and "add --overwrite" not in again.output and "--resume" in again.output
    assert etpick("extract", data, data, "--out", out, "--box", 32, "--edge", "pad", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--box", "large"], "'large' is neither voxels (64) nor Å (640A)"),
        (["--box", "33"], "a box of 33 voxels is odd and RELION takes even ones: 34, say"),
        (["--box", "32", "--contrast", "dark"], "'dark' is not one of"),
        ([], "Missing option '--box'"),
    ],
)
def test_mistakes_are_one_sentence(data: Path, tmp_path: Path, options: list[str], message: str) -> None:
    failed = etpick("extract", data, data, "--out", tmp_path / "out", *options)
    assert failed.exit_code != 0 and message in failed.output and not (tmp_path / "out").exists()


def test_help_tells_units_and_defaults() -> None:
    text = " ".join(etpick("extract", "--help").output.split())
    for part in (
        "--box N|NA",
        "--edge [drop|pad]",
        "[default: drop]",
        "--defocus",
        "underfocus in µm",
        "[default: 300.0]",
    ):
        assert part in text
