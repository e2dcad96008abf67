import logging
from pathlib import Path

import numpy as np
import pytest

from etpick.errors import InputError, OutputError, SpacingError
from etpick.io.init import init_project
from etpick.io.mrc import write_mrc
from etpick.io.pairing import picks_beside
from etpick.io.picks import write_picks
from etpick.io.project import load_project, read_project
from etpick.types import NEGATIVE, Particles

SHAPE = (20, 30, 40)
DIAMETERS = {"ribosome": 280.0, "proteasome": 150.0}


def tomogram(folder: Path, name: str, spacing_A: float = 10.0) -> Path:
    return write_mrc(folder / f"{name}.mrc", np.zeros(SHAPE, dtype=np.int8), spacing_A)


def picks(path: Path, classes: str = "ribosome ribosome proteasome", scale: float = 1.0) -> Path:
    names = np.array(classes.split())
    positions = np.array([[5.0, 6, 7], [8, 9, 10], [15, 25, 35]])[: len(names)]
    return write_picks(path, Particles(positions * scale, names))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("tomo_1", "tomo_2", "tomo_10"):
        tomogram(tmp_path, name)
        picks(tmp_path / f"{name}.csv")
    return tmp_path


def test_what_init_writes_loads(folder: Path) -> None:
    out = folder / "sub" / "project.toml"
    new = init_project([folder], diameters=DIAMETERS, out=out)
    dataset = load_project(out)
    assert [(c.name, c.diameter_A) for c in dataset.classes] == list(DIAMETERS.items())
    assert len({c.color for c in dataset.classes}) == 2 and not dataset.partial_labels
    assert [item.tomogram.name for item in dataset.items] == ["tomo_1", "tomo_2", "tomo_10"]
    assert [item.validate for item in dataset.items] == [False, False, True]
    assert isinstance(dataset.items[0].tomogram.data, np.memmap)
    np.testing.assert_array_equal(dataset.items[0].particles.positions[2], [15, 25, 35])
    assert dataset.items[0].particles.classes.tolist() == ["ribosome", "ribosome", "proteasome"]
    assert new.path == out and new.lines()[1] == "  tomo_1.mrc: 2 ribosome, 1 proteasome"
    assert new.lines()[-1].endswith("(validates)")


def test_the_project_may_move_with_its_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    init_project([folder], diameters=DIAMETERS, out=folder / "p.toml")
    moved = folder.rename(tmp_path_factory.mktemp("moved") / "here")
    assert len(load_project(moved / "p.toml").items) == 3


def test_the_file_explains_itself(folder: Path) -> None:
    out = folder / "p.toml"
    init_project([folder], diameters=DIAMETERS, out=out, spacing_A=12.0, labels="partial", validate=["tomo_1"])
    text = out.read_text()
    assert "unmarked places that look like particles are\n# left out, not taken for background" in text
    assert text.count("\n# ") > 8 and 'path = "tomo_1.mrc"' in text and "\n\n\n" not in text
    dataset = load_project(out)
    assert dataset.partial_labels and {item.tomogram.spacing_A for item in dataset.items} == {12.0}
    assert [item.validate for item in dataset.items] == [True, False, False]
    with pytest.raises(OutputError, match="--overwrite"):
        init_project([folder], diameters=DIAMETERS, out=out)
    init_project([folder], diameters=DIAMETERS, out=out, overwrite=True)


def test_picks_go_to_the_tomogram_whose_name_they_carry(tmp_path: Path) -> None:
    paths = [tomogram(tmp_path, name) for name in ("t_1", "t_10", "t_1_b")]
    for name in (
        "t_1.star",
        "t_1.csv",
        "t_1_ribosomes.txt",
        "t_10.csv",
        "t_1_b.csv",
        "t_1b.csv",
        "t_1_b_x.star",
    ):
        (tmp_path / name).touch()
    (tmp_path / "t_1_occupancy.npz").touch()
    found = [sorted(p.name for p in picks_beside(path, paths)) for path in paths]
    assert found == [["t_1.csv", "t_1_ribosomes.txt"], ["t_10.csv"], ["t_1_b.csv", "t_1_b_x.star"]]


def test_one_file_per_class_and_other_text(tmp_path: Path) -> None:
    tomogram(tmp_path, "t")
    tomogram(tmp_path, "bare")
    (tmp_path / "t_ribosomes.txt").write_text("7 6 5\n10 9 8\n")
    (tmp_path / "t_proteasome.txt").write_text("35 25 15\n")
    (tmp_path / "t_CTF.txt").write_text("1 2 3 4 5 6 7 8\n")
    new = init_project([tmp_path], diameters=DIAMETERS, out=tmp_path / "p.toml")
    assert dict(new.labelled[0].counts) == {"ribosome": 2, "proteasome": 1} and not new.labelled[0].validate
    assert [path.name for path in new.left_out] == ["bare.mrc"]
    assert "t_CTF.txt has 8 columns" in new.notes[0] and any("bare.mrc" in line for line in new.lines())
    assert len(load_project(tmp_path / "p.toml").items[0].particles) == 3


