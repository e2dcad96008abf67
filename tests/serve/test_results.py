"""What the pages read from disk: models, picks and their curation, reports."""

import asyncio
import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from etpick.curation.filters import Filters
from etpick.errors import InputError
from etpick.io.mrc import write_mrc
from etpick.io.picks import write_picks
from etpick.io.project_edit import new_project, set_picks
from etpick.serve import reports
from etpick.serve.access import Roots
from etpick.serve.results import Results, checked_name, results_of
from etpick.serve.scored import ACCEPTED, REJECTED, SCORE_COLORS, marks_of, score_color
from etpick.serve.workspace import Workspace
from etpick.types import NEGATIVE, ParticleClass, Particles

CLASSES = [ParticleClass("ball", 80.0, "#123456")]
POSITIONS = np.array([[10.0, 10, 11], [20, 30, 30], [20, 50, 10], [5, 5, 50]])
SCORES = np.array([0.9, 0.8, 0.4, 0.05])
LOOKS = {"ball": ("#123456", 80.0)}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """A project of two tomograms, the first labelled, and the picks of two models in it."""
    rng = np.random.default_rng(0)
    for name in ("t1", "t2"):
        write_mrc(tmp_path / f"{name}.mrc", rng.normal(size=(40, 60, 60)).astype(np.float32), 10.0)
    project = tmp_path / "project.toml"
    new_project(project, [tmp_path / "t1.mrc", tmp_path / "t2.mrc"], CLASSES, "complete")
    labels = Particles(POSITIONS[:2], np.array(["ball", "ball"]))
    set_picks(project, tmp_path / "t1.mrc", [write_picks(tmp_path / "picks" / "t1.csv", labels)])
    for model, kept in (("one", slice(0, 4)), ("two", slice(1, 3))):
        found = Particles(POSITIONS, np.array(["ball"] * 4), SCORES, np.ones(4), spacing_A=10.0, tomogram="t1")
        write_picks(tmp_path / "picked" / model / "candidates" / "t1.csv", found.select(kept))
        write_picks(tmp_path / "picked" / model / "t1.csv", found.select(kept))
    workspace = Workspace(Roots([tmp_path]))
    workspace.open(project)
    return results_of(workspace)


def test_all_tabs_share_a_session_until_the_picks_are_made_anew(results: Results) -> None:
    assert results_of(results.workspace) is results
    assert results.picked() == {"one": ["t1"], "two": ["t1"]}
    assert results.newest_picked() == "one"  # whose models are gone: by name
    session = results.session("one")
    session.reject([("t1", 0)])
    assert results.session("one") is session
    found = Particles(POSITIONS[:1], np.array(["ball"]), SCORES[:1], spacing_A=10.0)
    write_picks(results.root / "picked" / "one" / "candidates" / "t1.csv", found, overwrite=True)
    again = results.session("one")
    assert again is not session
    assert again.rejected == 1


def test_names_that_are_none_for_a_folder_are_refused(results: Results) -> None:
    for name in ("", "..", "a/b", "/etc", ".hidden", "a b"):
        with pytest.raises(InputError, match="cannot name a folder"):
            results.model_folder(name)
    assert checked_name("model-1.2_b") == "model-1.2_b"
    assert results.free_name() == "model-1"
    (results.root / "models" / "model-1").mkdir(parents=True)
    assert results.free_name() == "model-2"


def test_circles_say_the_score_and_what_was_said(results: Results) -> None:
    session = results.session("one")
    session.filters = Filters({"ball": 0.5})
    session.reject([("t1", 2)])
    session.accept([("t1", 3)])
    marks = {mark.key: mark for mark in marks_of(session, "t1", LOOKS, "score")}
    assert sorted(marks) == [0, 1, 2, 3]  # two pass, two were spoken of
    assert marks[2].color == REJECTED
    assert marks[2].negative
    assert marks[3].color == ACCEPTED
    assert marks[0].color == score_color(0.9)
    assert marks[0].radius_vx == 4
    assert {mark.color for mark in marks_of(session, "t1", LOOKS, "class")} == {"#123456", REJECTED, ACCEPTED}
    session.forget([("t1", 2), ("t1", 3)])
    assert sorted(mark.key for mark in marks_of(session, "t1", LOOKS, "score")) == [0, 1]
    dragged = marks_of(session, "t1", LOOKS, "score", frozenset({"ball"}))
    assert [mark.score for mark in dragged] == SCORES.tolist()  # the browser hides those below


def test_colours_of_scores_run_from_end_to_end() -> None:
    assert [score_color(s) for s in (0, 0.5, 1)] == list(SCORE_COLORS)
    assert score_color(float("nan")) not in SCORE_COLORS


def test_an_evaluation_is_of_what_is_kept(results: Results) -> None:
    session = results.session("one")
    session.filters = Filters({"ball": 0.3})
    page = reports.evaluation(results, session, ["t1"])
    assert page.is_file()
    judged = json.loads((page.parent / "evaluation.json").read_text())
    assert (judged["localisation"]["tp"], judged["localisation"]["fp"]) == (2, 1)
    session.reject([("t1", 2)])
    reports.evaluation(results, session, ["t1"])
    judged = json.loads((page.parent / "evaluation.json").read_text())
    assert judged["localisation"]["fp"] == 0


def test_a_comparison_with_another_model_and_with_labels(results: Results) -> None:
    sets = {"one": results.session("one"), "two": results.session("two"), reports.LABELS: None}
    for session in (sets["one"], sets["two"]):
        assert session is not None
        session.filters = Filters({"ball": 0.0})
    page = reports.comparison(results, sets, ["t1"])
    total = json.loads((page.parent / "compare.json").read_text())["total"]
    assert sum(total.values()) == 4
    with pytest.raises(InputError, match="two has picked none"):
        reports.comparison(results, {"two": results.session("two"), "one": results.session("one")}, ["t2"])


def status_of(results: Results, address: str) -> int:
    """What the route answers."""
    application = FastAPI()
    application.include_router(reports.router(results))

    async def ask() -> int:
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return (await client.get(address)).status_code

    return asyncio.run(ask())


def test_only_reports_of_the_project_are_given_out(results: Results) -> None:
    page = reports.evaluation(results, results.session("one"), ["t1"])
    assert status_of(results, reports.address(page)) == 200
    secret = results.root.parent / "secret.html"
    secret.write_text("secret")
    (results.root / "reports" / "linked").mkdir()
    (results.root / "reports" / "linked" / "page.html").symlink_to(secret)
    for address in (
        "/reports/one-evaluation/evaluation.json", "/reports/one-evaluation/none.html", "/reports/linked/page.html",
        "/reports/..%2f..%2fetc/passwd", "/reports/../secret.html",
    ):  # fmt: skip
        assert status_of(results, address) == 404, address


def test_without_labels_there_is_nothing_to_hold_picks_against(results: Results) -> None:
    with pytest.raises(InputError, match="none of these tomograms has labels"):
        reports.labelled(results, ["t2"])
    assert NEGATIVE not in reports.labelled(results, ["t1", "t2"])[0].picks.classes
