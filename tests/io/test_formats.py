"""Every format: what is written comes back, files of the real programs mean what they say, bad ones are named."""

import json
from dataclasses import replace
from pathlib import Path

import emfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from etpick.errors import InputError, OutputError
from etpick.io.formats.registry import BY_NAME, FORMATS, format_to_read, is_pick_file
from etpick.io.picks import read_picks, write_picks
from etpick.orientation import rotation_of
from etpick.types import Particles, Tomogram

SHAPE = (101, 201, 300)
TOMOGRAM = Tomogram(np.zeros(SHAPE, dtype=np.int8), 7.5, "t_1")
CLASSES = ("ribosome", "80S", "4v94")
NAMELESS = {name for name, form in BY_NAME.items() if not form.holds & {"class names", "class numbers"}}
ONE_CLASS = NAMELESS | {"copick"}
GOLDEN = Path(__file__).parent / "golden"


@st.composite
def particles(draw: st.DrawFn, classes: tuple[str, ...]) -> Particles:
    """Up to six, each half of a voxel at least away from its row's neighbours, so that an order can be found."""
    n = draw(st.integers(0, 6))

    def numbers(low: float, high: float, *shape: int) -> np.ndarray:
        return draw(hnp.arrays(np.float64, (n, *shape), elements=st.floats(low, high)))

    positions = numbers(-2, 1000, 3)
    positions[:, 0] = np.sort(positions[:, 0]) + np.arange(n)
    return Particles(
        positions,
        np.array(draw(st.lists(st.sampled_from(classes), min_size=n, max_size=n)), dtype=np.str_),
        numbers(0.001, 0.999),
        angles=numbers(-180, 180, 3),
        spacing_A=7.5,
        tomogram="t_1",
    )


def same(read: Particles, written: Particles, holds: frozenset[str]) -> None:
    """Alike but for the order, which formats that sort by class do not keep."""
    order = np.argsort(read.positions[:, 0])
    read = read.select(order)
    np.testing.assert_allclose(read.positions, written.positions, atol=1e-3)
    if not len(written):
        return
    if holds & {"class names", "class numbers"}:
        assert read.classes.tolist() == written.classes.tolist()
    if "scores" in holds:
        assert read.scores is not None
        np.testing.assert_allclose(read.scores, written.scores, atol=1e-6)
    if "angles" in holds:
        assert read.angles is not None and written.angles is not None
        turned = rotation_of(read.angles).inv() * rotation_of(written.angles)
        assert np.rad2deg(turned.magnitude()).max() < 1e-3


@pytest.mark.parametrize("name", BY_NAME)
@settings(max_examples=25)
@given(data=st.data(), binning=st.sampled_from([1.0, 4.0, 3.7]))
def test_reading_returns_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject, binning: float
) -> None:
    form = BY_NAME[name]
    written = data.draw(particles(CLASSES[:1] if name in ONE_CLASS else CLASSES))
    path = tmp_path_factory.mktemp("picks") / f"t_1{form.suffixes[0]}"
    options = {"tomogram_shape": SHAPE, "classes": CLASSES, "style": name, "binning": binning}
    write_picks(path, written, **options)
    assert is_pick_file(path) and format_to_read(path, name) is form
    read = read_picks(path, tomogram=TOMOGRAM, classes=CLASSES, binning=binning, style=name, default_class="ribosome")
    same(read, written, form.holds)
    assert read.spacing_A == pytest.approx(7.5) and read.tomogram == "t_1"
    copy = write_picks(path.with_name(f"again{path.suffix}"), read, **options)
    again = read_picks(copy, tomogram=TOMOGRAM, classes=CLASSES, binning=binning, style=name, default_class="ribosome")
    same(again, written, form.holds)


@pytest.mark.parametrize("name", BY_NAME)
def test_content_tells_formats_of_one_ending_apart(tmp_path: Path, name: str) -> None:
    form = BY_NAME[name]
    one = Particles(np.ones((1, 3)), np.array(["a"]), spacing_A=7.5, tomogram="t_1")
    path = write_picks(tmp_path / f"t_1{form.suffixes[0]}", one, tomogram_shape=SHAPE, style=name)
    assert format_to_read(path).read is form.read
    np.testing.assert_allclose(read_picks(path, tomogram=TOMOGRAM).positions, [[1, 1, 1]], atol=1e-6)