def test_init_says_what_is_missing(folder: Path) -> None:
    out = folder / "p.toml"
    with pytest.raises(InputError, match=r"class proteasome but no diameter .* --diameter proteasome=Å"):
        init_project([folder], diameters={"ribosome": 280.0}, out=out)
    with pytest.raises(InputError, match="no pick of class 26S: the pick files hold ribosome, proteasome"):
        init_project([folder], diameters={**DIAMETERS, "26S": 300.0}, out=out)
    with pytest.raises(InputError, match="no class given"):
        init_project([folder], diameters={}, out=out)
    with pytest.raises(InputError, match="cannot validate on tomo_3: the labelled tomograms are tomo_1, tomo_2"):
        init_project([folder], diameters=DIAMETERS, out=out, validate=["tomo_3"])
    for path in folder.glob("*.csv"):
        path.unlink()
    with pytest.raises(InputError, match=r"no picks beside the 3 tomogram\(s\): .*tomo_1\{\.csv,\.star"):
        init_project([folder], diameters=DIAMETERS, out=out)
    assert not out.exists()


def test_init_leads_to_what_lies_beside_and_is_not_taken(tmp_path: Path) -> None:
    path = tomogram(tmp_path, "t_1")
    tomogram(tmp_path, "t_2")
    (tmp_path / "t_1.mod").touch()
    with pytest.raises(InputError, match=r"t_1\.mod is left out, since models of IMOD .* etpick convert .*t_1\.mod"):
        init_project([tmp_path], diameters=DIAMETERS, out=tmp_path / "p.toml")
    (tmp_path / "t_1.mod").unlink()
    rows = "class,x,y,z,tomogram\nribosome,1,2,3,t_1\nribosome,4,5,6,t_2\n"
    (tmp_path / "particles.csv").write_text(rows)
    with pytest.raises(InputError, match=r"particles\.csv is about several tomograms: first etpick convert .* --each"):
        init_project([path], diameters=DIAMETERS, out=tmp_path / "p.toml")


@pytest.mark.parametrize(("classes", "sentence"), [
    ("ribosome protesome proteasome", r"class protesome .*t\.csv.*if proteasome is meant, name it so; otherwise add"),
    ("ribosome virus proteasome", r"add --diameter virus=Å, or leave it out: etpick convert t\.csv OUT --only"),
    ("1 2 3", r"picks of class 3 .*if these numbers are 3D classes, remove their column"),
])  # fmt: skip
def test_init_says_what_an_unknown_class_may_be(tmp_path: Path, classes: str, sentence: str) -> None:
    tomogram(tmp_path, "t")
    picks(tmp_path / "t.csv", classes)
    with pytest.raises(InputError, match=sentence):
        init_project([tmp_path], diameters=DIAMETERS, out=tmp_path / "p.toml")


def test_init_doubts_a_diameter_of_few_voxels(tmp_path: Path) -> None:
    tomogram(tmp_path, "t")
    picks(tmp_path / "t.csv")
    said = init_project([tmp_path], diameters={"ribosome": 28.0, "proteasome": 150.0}, out=tmp_path / "p.toml").lines()
    assert any("ribosome is 28 Å, 2.8 voxels of t.mrc" in line and "--diameter ribosome=280" in line for line in said)
    assert not any("proteasome is 150" in line for line in said)
    assert any("none validates" in line for line in said)


def test_init_notes_picks_outside_and_asks_for_a_spacing(tmp_path: Path) -> None:
    tomogram(tmp_path, "t")
    picks(tmp_path / "t.csv", scale=2.0)
    new = init_project([tmp_path], diameters=DIAMETERS, out=tmp_path / "p.toml")
    assert "1 of 3 picks lie outside" in new.notes[0] and "binning = 2" in new.notes[0]
    tomogram(tmp_path, "u", spacing_A=1.0)
    picks(tmp_path / "u.csv")
    with pytest.raises(SpacingError, match=r"voxel size 1\.0 Å in u\.mrc"):
        init_project([tmp_path / "u.mrc"], diameters=DIAMETERS, out=tmp_path / "q.toml")


def project(folder: Path, tomograms: str, head: str = 'labels = "complete"') -> Path:
    path = folder / "project.toml"
    classes = "".join(f'[[classes]]\nname = "{name}"\ndiameter_A = {d}\n' for name, d in DIAMETERS.items())
    path.write_text(f"{head}\n{classes}\n{tomograms}")
    return path


