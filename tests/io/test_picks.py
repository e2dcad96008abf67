from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from etpick.errors import InputError, OutputError
from etpick.io.picks import read_picks, write_picks
from etpick.orientation import matrices_of
from etpick.types import Particles, Tomogram

SHAPE = (100, 201, 300)
TOMOGRAM = Tomogram(np.zeros(SHAPE, dtype=np.int8), 7.5, "t_1")
CLASSES = ("ribosome", "80S, big", "4v94")
NAMES = {".csv": CLASSES, ".star": CLASSES, ".coords": ("ribosome", "4v94", "1e5"), ".txt": ("a", "b-c", "7")}


@st.composite
def particles(draw: st.DrawFn, names: tuple[str, ...]) -> Particles:
    n = draw(st.integers(0, 6))

    def numbers(low: float, high: float, *shape: int) -> np.ndarray:
        return draw(hnp.arrays(np.float64, (n, *shape), elements=st.floats(low, high)))

    return Particles(
        numbers(-2, 4000, 3),
        np.array(draw(st.lists(st.sampled_from(names), min_size=n, max_size=n)), dtype=np.str_),
        draw(st.none()) or numbers(0, 1),
        numbers(0, 1) if draw(st.booleans()) else None,
        numbers(-180, 180, 3) if draw(st.booleans()) else None,
        draw(st.sampled_from([7.5, None])),
        draw(st.sampled_from(["t_1", None])),
    )


def same(read: Particles, written: Particles, *, fields: bool = True) -> None:
    np.testing.assert_allclose(read.positions, written.positions, atol=1e-3)
    assert read.classes.tolist() == written.classes.tolist()
    if fields:
        for name, tolerance in (("scores", 1e-6), ("class_probability", 1e-6), ("angles", 1e-3)):
            expected, found = getattr(written, name), getattr(read, name)
            if expected is not None and len(written):
                np.testing.assert_allclose(found, expected, atol=tolerance)


@pytest.mark.parametrize("suffix", [".csv", ".star", ".coords", ".txt"])
@settings(deadline=None)
@given(data=st.data())
def test_reading_returns_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject
) -> None:
    written = data.draw(particles(NAMES[suffix]))
    path = write_picks(tmp_path_factory.mktemp("picks") / f"t_1{suffix}", written)
    same(read_picks(path), written, fields=suffix in (".csv", ".star"))


@settings(deadline=None)
@given(data=st.data(), binning=st.sampled_from([1.0, 2.0, 4.0, 3.7]))
def test_star_of_both_styles(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, binning: float) -> None:
    written = replace(data.draw(particles(CLASSES)), spacing_A=7.5)
    folder = tmp_path_factory.mktemp("star")
    for style in ("relion4", "relion5"):
        path = write_picks(folder / f"{style}.star", written, style=style, tomogram_shape=SHAPE, binning=binning)
        read = read_picks(path, tomogram=TOMOGRAM, binning=binning, classes=CLASSES)
        same(read, written)
        assert read.spacing_A == pytest.approx(7.5)


def test_unknown_scores_come_back_unknown(tmp_path: Path) -> None:
    manual = Particles(np.ones((2, 3)), np.array(["a", "b"]))
    for suffix in (".csv", ".star", ".coords"):
        assert read_picks(write_picks(tmp_path / f"m{suffix}", manual)).scores is None


def test_an_empty_file_of_picks_reads_back_empty(tmp_path: Path) -> None:
    for suffix in (".csv", ".star", ".coords", ".txt"):
        path = write_picks(tmp_path / f"none{suffix}", Particles.empty())
        read = read_picks(path, classes=["a", "b"])
        assert len(read) == 0 and read.scores is not None


def test_csv_columns_are_the_documented_ones(tmp_path: Path) -> None:
    found = Particles(
        np.array([[1.25, 2.5, 3.75]]), np.array(["ribosome"]), np.array([0.5]), spacing_A=10.0, tomogram="t"
    )
    text = write_picks(tmp_path / "t.csv", found).read_text()
    assert text == "class,x,y,z,score,tomogram,spacing_A\nribosome,3.7500,2.5000,1.2500,0.5,t,10\n"
    text = write_picks(tmp_path / "m.csv", Particles(np.zeros((1, 3)), np.array(["a"]))).read_text()
    assert text == "class,x,y,z,score\na,0.0000,0.0000,0.0000,\n"