@pytest.mark.parametrize("name", [name for name, form in BY_NAME.items() if "spacing" in form.holds])
def test_spacing_travels_with_the_picks(tmp_path: Path, name: str) -> None:
    one = Particles(np.ones((1, 3)), np.array(["a"]), spacing_A=7.5, tomogram="t_1")
    path = write_picks(tmp_path / f"p{BY_NAME[name].suffixes[0]}", one, tomogram_shape=SHAPE, style=name, binning=4)
    read = read_picks(path, binning=4, shape=SHAPE, spacing_A=7.5 if name == "relion5" else None)
    assert read.spacing_A == pytest.approx(7.5)
    if "tomogram" in BY_NAME[name].holds:
        assert (read.tomogram or "").removesuffix(".tomostar") == "t_1"


# Files of the real programs, or numbers copied from them.

RELION5 = """
# version 50001

data_general

_rlnTomoSubTomosAre2DStacks                       1

# version 50001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnTomoTiltSeriesPixelSize #3
_rlnTomoSubtomogramBinning #4
_rlnImagePixelSize #5
           1 opticsGroup1     2.110000     2.000000     4.220000
           5 opticsGroup5     2.110000     2.000000     4.220000

# version 50001

data_particles

loop_
_rlnTomoName #1
_rlnTomoParticleId #2
_rlnCoordinateX #3
_rlnCoordinateY #4
_rlnCoordinateZ #5
_rlnAngleRot #6
_rlnAngleTilt #7
_rlnAnglePsi #8
_rlnOpticsGroup #9
_rlnOriginXAngst #10
_rlnOriginYAngst #11
_rlnOriginZAngst #12
_rlnClassNumber #13
Position_1_2.tomostar 18  1470.000000   828.000000   402.000000    -87.36962   141.197440    37.376381 5     0.437016     6.767016    15.207016 1
Position_1_2.tomostar 32  1863.000000   757.500000   343.500000    85.582552    35.580863   161.243912 5    25.757016     4.657016    17.317016 1
"""  # noqa: E501


def test_relion_5_after_warp(tmp_path: Path) -> None:
    """Rows of a RELION 5 refinement of Warp's particles (github.com/hamid13r/tomo_toolshed, relion_5_2D_example)."""
    path = tmp_path / "run_data.star"
    path.write_text(RELION5)
    read = read_picks(path, spacing_A=2.11)
    np.testing.assert_allclose(
        read.positions[0], [402 - 15.207016 / 2.11, 828 - 6.767016 / 2.11, 1470 - 0.437016 / 2.11]
    )
    assert read.spacing_A == 2.11 and read.tomogram == "Position_1_2.tomostar"  # not 4.22, the boxes' pixel size
    np.testing.assert_allclose(read.angles[1], [85.582552, 35.580863, 161.243912])  # type: ignore[index]


M_SPECIES = """
data_

loop_
_wrpCoordinateX1 #1
_wrpCoordinateY1 #2
_wrpCoordinateZ1 #3
_wrpAngleRot1 #4
_wrpAngleTilt1 #5
_wrpAnglePsi1 #6
_wrpRandomSubset #7
_wrpSourceName #8
_wrpSourceHash #9
  6623.68018  2211.03784  1994.99707  -143.46941  122.45067   124.13199  2  Position_1_3.tomostar  daeLrChteH23tsdYwH2geZt8vUE
  1659.20801  5381.73877  2073.05298   -22.49249   99.80813  -166.08223  1  Position_1_3.tomostar  daeLrChteH23tsdYwH2geZt8vUE
"""  # noqa: E501


def test_species_of_m(tmp_path: Path) -> None:
    """Rows of M's own table (github.com/hamid13r/tomo_toolshed, mtools_example), which counts Å."""
    path = tmp_path / "species_particles.star"
    path.write_text(M_SPECIES)
    read = read_picks(path, spacing_A=10.0, binning=4)
    np.testing.assert_allclose(read.positions[0], [199.499707, 221.103784, 662.368018])
    np.testing.assert_allclose(read.angles[0], [-143.46941, 122.45067, 124.13199])  # type: ignore[index]
    assert read.tomogram == "Position_1_3.tomostar"
    with pytest.raises(InputError, match="positions in Å: give the tomogram"):
        read_picks(path)


