"""What a page of picks shows, in which order, and what it keeps."""

from pathlib import Path

import numpy as np
import pytest

from etpick.curation.filters import Filters
from etpick.curation.session import Session, picked_tomograms
from etpick.io.picks import read_picks, write_picks
from etpick.types import NEGATIVE, Particles, Tomogram

SCORES = {"t1": [0.95, 0.6, 0.3, 0.05], "t2": [0.8, 0.45]}
PLACES = {"t1": [[10, 10, 10], [20, 30, 30], [20, 50, 10], [5, 5, 50]], "t2": [[10, 10, 10], [2, 30, 30]]}
TOMOGRAMS = {name: Tomogram(np.zeros((40, 60, 60), np.float32), 10.0, name) for name in ("t1", "t2", "t3")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, scores in SCORES.items():
        found = Particles(np.array(PLACES[name]), np.array(["a", "b"] * (len(scores) // 2)), np.array(scores))
        write_picks(tmp_path / "candidates" / f"{name}.csv", found)
        write_picks(tmp_path / f"{name}.csv", found.select([0]))
    return tmp_path


@pytest.fixture
def session(folder: Path) -> Session:
    return Session(folder, TOMOGRAMS, {"a": 0.5, "b": 0.4})


def test_it_begins_with_the_models_thresholds_and_remembers_others(session: Session, folder: Path) -> None:
    assert picked_tomograms(folder) == ["t1", "t2"]
    assert session.counts() == {"a": 2, "b": 2}
    assert session.lowest == 0.05
    session.filters = session.with_threshold(0.7, ["a", "b"])
    assert session.counts() == {"a": 2, "b": 0}
    session.filters = session.with_threshold(0.02, ["b"])
    again = Session(folder, TOMOGRAMS, {"a": 0.5, "b": 0.4})
    assert again.filters == Filters({"a": 0.7, "b": 0.02})
    assert again.counts() == {"a": 2, "b": 3}


def test_the_order_to_look_at_picks(session: Session) -> None:
    assert session.rows("best") == [("t1", 0), ("t2", 0), ("t1", 1), ("t2", 1)]
    assert session.rows("worst", names=["t1"]) == [("t1", 1), ("t1", 0)]
    least = session.rows("least sure")
    assert least[0] == ("t2", 1)  # 0.45
    assert least[-1] == ("t1", 3) or least[-1] == ("t1", 0)
    assert len(least) == 6  # also below the threshold


def test_what_was_reviewed_is_not_asked_again(session: Session) -> None:
    session.reject([("t2", 1), ("t1", 1)])
    session.accept([("t1", 0)])
    assert session.rows("best", "not reviewed") == [("t2", 0)]
    assert session.rows("best", "rejected") == [("t1", 1), ("t2", 1)]
    assert session.rows("best", "accepted") == [("t1", 0)]
    assert (session.accepted, session.rejected) == (1, 2)
    assert session.counts() == {"a": 2, "b": 0}


def test_a_batch_over_several_tomograms_is_taken_back_as_one(session: Session) -> None:
    said = []
    forget = session.on_say(said.append)
    session.reject([("t1", 0)])
    session.reject(session.rows("best"))
    session.reject(session.rows("best"))  # says nothing new, and leaves nothing to undo
    assert session.rejected == 4
    assert said[-1] == []
    assert session.undo()
    assert sorted(said[-1]) == [("t1", 1), ("t2", 0), ("t2", 1)]
    forget()
    assert session.rows("best", "rejected") == [("t1", 0)]
    assert session.undo()
    assert not session.undo()
    assert session.rejected == 0


def test_what_is_kept_carries_its_tomogram_and_spacing(session: Session, folder: Path) -> None:
    session.accept([("t1", 3)])
    session.filters = Filters({"a": 0.5, "b": 0.4}, edge_A=50)
    first, second = session.chosen()
    assert (first.name, first.shape, first.picks.spacing_A) == ("t1", (40, 60, 60), 10.0)
    assert first.picks.scores is not None
    assert first.picks.scores.tolist() == [0.95, 0.6, 0.05]
    assert len(second.picks) == 1  # the other is 25 Å from a face
    assert NEGATIVE not in read_picks(folder / "reviewed" / "t1.csv").classes
