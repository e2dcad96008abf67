"""The whole path in a browser: mark, train, pick, curate, export; with a reload and a killed server on the way."""

import json
import re
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_annotating import VIEWER, click_at, open_annotation, wait_for_picks

from balls import CLASSES as SAME_COLORS
from balls import balls
from etpick.io.mrc import write_mrc
from etpick.io.picks import read_picks, write_picks
from etpick.io.project import load_project
from etpick.io.project_edit import new_project, set_picks, set_validation
from etpick.jobs import JobQueue, process, status
from etpick.types import NEGATIVE

CLASSES = [replace(c, color=color) for c, color in zip(SAME_COLORS, ("#e41a1c", "#377eb8"), strict=True)]
MARKED = 30
STEPS = 7  # enough for dark balls
SOON = 150_000  # ms: a training on a machine that has much else to do


@pytest.fixture
def truth(tmp_path: Path) -> dict[str, np.ndarray]:
    """Two tomograms of balls in a project: nothing is marked in the first, the second validates."""
    tomogram, particles = balls(0, (48, 128, 128), count=34)
    other, others = balls(1)
    for name, volume in (("first", tomogram), ("second", other)):
        write_mrc(tmp_path / f"{name}.mrc", volume.data, volume.spacing_A)
    project, second = tmp_path / "project.toml", tmp_path / "second.mrc"
    new_project(project, [tmp_path / "first.mrc", second], CLASSES, "complete")
    write_picks(tmp_path / "picks" / "second.csv", others)
    set_picks(project, second, [tmp_path / "picks" / "second.csv"])
    set_validation(project, second, True)
    assert len(particles) >= MARKED
    return {c.name: particles.of_class(c.name).positions for c in CLASSES}


SLIDER = "+document.querySelector('.q-slider').getAttribute('aria-valuenow')"


def the_job(folder: Path, kind: str, number: int = -1):
    return [job for job in JobQueue(folder / "jobs").jobs() if job.kind == kind][number]


def number_in(text: str) -> int:
    return int(re.search(r"\d+", text)[0])


def test_from_marks_to_files_of_another_program(page, serve, truth, tmp_path):
    server = serve(tmp_path, str(tmp_path / "project.toml"))
    mark_thirty(page, server, truth, tmp_path)
    again = train_through_a_reload_and_a_crash(page, server, serve, tmp_path)
    pick_both(page, again, tmp_path)
    kept = curate(page, again, tmp_path)
    export(page, again, tmp_path, kept)
    train_again(page, again, tmp_path)
    assert again.stop() == 0
    for name in ("annotate", "train", "pick", "curate", "export", "report"):
        assert (tmp_path / f"{name}.png").stat().st_size > 30_000