DYNAMO = """\
2 1 1 -1.4197 0.57826 1.5785 -44.606 4.5303 -14.579 0.052575 0 0 0 0 0 0 0 0 0 1 0 0 0 1018.9 759.36 641.59 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0
4 1 1 -1.4208 0.58177 0.57748 -60.966 7.3549 61.67 0.050439 0 0 0 0 0 0 0 0 0 1 0 0 0 1006.9 751.05 641.53 0 0+1.2074e-06i 0 0 0 0 0 1 0 0 0 0 0 0 0
"""  # noqa: E501


def test_dynamo_table_and_maps(tmp_path: Path) -> None:
    """Rows written by Dynamo, and its map (test/data of dynamotable); angles by the package eulerangles 1.0.2."""
    path = tmp_path / "t_complex.tbl"
    path.write_text(DYNAMO)
    read = read_picks(path)
    np.testing.assert_allclose(read.positions[0], [641.59 + 1.5785 - 1, 759.36 + 0.57826 - 1, 1018.9 - 1.4197 - 1])
    np.testing.assert_allclose(read.angles, [[-104.579, 4.5303, 45.394], [-28.33, 7.3549, 29.034]], atol=1e-6)
    np.testing.assert_allclose(read.scores, [0.052575, 0.050439])  # type: ignore[arg-type]
    assert read.tomogram is None and set(read.classes) == {"particle"}
    (tmp_path / "t_complex.doc").write_text("1\ttomo_ts01.mrc_15.00Apx.mrc\n2\ttomo_ts02.mrc_15.00Apx.mrc\n")
    assert read_picks(path).tomogram == "tomo_ts01.mrc_15.00Apx"
    (tmp_path / "t_complex.doc").unlink()
    (tmp_path / "t_complex.vll").write_text("* dSETTINGS\n/data/TS_07.rec\n")
    assert read_picks(path).tomogram == "TS_07"
    path.write_text(DYNAMO.replace(" 1 0 0 0 1006.9", " 3 0 0 0 1006.9"))
    with pytest.raises(InputError, match="does not name tomogram 3"):
        read_picks(path)
    (tmp_path / "t_complex.vll").unlink()
    assert len(read_picks(path, name="3")) == 1


def test_imod_model_of_3dmod() -> None:
    """A model that 3dmod wrote (test data of imodmodel): points at voxels' centres are half-integers in x and y."""
    read = read_picks(GOLDEN / "two_contour_example.mod")
    first, second = [64.33333588, 64.66666412, 80.0], [47.0, 77.33333588, 80.0]  # x, y, z as imodmodel reads them
    np.testing.assert_allclose(read.positions[0][::-1], np.array(first) - [0.5, 0.5, 0], atol=1e-5)
    np.testing.assert_allclose(read.positions[1][::-1], np.array(second) - [0.5, 0.5, 0], atol=1e-5)
    assert read.spacing_A == pytest.approx(4.48) and set(read.classes) == {"particle"}


def test_point_file_as_model2point_writes_it(tmp_path: Path) -> None:
    """Constructed from IMOD's manual page of model2point: x y z, with -object and -contour before them."""
    path = tmp_path / "beads.txt"
    path.write_text("     1     1    438.50    898.50     46.00\n     2     1    100.50    200.50      7.00\n")
    read = read_picks(path, style="imod-text")
    np.testing.assert_allclose(read.positions, [[46, 898, 438], [7, 200, 100]])
    assert read.classes.tolist() == ["1", "2"]
    path.write_text("438.5 898.5 46\n")
    np.testing.assert_allclose(read_picks(path, style="imod-text").positions, [[46, 898, 438]])


PEET = """\
CCC,reserved,reserved,pIndex,wedgeWT,NA,NA,NA,NA,NA,xOffset,yOffset,zOffset,NA,NA,reserved,phi,psi,theta,reserved,PEET v1.15
0.31,0,0,1,0,0,0,0,0,0,1.5,-2,0.25,0,0,0,60,-45,60,1
0.25,0,0,2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,2
"""  # noqa: E501


