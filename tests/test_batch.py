from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile
from click.testing import CliRunner, Result

from etpick.cli import main
from etpick.io.picks import read_picks, write_picks
from etpick.io.tomograms import open_tomogram
from etpick.types import Particles


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, arguments)])


@pytest.fixture
def tomograms(tmp_path: Path) -> Path:
    for name, spacing_A in (("t_1", 10.0), ("t_10", 5.0)):
        with mrcfile.new(tmp_path / "tomograms" / f"{name}.mrc") as mrc:
            mrc.set_data(np.zeros((20, 30, 40), dtype=np.int8))
            mrc.voxel_size = spacing_A
    return tmp_path / "tomograms"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "tomograms").mkdir()


def picks(path: Path, x: float) -> Path:
    path.parent.mkdir(exist_ok=True)
    return write_picks(path, Particles(np.array([[3.0, 2.0, x]]), np.array(["a"])))


def test_many_files_get_the_tomograms_of_their_names(tmp_path: Path, tomograms: Path) -> None:
    sources = [picks(tmp_path / "in" / f"{name}.coords", x) for name, x in (("t_1", 1.0), ("t_10", 9.0))]
    result = run(*sources, tmp_path / "out", "--to", "relion5", "--tomogram", tomograms)
    assert result.exit_code == 0, result.output
    for name, x, spacing_A in (("t_1", 1.0, 10.0), ("t_10", 9.0, 5.0)):
        read = read_picks(tmp_path / "out" / f"{name}.star", shape=(20, 30, 40), spacing_A=spacing_A)
        np.testing.assert_allclose(read.positions, [[3, 2, x]])
        assert read.tomogram == name
    again = run(*sources, tmp_path / "out", "--to", "relion5", "--tomogram", tomograms)
    assert again.exit_code == 1 and "exists: add --overwrite" in again.output


def test_a_file_about_several_is_taken_apart(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("class,x,y,z,tomogram\na,1,2,3,t_1.mrc\na,4,5,6,t_10.mrc\na,7,8,9,t_1.mrc\n")
    result = run(path, tmp_path / "out", "--each", "--to", "imod")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["t_1.mod", "t_10.mod"]
    assert len(read_picks(tmp_path / "out" / "t_1.mod")) == 2
    assert len(read_picks(tmp_path / "out" / "t_10.mod")) == 1
    single = picks(tmp_path / "in" / "t_3.coords", 1)  # a pattern of the shell may find one file only
    assert run(single, tmp_path / "out", "--to", "imod").exit_code == 0
    assert (tmp_path / "out" / "t_3.mod").is_file()


def test_what_cannot_be_told_apart_is_refused_before_anything_is_written(tmp_path: Path, tomograms: Path) -> None:
    one, two = picks(tmp_path / "a" / "t_1.coords", 1), picks(tmp_path / "b" / "t_1.coords", 2)
    result = run(one, two, tmp_path / "out", "--to", "csv")
    assert result.exit_code == 1 and "would both be written as t_1.csv" in result.output
    other = picks(tmp_path / "a" / "x_7.coords", 1)
    result = run(one, other, tmp_path / "out", "--to", "csv", "--tomogram", tomograms)
    assert result.exit_code == 1 and "is about x_7, and no such tomogram was given" in result.output
    for name in ("x_7_a", "x_7_b"):
        (tomograms / f"{name}.mrc").write_bytes((tomograms / "t_1.mrc").read_bytes())
    result = run(one, other, tmp_path / "out", "--to", "csv", "--tomogram", tomograms)
    assert "is about x_7, which may be x_7_a or x_7_b" in result.output
    assert "say with --to" in run(one, other, tmp_path / "out").output
    assert "add --each" in run(one, tmp_path / "o.csv", "--tomogram", one, "--tomogram", two).output
    assert "--name and --write-tomograms" in run(one, other, tmp_path / "out", "--to", "csv", "--name", "t").output
    assert not (tmp_path / "out").exists()


def test_all_tomograms_go_into_one_file(tmp_path: Path, tomograms: Path) -> None:
    sources = []
    for name, label, x in (("t_1", "b", 1.0), ("t_10", "a", 9.0)):
        particles = Particles(np.array([[3.0, 2.0, x], [4.0, 5.0, x]]), np.array([label, label]), np.array([0.9, 0.4]))
        (tmp_path / "in").mkdir(exist_ok=True)
        sources.append(write_picks(tmp_path / "in" / f"{name}.csv", particles))
    out = tmp_path / "all.star"
    result = run(*sources, out, "--join", "--tomogram", tomograms)
    assert result.exit_code == 0, result.output
    assert f"all in {out}" in result.output
    blocks = starfile.read(out, always_dict=True)
    assert blocks["optics"]["rlnTomoTiltSeriesPixelSize"].tolist() == [10, 5]
    rows = blocks["particles"]
    assert rows["rlnTomoName"].tolist() == ["t_1", "t_1", "t_10", "t_10"]
    assert rows["rlnOpticsGroup"].tolist() == [1, 1, 2, 2]
    assert rows["rlnClassNumber"].tolist() == [2, 2, 1, 1]  # a before b, in all of them
    for name, x in (("t_1", 1.0), ("t_10", 9.0)):
        read = read_picks(out, tomogram=open_tomogram(tomograms / f"{name}.mrc"))
        np.testing.assert_allclose(read.positions, [[3, 2, x], [4, 5, x]])
    again = run(*sources, out, "--join", "--tomogram", tomograms)
    assert again.exit_code == 1 and "exists: add --overwrite" in again.output
    table = run(*sources, tmp_path / "all.csv", "--join", "--tomogram", tomograms)
    assert table.exit_code == 0, table.output
    assert (tmp_path / "all.csv").read_text().count("t_10") == 2
    refused = run(*sources, tmp_path / "all.mod", "--join")
    assert refused.exit_code == 1 and "is of one tomogram: leave out --join" in refused.output
