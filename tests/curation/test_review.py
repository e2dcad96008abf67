"""What is said of picks is on disk at once, and a correction of a project can be undone."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from etpick import api
from etpick.cli import main
from etpick.curation.filters import Filters
from etpick.curation.review import Review, read_filters, write_filters
from etpick.errors import InputError
from etpick.io.mrc import write_mrc
from etpick.io.picks import read_picks, write_picks
from etpick.io.project import load_project
from etpick.types import NEGATIVE, Particles

SPACING_A = 10.0


def names(path: Path) -> list[str]:
    return sorted(read_picks(path).classes.tolist())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two tomograms of one class; the labels of the first lie elsewhere, the second is not listed yet."""
    for name in ("t1", "t2"):
        write_mrc(tmp_path / f"{name}.mrc", np.zeros((40, 60, 60), np.float32), SPACING_A)
    write_picks(
        tmp_path / "mine" / "t1.txt", Particles(np.array([[10.0, 10, 10], [30, 50, 50]]), np.array(["ball"] * 2))
    )
    path = tmp_path / "project.toml"
    path.write_text(
        '# what I know\nlabels = "complete"\n[[classes]]\nname = "ball"\ndiameter_A = 80.0\n'
        '[[tomograms]]\npath = "t1.mrc"  # the good one\npicks = "mine/t1.txt"\n'
    )
    return path


@pytest.fixture
def picked(tmp_path: Path) -> Path:
    """Four picks in each tomogram, one of them below the threshold."""
    folder = tmp_path / "picked" / "model"
    positions = np.array([[10.0, 10, 11], [20, 30, 30], [20, 50, 10], [5, 5, 50]])
    for name in ("t1", "t2"):
        found = Particles(
            positions,
            np.array(["ball"] * 4),
            np.array([0.9, 0.8, 0.6, 0.2]),
            np.ones(4),
            spacing_A=SPACING_A,
            tomogram=name,
        )
        write_picks(folder / "candidates" / f"{name}.csv", found)
        write_picks(folder / f"{name}.csv", found.select(slice(0, 3)))
    return folder


def test_each_word_is_on_disk_and_can_be_taken_back(picked: Path) -> None:
    review = Review(picked, "t1")
    assert len(review.picks) == 4
    review.reject([2])
    review.accept([1, 3])
    assert names(review.file) == ["ball", "ball", NEGATIVE]
    again = Review(picked, "t1")
    assert again.rejected.tolist() == [False, False, True, False]
    assert again.accepted.tolist() == [False, True, False, True]
    assert review.undo()
    assert names(review.file) == [NEGATIVE]
    review.accept([2])  # another opinion replaces the first
    review.accept([2])  # and saying it twice is saying it once
    assert names(review.file) == ["ball"]
    assert review.undo()
    assert review.undo()
    assert names(review.file) == []
    assert not review.undo()
    assert not Review(picked, "t1").accepted.any()


def test_what_is_kept_is_accepted_or_above_the_threshold_and_not_rejected(picked: Path) -> None:
    review = Review(picked, "t1")
    review.accept([3], as_class="other")
    review.reject([0])
    kept = review.chosen(Filters({"ball": 0.7}).above(review.picks))
    assert kept.classes.tolist() == ["ball", "other"]
    assert kept.scores is not None
    assert kept.scores.tolist() == [0.8, 0.2]


def test_words_about_picks_that_another_run_does_not_find_are_kept(picked: Path) -> None:
    review = Review(picked, "t1")
    review.reject([0, 1])
    every = read_picks(picked / "candidates" / "t1.csv")
    write_picks(picked / "candidates" / "t1.csv", every.select([3, 1]), overwrite=True)
    again = Review(picked, "t1")
    assert again.rejected.tolist() == [False, True]
    again.accept([0])
    assert names(again.file) == ["ball", NEGATIVE, NEGATIVE]
    assert sorted(again.decisions.picked_as.tolist()) == ["ball"] * 3


