"""Edits of a tomogram's picks: each on disk at once, each to be undone, none lost to another tab or program."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpick.errors import OutputError
from etpick.io.picks import read_picks, write_picks
from etpick.serve.annotation import Document, StaleEdit, centre_of_mass
from etpick.types import NEGATIVE, Particles, Tomogram

TOMOGRAM = Tomogram(np.zeros((20, 30, 40), np.float32), 10.0, "t1")
START = Particles(np.array([[1.0, 2, 3], [4, 5, 6]]), np.array(["a", "b"]), np.array([0.9, 0.8]))


@pytest.fixture
def document(tmp_path):
    return Document(tmp_path / "picks" / "t1.csv", TOMOGRAM, [START], imported=True)


def on_disk(document):
    particles = read_picks(document.path, tomogram=TOMOGRAM)
    return sorted(zip(particles.positions.tolist(), particles.classes.tolist(), strict=True))


def in_memory(document):
    return sorted((list(p.position), p.kind) for p in document.picks.values())


edits = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.tuples(*[st.floats(-5, 60)] * 3), st.sampled_from(["a", "b", NEGATIVE])),
        st.tuples(st.just("move"), st.integers(0, 9), st.tuples(*[st.floats(-5, 60)] * 3)),
        st.tuples(st.just("reclass"), st.integers(0, 9), st.sampled_from(["a", "b", NEGATIVE])),
        st.tuples(st.just("delete"), st.integers(0, 9)),
    ),
    max_size=12,
)


def perform(document, edit):
    what, *rest = edit
    if what == "add":
        document.add(*rest)
        return
    keys = sorted(document.picks)
    if keys:
        key = keys[rest[0] % len(keys)]
        document.delete([key]) if what == "delete" else getattr(document, what)(key, *rest[1:])


@given(edits=edits)
def test_undoing_all_is_the_start_and_redoing_all_the_end(tmp_path_factory, edits):
    document = Document(tmp_path_factory.mktemp("d") / "t1.csv", TOMOGRAM, [START], imported=True)
    start = dict(document.picks)
    for edit in edits:
        perform(document, edit)
    end = dict(document.picks)
    while document.undo():
        pass
    assert document.picks == start
    while document.redo():
        pass
    assert document.picks == end
    if document.saved:
        assert len(on_disk(document)) == len(end)
        for (written, kind), (kept, own) in zip(on_disk(document), in_memory(document), strict=True):
            assert kind == own
            assert written == pytest.approx(kept, abs=1e-3)


def test_every_edit_is_on_disk_when_it_returns(document):
    key = document.add((7.25, 8, 9), "a")
    assert on_disk(document) == in_memory(document)
    document.move(key, (7, 8, 10.5))
    document.reclass(key, NEGATIVE)
    assert on_disk(document) == in_memory(document)
    document.delete([key])
    assert on_disk(document) == in_memory(document)
    document.undo()
    assert on_disk(document) == in_memory(document)
    assert len(document.picks) == 3


def test_a_pick_lies_in_the_tomogram_wherever_the_hand_slips(document):
    key = document.add((-3, 50, 39.8), "a")
    assert document.picks[key].position == (-0.5, 29.5, 39.5)


def test_imported_picks_are_written_elsewhere_with_the_first_edit(tmp_path):
    source = write_picks(tmp_path / "from_relion.star", START)
    before = source.read_bytes()
    document = Document(tmp_path / "picks" / "t1.csv", TOMOGRAM, [read_picks(source, tomogram=TOMOGRAM)], imported=True)
    told = []
    document.on_first_save = lambda: told.append(document.path)
    assert not document.saved
    document.add((1, 1, 1), "a")
    document.add((2, 2, 2), "a")
    assert told == [document.path]
    assert source.read_bytes() == before
    assert len(on_disk(document)) == 4


def test_an_edit_of_what_another_tab_changed_is_refused(document):
    key = min(document.picks)
    seen = document.picks[key]
    document.move(key, (9, 9, 9), seen)
    with pytest.raises(StaleEdit, match="changed in another tab"):
        document.move(key, (8, 8, 8), seen)
    document.delete([key])
    with pytest.raises(StaleEdit, match="deleted in another tab"):
        document.reclass(key, "b")


def test_what_another_program_wrote_is_taken_up_and_what_was_here_kept(document):
    document.add((7, 8, 9), "a")
    write_picks(document.path, START.select([0]), overwrite=True)
    with pytest.raises(
        StaleEdit, match=r"t1\.csv was changed by another program and read anew; what was here is in t1\.before\.csv"
    ):
        document.add((1, 1, 1), "a")
    assert in_memory(document) == [([1.0, 2.0, 3.0], "a")]
    assert len(read_picks(document.path.with_name("t1.before.csv"))) == 3
    assert not document.can_undo
    document.add((1, 1, 1), "a")
    assert len(on_disk(document)) == 2
    assert document.refresh() == ""


def test_an_edit_that_the_disk_refuses_has_not_happened(document, monkeypatch):
    document.add((7, 8, 9), "a")
    before = dict(document.picks)

    def full(*_, **__):
        raise OutputError("could not write t1.csv: No space left on device")

    monkeypatch.setattr("etpick.serve.annotation.write_picks", full)
    with pytest.raises(OutputError, match="No space left"):
        document.add((1, 1, 1), "a")
    with pytest.raises(OutputError, match="No space left"):
        document.undo()
    assert document.picks == before
    assert document.can_undo


def test_listeners_hear_each_change_until_they_leave(document):
    heard = []
    leave = document.on_change(heard.append)
    key = document.add((1, 1, 1), "a")
    document.undo()
    leave()
    document.redo()
    assert [(c.key, c.before is None, c.after is None) for changes in heard for c in changes] == [
        (key, True, False), (key, False, True),
    ]  # fmt: skip
    assert document.revision == 3


@pytest.mark.parametrize("sign", [-1, 1])
def test_snapping_finds_the_middle_of_a_dark_or_bright_ball(sign):
    rng = np.random.default_rng(0)
    centre = np.array([20.3, 18.0, 22.6])
    grid = np.indices((40, 40, 40))
    ball = ((grid - centre[:, None, None, None]) ** 2).sum(0) < 5**2
    tomogram = Tomogram((rng.normal(0, 0.3, ball.shape) + sign * 2 * ball).astype(np.float32), 10.0)
    found = centre_of_mass(tomogram, (22, 19.5, 21), 8.0)
    assert np.linalg.norm(np.array(found) - centre) < 0.7


def test_snapping_where_there_is_nothing_stays(document):
    key = min(document.picks)
    document.snap(key, 5.0)
    assert document.picks[key].position == (1.0, 2.0, 3.0)