def test_peet_list_and_model(tmp_path: Path) -> None:
    """Constructed from PEET's columns as ArtiaX lists them (src/io/PEET/PEETParticleData.py)."""
    points = Particles(np.array([[12.0, 40.0, 100.0], [1, 2, 3]]), np.array(["p", "p"]))
    write_picks(tmp_path / "tomo.mod", points)
    path = tmp_path / "tomo_MOTL_Tom1_Iter2.csv"
    path.write_text(PEET)
    read = read_picks(path)
    np.testing.assert_allclose(read.positions, [[12.25, 38, 101.5], [1, 2, 3]])
    np.testing.assert_allclose(read.angles[0], [30, 60, -45], atol=1e-6)  # type: ignore[index]
    assert read.classes.tolist() == ["1", "2"] and read.scores is not None and read.scores.tolist() == [0.31, 0.25]
    path.write_text("\n".join(PEET.splitlines()[:2]))
    with pytest.raises(InputError, match="1 particles but its model has 2"):
        read_picks(path)
    (tmp_path / "tomo.mod").unlink()
    with pytest.raises(InputError, match=r"put its model beside it, named tomo_MOTL_Tom1_Iter2\.mod"):
        read_picks(path)


def test_eman_boxes(tmp_path: Path) -> None:
    """Constructed from EMAN2's e2spt_boxer.py: b[0] / apix * apix_unbin + nx // 2, and the two kinds of class."""
    path = tmp_path / "t_1_info.json"
    content = {
        "apix_unbin": 1.875,
        "boxes_3d": [[4.0, -8.0, 2.0, "tm", 4.5, 1], [0, 0, 0, "manual", 0.0, 0]],
        "class_list": {"0": {"boxsize": 64, "name": "ribosome"}, "1": "80S"},
    }
    path.write_text(json.dumps(content))
    read = read_picks(path, tomogram=TOMOGRAM)
    np.testing.assert_allclose(read.positions, [[50.5, 98, 151], [50, 100, 150]])
    assert read.classes.tolist() == ["80S", "ribosome"] and read.scores is not None and read.scores[0] == 4.5
    with pytest.raises(InputError, match=r"positions in Å|--spacing"):
        read_picks(path)
    with pytest.raises(InputError, match="from the tomogram's centre: give the tomogram"):
        read_picks(path, spacing_A=7.5)
    del content["apix_unbin"]
    path.write_text(json.dumps(content))
    np.testing.assert_allclose(read_picks(path).positions[0], [2, -8, 4])


COPICK = {
    "pickable_object_name": "proteasome",
    "user_id": "jane.doe",
    "session_id": "1234",
    "run_name": "t_1",
    "voxel_spacing": 10.0,
    "unit": "angstrom",
    "points": [
        {
            "location": {"x": 100.0, "y": 50.0, "z": 20.0},
            "transformation_": [[1, 0, 0, 5], [0, 1, 0, -5], [0, 0, 1, 0], [0, 0, 0, 1]],
            "instance_id": 0,
            "score": 1.0,
        },
        {"location": {"x": 0.0, "y": 0.0, "z": 0.0}, "instance_id": 1, "score": 1.0},
    ],
    "trust_orientation": True,
}


def test_copick_file(tmp_path: Path) -> None:
    """Constructed from copick's model CopickPicksFile: a point's centre is location + translation, in Å."""
    path = tmp_path / "jane.doe_1234_proteasome.json"
    path.write_text(json.dumps(COPICK))
    read = read_picks(path)
    np.testing.assert_allclose(read.positions, [[2, 4.5, 10.5], [0, 0, 0]])
    assert set(read.classes) == {"proteasome"} and read.spacing_A == 10 and read.tomogram == "t_1"
    assert read.scores is None  # all 1: nobody scored
    np.testing.assert_allclose(rotation_of(read.angles).magnitude(), 0, atol=1e-9)  # type: ignore[arg-type]
    path.write_text(json.dumps(COPICK | {"trust_orientation": False}))
    assert read_picks(path, spacing_A=5.0).angles is None
    np.testing.assert_allclose(read_picks(path, spacing_A=5.0).positions[0], [4, 9, 21])


def test_copick_file_that_copick_wrote() -> None:
    """Stored by copick 1.31.0 through CopickPicks.from_numpy, for the particle of docs/conventions.md."""
    read = read_picks(GOLDEN / "jane_7_ribosome.json", spacing_A=10.0)
    np.testing.assert_allclose(read.positions, [[12.25, 40.5, 100.75]])
    np.testing.assert_allclose(read.angles, [[30, 60, -45]], atol=1e-5)
    assert read.classes.tolist() == ["ribosome"] and read.tomogram == "TS_01"