ENTRY = '[[tomograms]]\npath = "tomo_1.mrc"\npicks = "tomo_1.csv"\n'


@pytest.mark.parametrize(
    ("tomograms", "head", "sentence"),
    [
        (
            ENTRY + "bining = 2",
            'labels = "partial"',
            r"unknown key 'bining' in tomograms 1 \(known: path, picks",
        ),
        (ENTRY, 'label = "partial"', "'labels' is missing"),
        (ENTRY, 'labels = "some"', "'labels' is 'some': input should be 'complete' or 'partial'"),
        (
            ENTRY + "binning = 0",
            'labels = "partial"',
            "'binning' in tomograms 1 is 0: input should be greater",
        ),
        ("", 'labels = "partial"', "'tomograms' is missing"),
        (ENTRY + ENTRY, 'labels = "partial"', "tomogram tomo_1.mrc stands there twice"),
        (ENTRY, "labels = ", "is not valid TOML"),
        (ENTRY.replace("tomo_1.mrc", "gone.mrc"), 'labels = "partial"', "no tomogram .*gone.mrc"),
        (ENTRY.replace("tomo_1.csv", "gone.csv"), 'labels = "partial"', "no pick file .*gone.csv"),
    ],
)
def test_a_broken_project_is_explained(folder: Path, tomograms: str, head: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load_project(project(folder, tomograms, head))


def test_no_project(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no project file .*p\.toml: .*etpick init"):
        read_project(tmp_path / "p.toml")


def test_picks_outside_are_refused_with_a_likely_reason(folder: Path) -> None:
    (folder / "tomo_1.csv").unlink()
    picks(folder / "tomo_1.csv", scale=2.0)
    with pytest.raises(
        InputError, match=r"1 of 3 picks lie outside: they reach x 14 to 70, .* 40 × 30 × 20; .*binning = 2"
    ):
        load_project(project(folder, ENTRY))
    loaded = load_project(project(folder, ENTRY + "binning = 2"))
    np.testing.assert_array_equal(loaded.items[0].particles.positions[2], [15, 25, 35])


def said(spacing_A: float) -> str:
    return f"class,x,y,z,spacing_A\n1,8,8,8,{spacing_A}\n"


def test_picks_that_state_another_spacing_are_refused_unless_their_binning_is_said(folder: Path) -> None:
    (folder / "tomo_1.csv").write_text(said(2.5))
    sentence = (
        r"tomo_1\.csv does not fit tomo_1: the picks are for voxels of 2\.5 Å, tomo_1 has 10 Å: set binning = 4 "
        r"for them in the project file, or spacing_A = 2\.5 where the tomogram's is wrong, or binning = 1"
    )
    with pytest.raises(InputError, match=sentence):
        load_project(project(folder, ENTRY))

    def position(more: str) -> list[float]:
        particles = load_project(project(folder, ENTRY + more)).items[0].particles
        return list(particles.positions[0])

    assert position("binning = 4") == [2, 2, 2]
    assert position("spacing_A = 2.5") == [8, 8, 8]
    assert position("binning = 1") == [8, 8, 8]
    (folder / "tomo_1.csv").write_text(said(10.09))  # headers round
    assert position("") == [8, 8, 8]
    (folder / "tomo_1.csv").write_text(said(10.11))
    with pytest.raises(InputError, match=r"voxels of 10\.11 Å"):
        position("")


def test_init_notes_another_spacing_with_its_binning(tmp_path: Path) -> None:
    tomogram(tmp_path, "t")
    (tmp_path / "t.csv").write_text(said(2.5))
    new = init_project([tmp_path], diameters={"ribosome": 280.0}, out=tmp_path / "p.toml")
    assert "t.csv does not fit t.mrc: the picks are for voxels of 2.5 Å" in new.notes[0]
    assert "binning = 4" in new.notes[0] and len(new.notes) == 1


def test_init_writes_the_binning_of_all_picks(tmp_path: Path) -> None:
    for name in ("t", "u"):
        tomogram(tmp_path, name)
        picks(tmp_path / f"{name}.csv", scale=2.0)
    new = init_project([tmp_path], diameters=DIAMETERS, out=tmp_path / "p.toml", binning=2)
    assert new.notes == ()
    for item in load_project(new.path).items:
        assert item.particles.positions == pytest.approx(np.array([[5.0, 6, 7], [8, 9, 10], [15, 25, 35]]), abs=0.5)


RELION = """
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
_rlnClassNumber #6
TS_07 40 40 40 20 1
"""


def test_relion_states_the_unbinned_pixel(folder: Path) -> None:
    entry = ENTRY.replace("tomo_1.csv", "tomo_1.star")
    (folder / "tomo_1.star").write_text(RELION)
    with pytest.raises(InputError, match=r"voxels of 2\.5 Å, tomo_1 has 10 Å: set binning = 4"):
        load_project(project(folder, entry))
    loaded = load_project(project(folder, entry + "binning = 4"))  # whatever RELION calls the tilt series
    np.testing.assert_allclose(loaded.items[0].particles.positions, [[10, 10, 8]])
    centred = RELION.replace("rlnCoordinate", "rlnCenteredCoordinate")
    for axis in "XYZ":
        centred = centred.replace(f"Coordinate{axis}", f"Coordinate{axis}Angst")
    (folder / "tomo_1.star").write_text(centred)  # Å from the centre: the pixel of the tilt series does not matter
    loaded = load_project(project(folder, entry))
    np.testing.assert_allclose(loaded.items[0].particles.positions, [[14, 19, 22]])


def test_picks_that_name_another_tomogram_are_refused(folder: Path) -> None:
    (folder / "tomo_1.csv").write_text("class,x,y,z,tomogram\n1,5,5,5,tomo_10\n")
    with pytest.raises(InputError, match=r"tomo_1\.csv is about the tomogram tomo_10, not tomo_1: choose another"):
        load_project(project(folder, ENTRY))
    for name in ("tomo_1", "tomo_1.mrc", "tomo", "tomo_1_denoised", ""):
        (folder / "tomo_1.csv").write_text(f"class,x,y,z,tomogram\n1,5,5,5,{name}\n")
        assert len(load_project(project(folder, ENTRY)).items[0].particles) == 1


def test_swapped_axes_are_named(folder: Path) -> None:
    (folder / "tomo_1.csv").write_text("class,x,y,z\n1,19,25,39\n")
    with pytest.raises(InputError, match="perhaps x and z are swapped"):
        load_project(project(folder, ENTRY))


def test_places_marked_as_no_particle_stand_beside_the_picks(folder: Path) -> None:
    negative = Particles(np.array([[2.0, 3, 4]]), np.array(NEGATIVE))
    write_picks(folder / "tomo_1_wrong.csv", negative)
    new = init_project([folder], diameters=DIAMETERS, out=folder / "p.toml")
    assert new.labelled[0].counts == {"ribosome": 2, "proteasome": 1}
    item = load_project(new.path).items[0]
    assert item.particles.classes.tolist() == ["ribosome", "ribosome", "proteasome", NEGATIVE]
    assert item.real.classes.tolist() == ["ribosome", "ribosome", "proteasome"]
    text = new.path.read_text().replace('name = "ribosome"', f'name = "{NEGATIVE}"')
    new.path.write_text(text)
    with pytest.raises(InputError, match="is the mark of places without a particle: name it otherwise"):
        load_project(new.path)


def test_unknown_class(folder: Path) -> None:
    (folder / "tomo_1.csv").write_text("class,x,y,z\ngold,1,1,1\n")
    with pytest.raises(InputError, match=r"unknown class gold in .*: the classes are 1 ribosome, 2 proteasome"):
        load_project(project(folder, ENTRY))


def test_a_particle_listed_twice_counts_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "tomo_1.csv").write_text("class,x,y,z\n1,5,5,5\n1,5.5,5,5\n2,5,5,5\n1,9,9,9\n1,10.4,9,9\n")
    with caplog.at_level(logging.WARNING):
        particles = load_project(project(folder, ENTRY)).items[0].particles
    assert particles.positions[:, 2].tolist() == [5, 5, 9, 10.4]
    assert "tomo_1: 1 particle(s) listed twice" in caplog.text


def test_several_pick_files_and_spacings(folder: Path) -> None:
    entry = ENTRY.replace('"tomo_1.csv"', '["tomo_1.csv", "more.coords"]') + "spacing_A = 7.0\nvalidate = true\n"
    (folder / "more.coords").write_text("proteasome 1 2 3\n")
    other = ENTRY.replace("tomo_1", "tomo_2")
    dataset = load_project(project(folder, entry + other, 'labels = "complete"\nspacing_A = 9.0'))
    assert [item.tomogram.spacing_A for item in dataset.items] == [7.0, 9.0]
    assert [len(item.particles) for item in dataset.items] == [4, 3]
    assert [item.validate for item in dataset.items] == [True, False]


def test_the_real_tomogram(shared_data: Path, tmp_path: Path) -> None:
    new = init_project([shared_data / "real"], diameters={"ribosome": 280}, out=tmp_path / "p.toml")
    assert dict(new.labelled[0].counts) == {"ribosome": 268}
    dataset = load_project(new.path)
    assert len(dataset.items[0].particles) == 267  # one pair is listed twice
    assert dataset.items[0].tomogram.spacing_A == 31.36