def mark_thirty(page, server, truth, folder):
    """Scroll, click at true positions, take one back."""
    open_annotation(page, server)
    box = page.locator(".etpick-xy").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.wheel(0, -100)
    page.wait_for_selector(".etpick-xy[data-slice='23']")
    done, file = 0, folder / "picks" / "first.csv"
    for key, name in enumerate(truth, start=1):
        page.keyboard.press("Escape")
        page.keyboard.press(str(key))
        for position in truth[name][: MARKED // 2]:
            click_at(page, position)
            done += 1
    for name in truth:  # where one class has fewer than half
        for position in truth[name][MARKED // 2 :]:
            if done < MARKED:
                page.keyboard.press("Escape")
                page.keyboard.press(str(1 + list(truth).index(name)))
                click_at(page, position)
                done += 1
    marked = wait_for_picks(page, file, MARKED)
    for name, positions in truth.items():
        gaps = np.linalg.norm(marked.of_class(name).positions[:, None] - positions[None], axis=-1)
        assert gaps.min(axis=1).max() < 1.0
    page.keyboard.press("Control+z")
    wait_for_picks(page, file, MARKED - 1)
    page.keyboard.press("Control+y")
    wait_for_picks(page, file, MARKED)
    page.screenshot(path=folder / "annotate.png")


def train_through_a_reload_and_a_crash(page, server, serve, folder):
    page.goto(f"{server.address}/train")
    page.get_by_text("More choices").click()
    page.get_by_label("Steps, instead of minutes").fill(str(STEPS))
    page.get_by_text("int8 copy").click()
    page.get_by_role("button", name="Start training").click()
    page.get_by_text(re.compile(rf"step \d+ of {STEPS}")).wait_for(timeout=SOON)
    page.reload()
    page.get_by_text(re.compile(rf"step \d+ of {STEPS}")).wait_for()
    job = the_job(folder, "train")
    worker = process.find(job)
    server.stop(signal.SIGKILL)
    again = serve(folder, str(folder / "project.toml"))
    assert status(job).state in ("running", "done")
    assert worker is not None
    page.goto(again.url)
    page.goto(f"{again.address}/train")
    page.get_by_text("the model is in").wait_for(timeout=SOON)
    page.get_by_text(re.compile("validation F1")).first.wait_for()
    page.wait_for_function("[...document.images].some((i) => i.src.startsWith('data:image/png') && i.width > 200)")
    page.wait_for_timeout(500)
    page.screenshot(path=folder / "train.png")
    assert len([e for e in job.events() if e["event"] == "began"]) == 1
    assert (folder / "models" / "model-1" / "model.json").exists()
    return again


def pick_both(page, server, folder):
    page.goto(f"{server.address}/pick")
    page.get_by_role("button", name="Pick", exact=True).click()
    page.get_by_role("button", name="Look at the picks").wait_for(timeout=SOON)
    page.screenshot(path=folder / "pick.png")
    for name in ("first", "second"):
        assert (folder / "picked" / "model-1" / f"{name}.csv").exists()
        assert (folder / "picked" / "model-1" / "candidates" / f"{name}.csv").exists()
    page.get_by_role("button", name="Look at the picks").click()


def curate(page, server, folder):
    """Move the threshold, reject two picks; returns how many are kept."""
    page.locator(".tile").first.wait_for()
    counts = page.get_by_text(re.compile(r"\d+ kept"))
    page.wait_for_function(f"document.querySelector('.etpick-viewer') && {VIEWER}.marks.size > 5")
    before = number_in(counts.inner_text())
    page.screenshot(path=folder / "curate-before.png")
    slider = page.locator(".q-slider").first.locator("[tabindex]")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("PageDown")  # by tenths, while circles and counts follow
    for _ in range(100):
        if (folder / "picked" / "model-1" / "reviewed" / "filters.json").exists():
            break
        page.wait_for_timeout(100)
    page.wait_for_timeout(500)
    drag_the_line(page, folder)
    threshold = page.locator("input[type=number]").first
    threshold.fill("0.02")
    threshold.press("Enter")
    every = [read_picks(f) for f in sorted((folder / "picked" / "model-1" / "candidates").glob("*.csv"))]
    kept = sum(int((p.scores >= 0.02).sum()) for p in every)
    assert kept > before
    page.get_by_text(f"{kept} kept").wait_for()
    page.get_by_text(f"of {kept}").first.wait_for()
    filters = json.loads((folder / "picked" / "model-1" / "reviewed" / "filters.json").read_text())
    assert filters["min_score"] == {"large": 0.02, "small": 0.02}
    other = page.context.new_page()
    other.goto(page.url)
    other.get_by_text("0 accepted, 0 rejected").wait_for()
    tiles = page.locator(".tile")
    tiles.nth(1).click(position={"x": 50, "y": 30})
    tiles.nth(2).click(position={"x": 50, "y": 30})
    page.get_by_text("0 accepted, 2 rejected").wait_for()
    other.get_by_text("0 accepted, 2 rejected").wait_for()  # said in this tab, seen in that
    assert other.locator(".tile.rejected").count() == 2
    other.close()
    assert number_in(counts.inner_text()) == kept - 2
    tiles.nth(2).click(position={"x": 50, "y": 30})  # thought better of it
    page.get_by_text("0 accepted, 1 rejected").wait_for()
    page.screenshot(path=folder / "curate.png")
    said = [read_picks(f) for f in (folder / "picked" / "model-1" / "reviewed").glob("*.csv")]
    assert sum(int((p.classes == NEGATIVE).sum()) for p in said) == 1
    return kept - 1


def drag_the_line(page, folder):
    """Move the threshold by the line in the histogram, a tenth of the chart to the right; once more where the chart was
    drawn anew under the hand, as whoever drags it would."""
    before = kept_as_shown(page, folder)
    moved = f"{SLIDER} > {before + 0.05}"
    for _ in range(4):
        x, y, chart = the_line(page)
        to = chart["x"] + (before + 0.1) * chart["width"]
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move((x + to) / 2, y)
        page.mouse.move(to, y)
        page.mouse.up()
        for _ in range(50):
            if page.evaluate(moved):
                break
            page.wait_for_timeout(200)
        if page.evaluate(moved):
            break
    assert before + 0.05 < kept_as_shown(page, folder) < before + 0.15


def the_line(page):
    """Where the line in the histogram is, and the chart, once it is where the slider is."""
    for _ in range(200):  # the chart follows the slider, and while it is drawn anew its parts have no place
        line, chart = (page.locator(name).first.bounding_box() for name in (".shapelayer path", ".nsewdrag"))
        if line and chart:
            x, y = line["x"] + line["width"] / 2, line["y"] + line["height"] / 2
            if abs(x - chart["x"] - page.evaluate(SLIDER) * chart["width"]) < 4:
                return x, y, chart
        page.wait_for_timeout(200)
    raise AssertionError("the line in the histogram is not at the slider's threshold")


def kept_as_shown(page, folder):
    """The threshold of the slider, when the server has followed all its moves and kept it on disk."""
    file = folder / "picked" / "model-1" / "reviewed" / "filters.json"
    for _ in range(200):
        shown = page.evaluate(SLIDER)
        if abs(json.loads(file.read_text())["min_score"]["large"] - shown) < 0.003:
            return shown
        page.wait_for_timeout(200)
    raise AssertionError("the slider and what is kept differ")


def export(page, server, folder, kept):
    page.goto(f"{server.address}/export")
    page.get_by_role("button", name="Write files").click()
    page.get_by_role("button", name="Download as a zip").wait_for()
    page.screenshot(path=folder / "export.png")
    stars = sorted((folder / "export" / "model-1").glob("*.star"))
    assert [p.name for p in stars] == ["first.star", "second.star"]
    assert sum(len(read_picks(p)) for p in stars) == kept
    page.get_by_role("button", name="Write files").click()
    page.get_by_text("exists").wait_for()  # nothing is replaced without being told to
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as a zip").click()
    assert Path(download.value.path()).read_bytes().startswith(b"PK")
    page.get_by_role("button", name="Evaluate").click()
    report = page.frame_locator("iframe")
    report.get_by_text("precision").first.wait_for(timeout=60_000)
    page.screenshot(path=folder / "report.png")
    assert (folder / "reports" / "model-1-evaluation" / "evaluation.json").exists()


def train_again(page, server, folder):
    """The least sure picks, and one button to learn from what was said of them."""
    page.goto(f"{server.address}/curate")
    page.get_by_role("button", name="Show the least sure").click()
    page.get_by_text(re.compile(r"(large|small), score 0\.\d\d")).wait_for()
    page.keyboard.press("0")
    page.get_by_text("0 accepted, 2 rejected").wait_for()
    page.get_by_role("button", name="Train again with this").click()
    page.get_by_role("button", name="No: call the labels partial").click()
    page.wait_for_url("**/train")
    page.get_by_text("model-2").first.wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text(re.compile("stopped after step|taken out of the queue")).first.wait_for(timeout=SOON)
    assert the_job(folder, "train").out.name == "model-2"
    dataset = load_project(folder / "project.toml")
    assert dataset.partial_labels
    assert sum(int((item.particles.classes == NEGATIVE).sum()) for item in dataset.items) >= 1


def test_pages_without_anything_say_what_to_do_next(page, serve, tmp_path):
    write_mrc(tmp_path / "first.mrc", balls(0)[0].data, 10.0)
    new_project(tmp_path / "project.toml", [tmp_path / "first.mrc"], CLASSES, "complete")
    server = serve(tmp_path, str(tmp_path / "project.toml"))
    page.goto(server.url)
    for address, sentence in (
        ("pick", "No model yet"), ("curate", "Nothing was picked yet"), ("export", "Nothing was picked yet"),
        ("train", "No training yet"),
    ):  # fmt: skip
        page.goto(f"{server.address}/{address}")
        page.get_by_text(sentence).wait_for()
    page.get_by_role("button", name="Start training").click()  # nothing is marked
    page.get_by_text("none of the 1 tomograms has picks: mark some particles").wait_for(timeout=SOON)
    page.get_by_text("failed", exact=True).wait_for()
    page.get_by_label("Name of the model").fill("../elsewhere")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("cannot name a folder").wait_for()
    assert "Traceback" not in page.content()
    assert [job.out.name for job in JobQueue(tmp_path / "jobs").jobs()] == ["model-1"]