def test_copick_run_is_read_and_written_as_a_folder(tmp_path: Path) -> None:
    run = tmp_path / "ExperimentRuns" / "t_1"
    several = Particles(np.arange(9.0).reshape(3, 3), np.array(["b", "a", "b"]), spacing_A=10.0, tomogram="t_1")
    write_picks(run, several, style="copick")
    assert sorted(p.name for p in (run / "Picks").iterdir()) == ["etpick_0_a.json", "etpick_0_b.json"]
    for folder in (run, run / "Picks"):
        read = read_picks(folder)
        np.testing.assert_allclose(read.positions, several.positions[[1, 0, 2]])
        assert read.classes.tolist() == ["a", "b", "b"] and read.scores is None
    with pytest.raises(OutputError, match="exists: add --overwrite"):
        write_picks(run, several, style="copick")
    (run / "Picks" / "jane_1_a.json").write_text((run / "Picks" / "etpick_0_a.json").read_text())
    with pytest.raises(InputError, match=r"a of several users .*etpick_0_a\.json, jane_1_a\.json"):
        read_picks(run)
    with pytest.raises(OutputError, match="copick does not take 'a_b'"):
        write_picks(run, replace(several, classes=np.array(["a_b"] * 3)), style="copick")


def test_motive_list_as_artiax_writes_it(tmp_path: Path) -> None:
    """Constructed from ArtiaX's ArtiatomiParticleData.py: rows 8–10 count from 1, 11–13 are shifts, 17–19 φ, ψ, θ."""
    row = np.zeros((1, 2, 20), dtype=np.float32)
    row[0, 0, [0, 4, 7, 8, 9, 10, 11, 12, 16, 17, 18, 19]] = [0.5, 1, 101, 41, 13, 0.5, 0, -1, 60, -45, 60, 2]
    row[0, 1] = row[0, 0]
    emfile.write(tmp_path / "motl.em", row)
    read = read_picks(tmp_path / "motl.em", classes=["a", "b"])
    np.testing.assert_allclose(read.positions[0], [11, 40, 100.5])
    np.testing.assert_allclose(read.angles[0], [30, 60, -45], atol=1e-5)  # type: ignore[index]
    assert read.classes.tolist() == ["b", "b"] and read.scores is not None and read.scores[0] == 0.5
    emfile.write(tmp_path / "volume.em", np.zeros((4, 4, 4), dtype=np.float32))
    assert not is_pick_file(tmp_path / "volume.em")
    with pytest.raises(InputError, match="holds no picks"):
        read_picks(tmp_path / "volume.em")
    with pytest.raises(InputError, match="no motive list"):
        read_picks(tmp_path / "volume.em", style="artiax")


def test_motive_list_that_copick_wrote() -> None:
    """By copick 1.31.0, write_em_motivelist, of indices (x, y, z) and phi, theta, psi; its score has another row."""
    read = read_picks(GOLDEN / "motl_copick.em")
    np.testing.assert_allclose(read.positions, [[12.25, 40.5, 100.75], [3 - 1, 2, 1 + 0.5]])
    np.testing.assert_allclose(read.angles[0], [30, 60, -45], atol=1e-5)  # type: ignore[index]


def test_markers_of_chimerax(tmp_path: Path) -> None:
    """Constructed from ChimeraX's user guide (commands marker and rename)."""
    path = tmp_path / "p.cxc"
    path.write_text(
        "open t_1.mrc\nmarker #2 position 75,15.0,7.5 color yellow radius 2\n"
        'marker #3 position 0,0,0 radius 2\nrename #2 "80S ribosome"\n'
    )
    read = read_picks(path, spacing_A=7.5)
    np.testing.assert_allclose(read.positions, [[1, 2, 10], [0, 0, 0]])
    assert read.classes.tolist() == ["80S ribosome", "3"]
    with pytest.raises(InputError, match="positions in Å"):
        read_picks(path)
    path.write_text("open t_1.mrc\n")
    with pytest.raises(InputError, match="has no markers"):
        read_picks(path, spacing_A=7.5)


