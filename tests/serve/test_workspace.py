"""The project as the interface opens and changes it."""

import numpy as np
import pytest

from etpick.errors import EtpickError, InputError
from etpick.io.mrc import write_mrc
from etpick.io.picks import read_picks, write_picks
from etpick.io.project import load_project, read_project
from etpick.serve.access import Roots
from etpick.serve.display import Display
from etpick.serve.slices import Slices
from etpick.serve.workspace import Workspace
from etpick.types import ParticleClass, Particles

CLASSES = [ParticleClass("ribosome", 280.0, "#e41a1c"), ParticleClass("proteasome", 150.0, "#377eb8")]


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("t1", "t2"):
        write_mrc(tmp_path / "tomograms" / f"{name}.mrc", rng.normal(size=(16, 24, 32)).astype(np.float32), 10.0)
    write_picks(tmp_path / "tomograms" / "t1.star", Particles(np.array([[4.0, 5, 6]]), np.array("ribosome")))
    return tmp_path


@pytest.fixture
def workspace(data):
    workspace = Workspace(Roots([data]))
    workspace.create(data / "project.toml", [data / "tomograms"], CLASSES, "partial")
    return workspace


def test_a_new_project_holds_tomograms_picks_beside_them_and_classes(workspace, data):
    assert [e.name for e in workspace.entries] == ["t1", "t2"]
    assert [workspace.counts(e.key) for e in workspace.entries] == [{"ribosome": 1}, {}]
    assert list(workspace.classes) == CLASSES
    assert load_project(data / "project.toml").partial_labels
    with pytest.raises(EtpickError, match=r"project\.toml exists"):
        workspace.create(data / "project.toml", [data / "tomograms"], CLASSES, "partial")


def test_picks_of_unknown_classes_are_left_out_and_named(data):
    workspace = Workspace(Roots([data]))
    workspace.create(data / "project.toml", [data / "tomograms"], CLASSES[1:], "complete")
    assert [workspace.counts(e.key) for e in workspace.entries] == [{}, {}]
    assert len(workspace.notes) == 1
    assert "t1.star" in workspace.notes[0] and "ribosome" in workspace.notes[0]


def test_the_first_edit_leaves_imported_picks_alone_and_the_project_names_the_new_file(workspace, data):
    first, second = workspace.entries
    star = (data / "tomograms" / "t1.star").read_bytes()
    workspace.document(first.key).add((8, 9, 10), "proteasome")
    workspace.document(second.key).add((1, 2, 3), "ribosome")
    assert (data / "tomograms" / "t1.star").read_bytes() == star
    picks = [item.particles for item in load_project(data / "project.toml").items]
    assert [len(p) for p in picks] == [2, 1]
    assert [str(p) for t in read_project(data / "project.toml").tomograms for p in t.picks] == [
        "picks/t1.csv",
        "picks/t2.csv",
    ]
    again = Workspace(Roots([data]))
    again.open(data / "project.toml")
    assert again.counts(first.key) == {"ribosome": 1, "proteasome": 1}
    assert not again.document(first.key).imported


def test_a_file_left_from_before_is_not_written_over(workspace, data):
    (data / "picks").mkdir()
    (data / "picks" / "t2.csv").write_text("x,y,z\n1,1,1\n")
    document = workspace.document(workspace.entries[1].key)
    document.add((5, 5, 5), "ribosome")
    assert document.path.name == "t2-2.csv"
    assert len(read_picks(data / "picks" / "t2.csv")) == 1


def test_picks_of_other_programs_are_joined_where_they_fit(workspace, data):
    first = workspace.entries[0]
    workspace.document(first.key).add((8, 9, 10), "proteasome")
    more = write_picks(data / "more.coords", Particles(np.array([[9.0, 9, 9], [10, 10, 10]]), np.array("ribosome")),
                       classes=["ribosome", "proteasome"])  # fmt: skip
    assert workspace.import_picks(first.key, [more]) == 2
    assert workspace.counts(first.key) == {"ribosome": 3, "proteasome": 1}
    workspace.document(first.key).add((1, 1, 1), "ribosome")
    again = Workspace(Roots([data]))
    again.open(data / "project.toml")
    assert again.counts(first.key) == {"ribosome": 4, "proteasome": 1}
    with pytest.raises(InputError, match="is among the tomogram's picks already"):
        workspace.import_picks(first.key, [data / "picks" / workspace.document(first.key).path.name])
    far = write_picks(data / "far.csv", Particles(np.array([[400.0, 9, 9]]), np.array("ribosome")))
    with pytest.raises(InputError, match=r"far\.csv does not fit t1"):
        workspace.import_picks(first.key, [far])
    assert workspace.counts(first.key) == {"ribosome": 4, "proteasome": 1}