@pytest.mark.parametrize(
    "text",
    [
        "z,y,x\n1.25,2.5,3.75\n",
        "Label;Z;X;Y;comment\na;1.25;3.75;2.5;fine\n",
        "x,y,z (voxel units, 31.36 A/voxel; x=fastest axis, array index [z,y,x])\n3.75,2.5,1.25\n",
        "3.75,2.5,1.25\n",
        "a,3.75,2.5,1.25\n",
        "# made by hand\n\nx y z\n3.75 2.5 1.25\n",
        "\ufeffx\ty\tz\n3.75\t2.5\t1.25\n",
        "a  3.75   2.5\t 1.25\n",
    ],
)
def test_columns_in_any_order_and_dress(tmp_path: Path, text: str) -> None:
    for suffix in (".csv", ".txt", ".coords"):
        path = tmp_path / f"p{suffix}"
        path.write_text(text, encoding="utf-8")
        np.testing.assert_array_equal(read_picks(path, default_class="a").positions, [[1.25, 2.5, 3.75]])
        assert read_picks(path, default_class="a").classes.tolist() == ["a"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("x,y,z\n1,2,3\n1,two,3\n", r"line 3 of .*: y is 'two', not a number"),
        ("x,y,z\n1,2,nan\n", "line 2 .* z is 'nan', not a number"),
        ("x,y,z\n1,,3\n", "line 2 .* y is '', not a number"),
        ("x,y,score\n1,2,3\n", "has no column z: found x, y, score"),
        ("x,y,z\n1,2\n", r"line 2 .* has 2 columns, not the 3 .*\(x, y, z\)"),
        ("1 2 3 4 5\n", "line 1 .* 5 columns and no header"),
        ("x,y,z,spacing_A\n1,2,3,4\n1,2,3,5\n", "mixes the spacings 4, 5 Å"),
    ],
)
def test_broken_text_names_the_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_picks(path)


def test_files_that_are_no_picks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no pick file .*p\.csv: nothing is there"):
        read_picks(tmp_path / "p.csv")
    with pytest.raises(InputError, match="it is a folder"):
        read_picks(tmp_path)
    (tmp_path / "p.xls").touch()
    with pytest.raises(InputError, match=r"unknown pick format '\.xls' .*\.csv, \.star, \.coords, \.txt"):
        read_picks(tmp_path / "p.xls")
    with pytest.raises(OutputError, match=r"unknown pick format '\.xls'"):
        write_picks(tmp_path / "q.xls", Particles.empty())
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="not a text file"):
        read_picks(tmp_path / "b.csv")


def test_classes_by_number_count_from_one(tmp_path: Path) -> None:
    path = tmp_path / "p.coords"
    path.write_text("2 1 1 1\n1.0 1 1 1\nribosome 1 1 1\n")
    assert read_picks(path, classes=["a", "ribosome"]).classes.tolist() == ["ribosome", "a", "ribosome"]
    with pytest.raises(InputError, match=r"unknown class 2 in .*: the classes are 1 ribosome"):
        read_picks(path, classes=["ribosome"])
    path.write_text("0 1 1 1\n")
    assert read_picks(path, classes=["ribosome"]).classes.tolist() == ["ribosome"]
    with pytest.raises(InputError, match=r"unknown class 0 .*numbers count from 1"):
        read_picks(path, classes=["a", "ribosome"])


def test_a_file_without_classes_says_them_by_its_name(tmp_path: Path) -> None:
    classes = ["Ribosome", "some", "proteasome"]
    for name, expected in (("t_1_ribosomes", "Ribosome"), ("t.some", "some"), ("proteasome", "proteasome")):
        path = tmp_path / f"{name}.txt"
        path.write_text("1 2 3\n")
        assert read_picks(path, classes=classes).classes.tolist() == [expected]
        assert read_picks(path, classes=["x"]).classes.tolist() == ["x"]
        assert read_picks(path).classes.tolist() == ["particle"]
    path = tmp_path / "t_1.txt"
    path.write_text("1 2 3\n")
    with pytest.raises(InputError, match=r"does not say the class .* 3 classes"):
        read_picks(path, classes=classes)