def test_object_list_of_deepfinder(tmp_path: Path) -> None:
    """Objects of a list that DeepFinder wrote (cryoet-deepfinder, examples/analyze/result/tomo9_…_thresholded.xml)."""
    path = tmp_path / "tomo9_objlist.xml"
    path.write_text(
        '<objlist><object cluster_size="168" class_label="1" x="52" y="132" z="76"/>\n'
        '  <object cluster_size="263" class_label="1" x="138" y="206" z="114"/>\n'
        '  <object cluster_size="306" class_label="2" x="22" y="224" z="326"/>\n</objlist>\n'
    )
    read = read_picks(path, classes=["a", "b"])
    np.testing.assert_array_equal(read.positions, [[76, 132, 52], [114, 206, 138], [326, 224, 22]])
    assert read.classes.tolist() == ["a", "a", "b"] and read.scores is None and read.angles is None


def test_annotation_of_the_portal(tmp_path: Path) -> None:
    """Constructed from the portal's point_converter.py, whose matrix inverts scipy's ZYZ of RELION's angles."""
    path = tmp_path / "ribosome-1.0_orientedpoint.ndjson"
    matrix = Rotation.from_euler("ZYZ", [30, 60, -45], degrees=True).inv().as_matrix().tolist()
    point = {"type": "orientedPoint", "location": {"x": 10.0, "y": 20.5, "z": 30.0}, "xyz_rotation_matrix": matrix}
    path.write_text(json.dumps(point))  # no newline at the end, as there
    read = read_picks(path)
    np.testing.assert_allclose(read.positions, [[30, 20.5, 10]])
    np.testing.assert_allclose(read.angles, [[30, 60, -45]], atol=1e-9)
    path.write_text('{"type": "point", "location": {"x": 1, "y": 2, "z": 3}}\n')
    assert read_picks(path).angles is None


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("a.tbl", "1 2 3\n", "has 3 columns; a Dynamo table has at least 26"),
        ("a.tbl", DYNAMO.replace("1018.9", "far"), "cannot be read as a Dynamo table"),
        ("a.tbl", DYNAMO.replace("1018.9", "nan"), "particle 1 .* no number"),
        ("a.mod", "not a model", "cannot be read as an IMOD model"),
        ("a.point", "1 2\n", "line 1 .* has 2 columns"),
        ("a.point", "1 2 3\n4 5\n", "line 2 .* has 2 columns"),
        ("a.point", "1 2 z\n", "line 1 .* is '1 2 z', not numbers"),
        ("a.box", "1 2 64 64\n", "line 1 .* has x, y, z on every line"),
        ("a.json", "{", r"holds no picks: a \.json file with picks is one of copick or EMAN2"),
        ("a.json", '{"boxes_3d": 1}', "has no boxes_3d"),
        ("a.json", '{"boxes_3d": [[1, 2]]}', r"box 1 .* is \[1, 2\]"),
        ("a.json", '{"boxes_3d": [[1, 2, "z"]]}', "box 1 .*could not convert"),
        ("a.json", '{"boxes_3d": [], "apix_unbin": 0}', "apix_unbin .* is 0, not Å"),
        ("a.json", json.dumps(COPICK | {"unit": "pixel"}), "counts in 'pixel'"),
        ("a.json", json.dumps(COPICK | {"points": [{"location": {"x": 1}}]}), "a point that is not copick's"),
        ("a.em", "short", "holds no picks"),
        ("a.cxc", "marker #1 position 1,2,z\n", "position is no number"),
        ("a.xml", "<objlist><object></objlist>", "cannot be read as XML"),
        ("a.xml", "<svg/>", "holds no picks"),
        ("a.xml", '<objlist><object x="1" y="2" class_label="1"/></objlist>', "object 1 .*: z is None"),
        ("a.ndjson", '{"location": {"x": 1, "y": 2}}\n', "line 1 .* is no point"),
        ("a.ndjson", "\n[]\n", "line 2 .* is no point"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, file: str, content: str, sentence: str) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(InputError, match=sentence):
        read_picks(tmp_path / file, tomogram=TOMOGRAM)


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("relion5", {"tomogram_shape": None}, r"give its shape \(--tomogram or --size\)"),
        ("eman2", {"tomogram_shape": None}, "give the tomogram .*or its --size"),
        ("eman2", {"spacing_A": None}, "needs the Å per voxel: .*or --spacing"),
        ("copick", {"spacing_A": None}, "copick needs the Å per voxel"),
        ("chimerax", {"spacing_A": None}, "ChimeraX needs the Å per voxel"),
        ("copick", {"classes": ["a", "b"]}, "holds one class and these are a, b: choose one with --only"),
        ("portal", {"classes": ["a", "b"]}, "holds one class and these are a, b"),
    ],
)
def test_what_a_format_needs_is_asked_for(tmp_path: Path, name: str, change: dict[str, object], sentence: str) -> None:
    known = {"tomogram_shape": SHAPE, "spacing_A": 7.5, "classes": ["a", "a"]} | change
    two = Particles(np.ones((2, 3)), np.array(known["classes"]), spacing_A=known["spacing_A"])  # type: ignore[arg-type]
    path = tmp_path / f"p{BY_NAME[name].suffixes[0]}"
    with pytest.raises(OutputError, match=sentence):
        write_picks(path, two, tomogram_shape=known["tomogram_shape"], style=name)  # type: ignore[arg-type]
    assert not path.exists()


