from pathlib import Path

import mrcfile
import numpy as np
import pytest
from click.testing import CliRunner

from etpick.batch import convert_all
from etpick.cli import main
from etpick.conversion import convert
from etpick.errors import InputError, OutputError
from etpick.io.formats.tomograms_star import read_tomograms_star
from etpick.io.picks import read_picks

CSV = "class,x,y,z,score,rot,tilt,psi\nribosome,10,20,30,0.5,30,60,-45\nproteasome,11,21,31,0.25,0,0,0\n"


@pytest.fixture
def picks(tmp_path: Path) -> Path:
    path = tmp_path / "t_1.csv"
    path.write_text(CSV)
    return path


@pytest.fixture
def tomogram(tmp_path: Path) -> Path:
    path = tmp_path / "t_1.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.zeros((40, 50, 60), dtype=np.int8))
        mrc.voxel_size = 10.0
    return path


def test_a_tomogram_tells_name_size_and_spacing(tmp_path: Path, picks: Path, tomogram: Path) -> None:
    done = convert(picks, tmp_path / "out.star", to_style="relion5", tomogram=tomogram, out_binning=4)
    text = (tmp_path / "out.star").read_text()
    assert "rlnTomoTiltSeriesPixelSize" in text and "2.5" in text and "t_1" in text
    assert done.lines()[0] == "CSV with a header → RELION 5: 1 proteasome, 1 ribosome of t_1"
    back = convert(tmp_path / "out.star", tmp_path / "back.csv", tomogram=tomogram)
    np.testing.assert_allclose(back.particles.positions, [[30, 20, 10], [31, 21, 11]], atol=1e-6)
    assert back.particles.spacing_A == 10


def test_size_and_spacing_serve_where_the_tomogram_is_elsewhere(tmp_path: Path, picks: Path, tomogram: Path) -> None:
    one, other = tmp_path / "a_info.json", tmp_path / "b_info.json"
    convert(picks, one, to_style="eman2", tomogram=tomogram)
    convert(picks, other, to_style="eman2", size_xyz=(60, 50, 40), spacing_A=10.0)
    assert one.read_text() == other.read_text()


def test_unbinned_and_binned_voxels(tmp_path: Path, picks: Path) -> None:
    convert(picks, tmp_path / "unbinned.star", spacing_A=10.0, out_binning=4, name="TS_07")
    assert read_picks(tmp_path / "unbinned.star").positions[0].tolist() == [120, 80, 40]
    assert read_picks(tmp_path / "unbinned.star").spacing_A == 2.5
    with pytest.raises(InputError, match=r"voxels of 2\.5 Å and the tomogram has 10 Å: add --bin 4, or --bin 1"):
        convert(tmp_path / "unbinned.star", tmp_path / "x.csv", spacing_A=10.0)
    done = convert(tmp_path / "unbinned.star", tmp_path / "x.csv", spacing_A=10.0, binning=4)
    assert done.particles.positions[0].tolist() == [30, 20, 10] and done.particles.tomogram == "TS_07"


def test_axes_are_swapped_and_then_flipped_and_angles_left_out(tmp_path: Path, picks: Path, tomogram: Path) -> None:
    done = convert(picks, tmp_path / "s.csv", swap="xz")
    assert done.particles.positions[0].tolist() == [10, 20, 30]
    assert done.particles.angles is None and "angles are left out" in done.notes[0]
    done = convert(picks, tmp_path / "f.csv", swap="xz", flip="z", tomogram=tomogram)
    assert read_picks(tmp_path / "f.csv").positions[0].tolist() == [39 - 10, 20, 30]
    with pytest.raises(InputError, match="--flip z needs the tomogram's size"):
        convert(picks, tmp_path / "n.csv", flip="z")
    with pytest.raises(InputError, match="--swap zz: choose one of xy, xz, yz"):
        convert(picks, tmp_path / "n.csv", swap="zz")
    assert not (tmp_path / "n.csv").exists()


def test_each_tomogram_is_flipped_by_its_own_size(tmp_path: Path) -> None:
    for name, depth in (("a", 20), ("b", 30)):
        (tmp_path / f"{name}.csv").write_text("class,x,y,z\nribosome,1,2,3\n")
        with mrcfile.new(tmp_path / f"{name}.mrc") as mrc:
            mrc.set_data(np.zeros((depth, 10, 10), dtype=np.int8))
            mrc.voxel_size = 10.0
    picks, tomograms = ([tmp_path / f"{name}.{suffix}" for name in "ab"] for suffix in ("csv", "mrc"))
    done = convert_all(picks, tmp_path / "out", to_style="relion4", tomograms=tomograms, flip="z")
    assert [one.particles.positions[0, 0] for one in done] == [16, 26]