def test_filters_are_kept_beside_the_picks(picked: Path) -> None:
    assert read_filters(picked) is None
    write_filters(picked, Filters({"ball": 0.35}, edge_A=50))
    assert read_filters(picked) == Filters({"ball": 0.35}, edge_A=50)
    (picked / "reviewed" / "filters.json").write_text("[1")
    with pytest.raises(InputError, match="remove it"):
        read_filters(picked)


def test_a_correction_joins_labels_and_is_undone_as_a_whole(project: Path, picked: Path) -> None:
    before, mine = project.read_text(), project.parent / "mine" / "t1.txt"
    labelled = mine.read_text()
    first, second = Review(picked, "t1"), Review(picked, "t2")
    first.accept([0, 1])
    first.reject([2])
    second.accept([1])
    with pytest.raises(InputError, match="does not list the tomogram t2"):
        api.correct(project, picked)
    assert project.read_text() == before
    would = api.correct(project, picked, tomograms=[project.parent / "t2.mrc"], write=False)
    assert project.read_text() == before
    done = api.correct(project, picked, tomograms=[project.parent / "t2.mrc"])
    assert (done.tomograms["t1"].added, done.tomograms["t1"].known, done.tomograms["t1"].negatives) == (1, 1, 1)
    assert would.lines() == done.lines()
    assert done.unreviewed == 2  # of t2; all of t1 were reviewed
    assert 'labels = "partial"' in done.lines()[-1]
    assert names(project.parent / "picks" / "t1.csv") == ["ball", "ball", "ball", NEGATIVE]
    assert names(project.parent / "picks" / "t2.csv") == ["ball"]
    assert mine.read_text() == labelled
    assert "# the good one" in project.read_text()
    data = load_project(project)
    assert [len(item.real) for item in data.items] == [3, 1]
    again = api.correct(project, picked)
    assert not again.changed
    assert "nothing to add" in again.lines()[0]
    undone = api.undo_correction(project)
    assert "2 labels and 1 place" in undone.what
    assert project.read_text() == before
    assert not list((project.parent / "picks").iterdir())
    with pytest.raises(InputError, match="no correction to undo"):
        api.undo_correction(project)


def test_a_file_that_nobody_spoke_of_is_not_replaced(project: Path, picked: Path) -> None:
    stray = project.parent / "picks" / "t1.csv"
    stray.parent.mkdir()
    stray.write_text("class,x,y,z\nball,1,2,3\n")
    Review(picked, "t1").accept([1])
    api.correct(project, picked)
    assert stray.read_text() == "class,x,y,z\nball,1,2,3\n"
    assert names(project.parent / "picks" / "t1-2.csv") == ["ball"] * 3
    Review(picked, "t1").accept([2])
    api.correct(project, picked)  # the file is the project's now, and takes the next round
    assert names(project.parent / "picks" / "t1-2.csv") == ["ball"] * 4


def test_undoing_refuses_to_lose_what_came_after(project: Path, picked: Path) -> None:
    Review(picked, "t1").accept([1])
    api.correct(project, picked)
    labels = project.parent / "picks" / "t1.csv"
    changed = labels.read_text() + "ball,1,2,3,,10\n"
    labels.write_text(changed)
    with pytest.raises(InputError, match=r"t1\.csv was changed after the correction"):
        api.undo_correction(project)
    assert labels.read_text() == changed


def test_on_the_command_line(project: Path, picked: Path) -> None:
    def run(*words: str) -> str:
        result = CliRunner().invoke(main, ["correct", str(project), *words])
        return result.output

    assert "nothing was said" in run(str(picked))
    review = Review(picked, "t1")
    review.accept([1])
    assert "1 label and 0 places without a particle added in t1" in run(str(picked), "--partial")
    assert 'labels = "partial"' in project.read_text()
    assert load_project(project).partial_labels
    assert "undone" in run("--undo")
    assert 'labels = "complete"' in project.read_text()
    assert "name the folder of picks" in run()


def test_a_class_that_the_project_does_not_know_is_refused(project: Path, picked: Path) -> None:
    Review(picked, "t1").accept([1], as_class="cube")
    with pytest.raises(InputError, match="class cube, which the project does not know: it has ball"):
        api.correct(project, picked)