def test_names_and_endings_must_fit(tmp_path: Path) -> None:
    one = Particles(np.ones((1, 3)), np.array(["a"]))
    with pytest.raises(OutputError, match=r"does not end as Dynamo table does: call it \.tbl"):
        write_picks(tmp_path / "a.csv", one, style="dynamo")
    with pytest.raises(OutputError, match="unknown pick format 'dynamoo': use one of csv, relion4"):
        write_picks(tmp_path / "a.tbl", one, style="dynamoo")
    (tmp_path / "a.tbl").touch()
    with pytest.raises(InputError, match="unknown pick format 'x'"):
        read_picks(tmp_path / "a.tbl", style="x")
    assert [form.name for form in FORMATS[".star"]] == ["relion4", "relion5", "warp"]


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    numbered = Particles(np.ones((2, 3)), np.array(["7", "3"]))
    assert read_picks(write_picks(tmp_path / "a.tbl", numbered)).classes.tolist() == ["7", "3"]
    named = Particles(np.ones((2, 3)), np.array(["b", "a"]))
    assert read_picks(write_picks(tmp_path / "b.tbl", named)).classes.tolist() == ["2", "1"]


def test_a_file_beside_is_not_replaced_unasked(tmp_path: Path) -> None:
    one = Particles(np.ones((1, 3)), np.array(["a"]))
    (tmp_path / "a.doc").write_text("mine")
    with pytest.raises(OutputError, match=r"a\.doc exists"):
        write_picks(tmp_path / "a.tbl", one)
    assert [p.name for p in tmp_path.iterdir()] == ["a.doc"] and (tmp_path / "a.doc").read_text() == "mine"


def _relion4(path: Path, optics: str, groups: str = "1 2") -> Path:
    rows = "\n".join(f"t_1 {n} 20 30 {group}" for n, group in enumerate(groups.split(), start=10))
    path.write_text(
        f"data_optics\n\nloop_\n{optics}\n\ndata_particles\n\nloop_\n_rlnTomoName #1\n_rlnCoordinateX #2\n"
        f"_rlnCoordinateY #3\n_rlnCoordinateZ #4\n_rlnOpticsGroup #5\n{rows}\n"
    )
    return path


@pytest.mark.parametrize(
    ("optics", "spacing_A"),
    [
        ("_rlnOpticsGroup #1\n_rlnTomoTiltSeriesPixelSize #2\n1 2.5\n2 2.5", 2.5),
        ("_rlnOpticsGroup #1\n_rlnTomoTiltSeriesPixelSize #2\n1 2.5\n2 1.7", None),
        ("_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n_rlnTomoSubtomogramBinning #3\n1 10 4\n2 5 2", 2.5),
        ("_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n1 10\n2 10", None),  # the boxes' alone says nothing
    ],
)
def test_relion_4_states_the_spacing_where_it_is_unambiguous(
    tmp_path: Path, optics: str, spacing_A: float | None
) -> None:
    path = _relion4(tmp_path / "p.star", optics)
    assert read_picks(path).spacing_A == spacing_A
    binned = read_picks(path, binning=4)
    assert binned.spacing_A == (spacing_A and 4 * spacing_A)
    np.testing.assert_allclose(binned.positions[0], [7.5, 5, 2.5])