def test_tomograms_star_is_written_and_read(tmp_path: Path, picks: Path, tomogram: Path) -> None:
    star, table = tmp_path / "particles.star", tmp_path / "tomograms.star"
    done = convert(
        picks, star, to_style="relion5", tomogram=tomogram, out_binning=4, write_tomograms=table, name="TS_07"
    )
    assert done.files == (star, table)
    listed = read_tomograms_star(table)["TS_07"]
    assert listed.shape == (160, 200, 240) and listed.pixel_A == 2.5 and listed.spacing_A == 10
    back = convert(star, tmp_path / "back.csv", tomograms_star=table)
    np.testing.assert_allclose(back.particles.positions, [[30, 20, 10], [31, 21, 11]], atol=1e-6)
    assert back.particles.tomogram == "TS_07"
    with pytest.raises(InputError, match="has no tomogram TS_70"):
        convert(star, tmp_path / "c.csv", tomograms_star=table, name="TS_70")
    with pytest.raises(InputError, match="both say the tomogram's size"):
        convert(star, tmp_path / "c.csv", tomograms_star=table, tomogram=tomogram)


TWO = """
data_global

loop_
_rlnTomoName #1
_rlnTomoTiltSeriesPixelSize #2
_rlnTomoTomogramBinning #3
_rlnTomoSizeX #4
_rlnTomoSizeY #5
_rlnTomoSizeZ #6
TS_1 2.5 4 401 400 200
TS_2 2.5 4 400 400 200
"""


def test_of_several_tomograms_one_is_named_and_its_odd_size_keeps_the_centre(tmp_path: Path) -> None:
    """Constructed from RELION 5's columns; the centre of 401 unbinned voxels is 200.5, 50.125 binned."""
    (tmp_path / "tomograms.star").write_text(TWO)
    rows = "\n".join(f"{name} 0 0 0" for name in ("TS_1", "TS_2"))
    columns = "\n".join(f"_rlnCenteredCoordinate{axis}Angst #{i}" for i, axis in enumerate("XYZ", start=2))
    (tmp_path / "p.star").write_text(f"data_particles\n\nloop_\n_rlnTomoName #1\n{columns}\n{rows}\n")
    with pytest.raises(InputError, match="holds 2 tomograms: say which one with --name"):
        convert(tmp_path / "p.star", tmp_path / "o.csv", tomograms_star=tmp_path / "tomograms.star")
    done = convert(tmp_path / "p.star", tmp_path / "o.csv", tomograms_star=tmp_path / "tomograms.star", name="TS_1")
    assert done.particles.positions.tolist() == [[25, 50, 50.125]]
    with pytest.raises(InputError, match=r"--size and --spacing, or --tomograms-star"):
        convert(tmp_path / "p.star", tmp_path / "q.csv", name="TS_1")


def test_classes_are_chosen_and_numbered(tmp_path: Path, picks: Path) -> None:
    done = convert(picks, tmp_path / "a.tbl", classes=["ribosome", "proteasome"])
    assert "classes are numbered: 1 ribosome, 2 proteasome" in done.notes
    numbered, named = (convert(picks, tmp_path / name).notes for name in ("a.star", "a.csv"))
    assert any(note.startswith("classes are numbered: 1 ") for note in numbered)
    assert not any("numbered" in note for note in named)
    assert done.files == (tmp_path / "a.tbl", tmp_path / "a.doc")
    assert read_picks(tmp_path / "a.tbl").classes.tolist() == ["1", "2"]
    only = convert(picks, tmp_path / "r.ndjson", only=["ribosome"])
    assert len(only.particles) == 1 and only.notes == (
        "scores of CSV with a header have no place in CryoET Data Portal",
    )
    with pytest.raises(InputError, match=r"no pick of class fas in .*: it holds proteasome, ribosome"):
        convert(picks, tmp_path / "f.ndjson", only=["fas"])


def test_nothing_is_replaced_unasked(tmp_path: Path, picks: Path) -> None:
    with pytest.raises(OutputError, match="exists: add --overwrite"):
        convert(picks, picks)
    assert picks.read_text() == CSV


def test_picks_outside_are_noted(tmp_path: Path, picks: Path) -> None:
    done = convert(picks, tmp_path / "o.star", size_xyz=(15, 15, 15), spacing_A=10.0)
    assert "2 of 2 picks lie outside" in done.notes[0]


def test_the_command(tmp_path: Path, picks: Path, tomogram: Path) -> None:
    run = CliRunner().invoke
    result = run(main, ["convert", str(picks), str(tmp_path / "run"), "--to", "copick", "--tomogram", str(tomogram)])
    assert result.exit_code == 0, result.output
    assert "etpick_0_ribosome.json" in result.output and (tmp_path / "run/Picks/etpick_0_proteasome.json").exists()
    result = run(main, ["convert", str(picks), str(tmp_path / "p.cxc")])
    assert result.exit_code == 1 and "give the tomogram (--tomogram), or --spacing" in result.output
    result = run(main, ["convert", str(picks), str(tmp_path / "p.star"), "--size", "60", "50", "40", "--spacing", "10",
                        "--to", "relion5"])  # fmt: skip
    assert result.exit_code == 0, result.output
    result = run(main, ["convert", "--formats"])
    assert result.exit_code == 0 and "dynamo     .tbl" in result.output
    result = run(main, ["info", str(tmp_path / "p.star"), str(tomogram)])
    assert result.exit_code == 0, result.output