def test_binning_divides_voxels(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("x,y,z,spacing_A\n8,4,2,2.5\n")
    read = read_picks(path, binning=4.0)
    np.testing.assert_array_equal(read.positions, [[0.5, 1, 2]])
    assert read.spacing_A == 10.0
    with pytest.raises(InputError, match="binning 0"):
        read_picks(path, binning=0)


RELION4 = """
data_optics

loop_
_rlnOpticsGroup #1
_rlnTomoTiltSeriesPixelSize #2
1 2.5

data_particles

loop_
_rlnTomoName #1
_rlnCoordinateX #2
_rlnCoordinateY #3
_rlnCoordinateZ #4
_rlnOriginXAngst #5
_rlnOriginYAngst #6
_rlnOriginZAngst #7
_rlnAngleRot #8
_rlnAngleTilt #9
_rlnAnglePsi #10
_rlnClassNumber #11
_rlnAutopickFigureOfMerit #12
001 40.0 80.0 120.0 10 -20 0 10 20 30 2 0.75
002 41.0 80.0 120.0 0 0 0 10 20 30 1 0.5
"""


def test_relion_4_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "particles.star"
    path.write_text(RELION4)
    tomogram = Tomogram(np.zeros((50, 50, 50)), 10.0, "001")
    read = read_picks(path, tomogram=tomogram, classes=["a", "b"], binning=4)
    # 120/4; 80/4 + 20 Å / 10 Å; 40/4 - 10 Å / 10 Å
    np.testing.assert_allclose(read.positions, [[30, 22, 9]])
    assert read.classes.tolist() == ["b"] and read.scores is not None and read.scores.tolist() == [0.75]
    np.testing.assert_array_equal(read.angles, [[10, 20, 30]])
    assert read.spacing_A == 10.0 and read.tomogram == "001"
    with pytest.raises(InputError, match=r"picks of 2 tomograms \(001, 002\): name one of them"):
        read_picks(path)
    with pytest.raises(InputError, match=r"no picks of t_1: it is about 001, 002"):
        read_picks(path, tomogram=TOMOGRAM)


def test_names_of_tomograms_may_go_on_but_not_be_cut(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("x,y,z,tomogram\n1,1,1,TS_1\n2,2,2,TS_1_b.tomostar\n3,3,3,TS_10\n")

    def of(name: str) -> float:
        return float(read_picks(path, tomogram=replace(TOMOGRAM, name=name)).positions[:, 0].sum())

    assert [of("TS_1"), of("TS_1_7.5Apx"), of("TS_1_b_7.5Apx"), of("TS_10")] == [1, 1, 2, 3]
    with pytest.raises(InputError, match="no picks of TS_2"):
        of("TS_2")


def test_an_array_s_name_is_not_held_against_the_picks(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("x,y,z,tomogram\n1,1,1,t_9\n")
    assert len(read_picks(path, tomogram=TOMOGRAM)) == 1
    with pytest.raises(InputError, match="is about the tomogram t_9, not t_1"):
        read_picks(path, tomogram=replace(TOMOGRAM, path=tmp_path / "t_1.mrc"))


RELION5 = """
data_particles

loop_
_rlnTomoName #1
_rlnCenteredCoordinateXAngst #2
_rlnCenteredCoordinateYAngst #3
_rlnCenteredCoordinateZAngst #4
t_1 0 0 0
t_1 75.0 -150.0 -375.0
"""


def test_relion_5_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "particles.star"
    path.write_text(RELION5)
    read = read_picks(path, tomogram=TOMOGRAM)
    np.testing.assert_allclose(read.positions, [[50, 100.5, 150], [0, 80.5, 160]])
    with pytest.raises(InputError, match=r"RELION 5.*give the tomogram"):
        read_picks(path)
    with pytest.raises(OutputError, match=r"RELION 5.*give its shape"):
        write_picks(tmp_path / "a.star", read, style="relion5")


def euler_matrix(rot: float, tilt: float, psi: float) -> np.ndarray:
    """RELION's Euler_angles2matrix written out: it takes points of the particle into the tomogram."""
    (a, b, g) = np.deg2rad([rot, tilt, psi])
    ca, sa, cb, sb, cg, sg = np.cos(a), np.sin(a), np.cos(b), np.sin(b), np.cos(g), np.sin(g)
    return np.array([
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ])  # fmt: skip


WHOLE = "".join(
    f"_rln{name} #{i}\n"
    for i, name in enumerate(
        ["TomoName", "CoordinateX", "CoordinateY", "CoordinateZ", "OriginXAngst", "OriginYAngst", "OriginZAngst",
         "TomoSubtomogramRot", "TomoSubtomogramTilt", "TomoSubtomogramPsi", "AngleRot", "AngleTilt", "AnglePsi",
         "TomoTiltSeriesPixelSize"], start=1,
    )
)  # fmt: skip


def test_particles_lie_and_shift_within_turned_subtomograms(tmp_path: Path) -> None:
    """RELION's particle_set.cpp: orientation A_subtomogram · A_particle, centre coordinate − A_subtomogram · origin."""
    path = tmp_path / "p.star"
    path.write_text(f"data_particles\n\nloop_\n{WHOLE}001 30 40 50 10 -20 5 30 70 -50 110 25 80 10\n")
    read = read_picks(path, spacing_A=10.0)
    whole, own = euler_matrix(30, 70, -50), euler_matrix(110, 25, 80)
    assert read.angles is not None
    np.testing.assert_allclose(matrices_of(read.angles)[0], whole @ own, atol=1e-6)
    centre = np.array([30, 40, 50]) - whole @ np.array([10, -20, 5]) / 10
    np.testing.assert_allclose(read.positions[0, ::-1], centre, atol=1e-6)
    path.write_text(path.read_text().replace("AngleRot #11", "Foo #11"))
    np.testing.assert_allclose(matrices_of(read_picks(path, spacing_A=10.0).angles)[0], whole, atol=1e-6)


def test_star_numbers_classes_in_the_given_order_and_holds_no_time(tmp_path: Path) -> None:
    found = Particles(np.ones((2, 3)), np.array(["b", "a"]))
    text = write_picks(tmp_path / "a.star", found, classes=["c", "b", "a"]).read_text()
    assert text == write_picks(tmp_path / "a.star", found, classes=["c", "b", "a"], overwrite=True).read_text()
    import starfile

    blocks = starfile.read(tmp_path / "a.star")
    assert blocks["particles"]["rlnClassNumber"].tolist() == [2, 3]
    assert "Created" not in text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        (
            "data_a\nloop_\n_rlnAngleRot #1\n_rlnFoo #2\n1 2\n",
            "no particle coordinates .* found rlnAngleRot, rlnFoo",
        ),
        (RELION5.replace(" 75.0", " far"), "particle 2 .*rlnCenteredCoordinateXAngst is 'far'"),
        (
            RELION4.replace("#8", "#8\n_rlnOriginX #8").replace(" 10 20 30", " 1 10 20 30"),
            "pixels of unknown size",
        ),
    ],
)
def test_broken_star(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "p.star"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_picks(path, tomogram=replace(TOMOGRAM, name="001"))


def test_shifts_need_a_spacing(tmp_path: Path) -> None:
    path = tmp_path / "p.star"
    path.write_text(RELION4.replace("rlnTomoTiltSeriesPixelSize", "rlnFoo").replace("002", "001"))
    with pytest.raises(InputError, match="give the spacing"):
        read_picks(path)
    assert read_picks(path, spacing_A=10.0, binning=4).positions[0].tolist() == [30, 22, 9]


def test_coords_refuse_what_they_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="class '80S, big' cannot stand"):
        write_picks(tmp_path / "a.coords", Particles(np.zeros((1, 3)), np.array(["80S, big"])))
    assert list(tmp_path.iterdir()) == []


def test_real_picks(shared_data: Path) -> None:
    read = read_picks(shared_data / "real" / "chlamy_lamella_171_ribosomes.csv", classes=["ribosome"])
    assert len(read) == 268
    np.testing.assert_array_equal(read.positions[0], [51.313, 93.845, 218.420])