def test_what_looks_wrong_is_told(workspace, data):
    assert workspace.warnings(workspace.entries[1].key) == []
    write_mrc(data / "flat" / "t9.mrc", np.zeros((8, 8, 8), np.float32), 10.0)
    workspace.add([data / "flat"])
    assert workspace.warnings(workspace.entries[2].key)


def test_comments_in_the_project_file_stay(workspace, data):
    path = data / "project.toml"
    path.write_text("# made for the ribosome paper\n" + path.read_text())
    workspace.open(path)
    workspace.change_validation(workspace.entries[1].key, True)
    workspace.change_labels("complete")
    assert path.read_text().startswith("# made for the ribosome paper\n")
    assert read_project(path).tomograms[1].validate_on
    assert read_project(path).labels == "complete"


def test_classes_change_but_none_that_picks_have_goes(workspace):
    workspace.change_classes([CLASSES[0], ParticleClass("ATPase", 120.0, "#4daf4a")])
    assert [c.name for c in workspace.classes] == ["ribosome", "ATPase"]
    with pytest.raises(InputError, match="t1 has picks of class ribosome: give them another class first"):
        workspace.change_classes([CLASSES[1]])
    with pytest.raises(InputError, match="diameter_A"):
        workspace.change_classes([ParticleClass("ribosome", -1.0, "#e41a1c")])
    assert [c.name for c in workspace.classes] == ["ribosome", "ATPase"]


def test_tomograms_are_added_once(workspace, data):
    write_mrc(data / "more" / "t3.mrc", np.ones((8, 8, 8), np.float32), 10.0)
    assert workspace.add([data / "more", data / "tomograms" / "t1.mrc"]) == 1
    assert [e.name for e in workspace.entries] == ["t1", "t2", "t3"]


def test_a_tomogram_that_is_gone_is_a_sentence_and_the_others_stay(workspace, data):
    (data / "tomograms" / "t1.mrc").unlink()
    workspace.open(data / "project.toml")
    broken, whole = workspace.entries
    assert broken.tomogram is None
    assert "t1.mrc" in broken.problem
    assert workspace.tomogram(whole.key).shape == (16, 24, 32)
    with pytest.raises(InputError, match=r"t1\.mrc"):
        workspace.tomogram(broken.key)
    with pytest.raises(InputError, match="not in the project"):
        workspace.entry("nonsense")


def test_what_lies_outside_the_folders_is_neither_opened_nor_shown(data, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    write_mrc(outside / "secret.mrc", np.ones((8, 8, 8), np.float32), 10.0)
    (data / "project.toml").write_text(
        'labels = "complete"\nclasses = [{ name = "a", diameter_A = 100 }]\n'
        f'tomograms = [{{ path = "{outside}/secret.mrc", picks = [] }}]\n'
    )
    workspace = Workspace(Roots([data]))
    workspace.open(data / "project.toml")
    assert "lies outside" in workspace.entries[0].problem
    with pytest.raises(InputError, match="lies outside"):
        Slices(workspace).image(workspace.entries[0].key, 0, 0, Display())
    with pytest.raises(InputError, match="lies outside"):
        workspace.open(outside / "project.toml")
    with pytest.raises(InputError, match="lies outside"):
        workspace.add([outside])


def test_slices_are_remembered_within_bounds(workspace, monkeypatch):
    monkeypatch.setattr("etpick.serve.slices.CACHE_BYTES", 3000)
    slices = Slices(workspace)
    key = workspace.entries[0].key
    for index in range(16):
        assert slices.image(key, 0, index, Display()).startswith(b"\xff\xd8")
    assert 0 < slices._bytes <= 3000
    assert len(slices._images) < 16
    with pytest.raises(EtpickError, match="no slice 16 across axis 0"):
        slices.image(key, 0, 16, Display())


def test_listeners_hear_of_changes(workspace):
    heard = []
    leave = workspace.on_change(lambda: heard.append(1))
    workspace.change_labels("complete")
    assert heard
    leave()
    workspace.close()
    count = len(heard)
    assert workspace.path is None and not workspace.entries and len(heard) == count
    with pytest.raises(InputError, match="no project is open"):
        _ = workspace.folder


def test_two_tomograms_of_one_name_are_not_taken_and_in_a_project_of_another_hand_the_second_says_why(workspace, data):
    other = data / "more" / "t1.mrc"
    write_mrc(other, np.zeros((16, 24, 32), np.float32), 10.0)
    with pytest.raises(InputError, match=r"t1\.mrc have one name, by which picks are kept"):
        workspace.add([other])
    assert len(workspace.entries) == 2
    content = (data / "project.toml").read_text()
    (data / "project.toml").write_text(f'{content}\n[[tomograms]]\npath = "more/t1.mrc"\npicks = []\n')
    workspace.open(data / "project.toml")
    first, _, third = workspace.entries
    assert first.tomogram is not None and third.tomogram is None
    assert "t1.mrc has the same name, by which picks are kept" in third.problem
    with pytest.raises(InputError, match="has the same name"):
        workspace.tomogram(third.key)
