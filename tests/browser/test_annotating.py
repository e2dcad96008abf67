"""What a biologist does in the browser before training: open, look, mark; and what goes wrong on the way."""

import signal

import numpy as np
import pytest

from etpick.io.picks import read_picks
from etpick.io.project import load_project
from etpick.types import NEGATIVE

VIEWER = "document.querySelector('.etpick-viewer').viewer"


def open_annotation(page, server, key=""):
    page.goto(server.url)
    page.goto(f"{server.address}/annotate{key}")
    page.wait_for_selector(".etpick-xy[data-slice]")
    page.wait_for_function(f"{VIEWER}.fitted")


def click_at(page, position, *, button="left"):
    z, y, x = (float(p) for p in position)
    page.evaluate(f"{VIEWER}.goSlice({round(z)})")
    page.wait_for_selector(f".etpick-xy[data-slice='{round(z)}']")
    sx, sy = page.evaluate(f"{VIEWER}.toScreen('xy', {{z: {z}, y: {y}, x: {x}}})")
    box = page.locator(".etpick-xy").bounding_box()
    page.mouse.click(box["x"] + sx, box["y"] + sy, button=button)


def wait_for_picks(page, path, count):
    page.get_by_text(f"{count} picks; saved in picks/{path.name}").wait_for()
    picks = read_picks(path)
    assert len(picks) == count
    return picks


def test_from_an_empty_folder_to_labels_that_training_reads(page, serve, lab, simulated, tmp_path):
    server = serve(lab)
    page.goto(server.url)
    page.get_by_role("button", name="Choose tomograms").click()
    page.get_by_text("data", exact=True).first.click()
    boxes = page.locator(".q-dialog .q-checkbox")
    boxes.nth(2).wait_for()
    boxes.nth(0).click()
    boxes.nth(1).click()
    page.get_by_role("button", name="Choose 2").click()
    page.get_by_label("Particle, for example ribosome").fill("ribosome")
    page.get_by_label("Its diameter in Å").fill("280")
    page.get_by_role("button", name="Make the project").click()
    page.get_by_text("no picks yet").nth(1).wait_for()
    page.screenshot(path=tmp_path / "project.png")
    page.get_by_role("button", name="Annotate").first.click()
    page.wait_for_selector(".etpick-xy[data-slice]")

    first = sorted(simulated.glob("*.csv"))[0]
    truth = read_picks(first).of_class("ribosome").positions
    path = lab / "picks" / "tomo_000.csv"
    for position in truth:
        click_at(page, position)
    picks = wait_for_picks(page, path, len(truth))
    gaps = np.linalg.norm(picks.positions[:, None] - truth[None], axis=-1)
    assert gaps.min(axis=0).max() < 1.0  # half a slice, and what a pixel of the screen is worth
    assert set(picks.classes) == {"ribosome"}
    page.screenshot(path=tmp_path / "annotated.png")
    assert (tmp_path / "annotated.png").stat().st_size > 50_000
    items = load_project(lab / "project.toml").items
    assert [len(item.particles) for item in items] == [len(truth), 0]
    assert server.stop() == 0


def test_the_hand_and_the_keys(page, serve, project):
    server = serve(project.parent, str(project))
    open_annotation(page, server)
    path = project.parent / "picks" / "tomo_000.csv"
    click_at(page, (20, 30, 40))
    click_at(page, (20, 80, 90))
    page.keyboard.press("0")  # of the pick just made
    wait_for_picks(page, path, 2)
    page.get_by_text("not a particle").wait_for()
    page.wait_for_function(f"[...{VIEWER}.marks.values()].some((m) => m.negative)")
    assert sorted(read_picks(path).classes) == [NEGATIVE, "ribosome"]

    page.keyboard.press("Escape")
    page.keyboard.press("2")
    click_at(page, (25, 100, 20))
    assert sorted(wait_for_picks(page, path, 3).classes) == [NEGATIVE, "proteasome", "ribosome"]

    page.keyboard.press("Control+z")
    wait_for_picks(page, path, 2)
    page.keyboard.press("Control+y")
    wait_for_picks(page, path, 3)
    page.keyboard.press("Delete")  # nothing is selected after undoing an addition
    click_at(page, (25, 100, 20))
    page.keyboard.press("Delete")
    wait_for_picks(page, path, 2)

    box = page.locator(".etpick-xy").bounding_box()
    page.evaluate(f"{VIEWER}.goSlice(20)")
    page.wait_for_selector(".etpick-xy[data-slice='20']")
    start, end = (page.evaluate(f"{VIEWER}.toScreen('xy', {{z: 20, y: {y}, x: {x}}})") for y, x in ((30, 40), (36, 52)))
    page.mouse.move(box["x"] + start[0], box["y"] + start[1])
    page.mouse.down()
    page.mouse.move(box["x"] + end[0], box["y"] + end[1], steps=4)
    page.mouse.up()
    page.wait_for_function(f"[...{VIEWER}.marks.values()].some((m) => Math.abs(m.x - 52) < 1)")
    moved = read_picks(path).of_class("ribosome").positions[0]
    assert moved == pytest.approx([20, 36, 52], abs=0.5)

    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.wheel(0, 100)
    page.wait_for_selector(".etpick-xy[data-slice='21']")
    page.keyboard.press("PageUp")
    page.wait_for_selector(".etpick-xy[data-slice='31']")


def test_circles_shrink_with_the_distance_in_z(page, serve, project):
    server = serve(project.parent, str(project))
    open_annotation(page, server)
    click_at(page, (24, 60, 60))
    page.wait_for_function(f"{VIEWER}.marks.size === 1")
    radii = []
    for z in (24, 30, 37, 38):
        page.evaluate(f"{VIEWER}.goSlice({z})")
        radii.append(page.evaluate(f"{VIEWER}.radiusAt([...{VIEWER}.marks.values()][0], 'xy')"))
    assert radii == pytest.approx([14.0, np.sqrt(14**2 - 6**2), np.sqrt(14**2 - 13**2), 0.0], abs=1e-6)


def test_two_tabs_see_each_others_picks_and_a_reload_loses_none(page, serve, project):
    server = serve(project.parent, str(project))
    open_annotation(page, server)
    other = page.context.new_page()
    other.goto(f"{server.address}/annotate")
    other.wait_for_selector(".etpick-xy[data-slice]")
    click_at(page, (20, 30, 40))
    other.wait_for_function(f"{VIEWER}.marks.size === 1")
    click_at(other, (22, 90, 40))
    page.wait_for_function(f"{VIEWER}.marks.size === 2")
    page.reload()
    page.wait_for_function(f"document.querySelector('.etpick-viewer') && {VIEWER}.marks.size === 2")
    wait_for_picks(page, project.parent / "picks" / "tomo_000.csv", 2)


def test_a_killed_server_loses_nothing_and_another_goes_on(page, serve, project):
    server = serve(project.parent, str(project))
    open_annotation(page, server)
    click_at(page, (20, 30, 40))
    wait_for_picks(page, project.parent / "picks" / "tomo_000.csv", 1)
    server.stop(signal.SIGKILL)
    again = serve(project.parent, str(project))
    open_annotation(page, again)
    page.wait_for_function(f"{VIEWER}.marks.size === 1")
    click_at(page, (22, 90, 40))
    wait_for_picks(page, project.parent / "picks" / "tomo_000.csv", 2)


def test_display_changes_the_picture_and_not_the_place(page, serve, project):
    server = serve(project.parent, str(project))
    open_annotation(page, server)
    before = page.locator(".etpick-xy").screenshot()
    page.get_by_label("Average over ± slices").fill("3")
    page.wait_for_function(f"{VIEWER}.display.includes('slab=3') && {VIEWER}.waiting.size === 0")
    page.wait_for_timeout(200)
    assert page.locator(".etpick-xy").screenshot() != before
    assert page.locator(".etpick-xy").get_attribute("data-slice") == "24"


def test_a_tomogram_that_is_not_there_is_a_sentence_and_a_way_back(page, serve, project):
    server = serve(project.parent, str(project))
    page.goto(server.url)
    page.goto(f"{server.address}/annotate/nonsense")
    page.get_by_text("this tomogram is not in the project").wait_for()
    page.get_by_role("button", name="Go to the project").click()
    page.get_by_text("Are all particles marked?").wait_for()


def test_strangers_and_paths_outside_are_turned_away(page, browser, serve, project):
    server = serve(project.parent, str(project))
    stranger = browser.new_context().new_page()
    for address in ("/", "/annotate", "/slices/a/0/0", "/?token=wrong", "/_nicegui/auto/static/"):
        answer = stranger.goto(server.address + address)
        assert answer.status == 403
    assert "Open the link" in stranger.content() or "wrong" in stranger.content()
    page.goto(server.url)
    for address in ("/slices/../../etc/passwd", "/slices/%2e%2e%2f%2e%2e/0/0", "/thumbnails/..%2f..%2fetc%2fpasswd"):
        assert page.request.get(server.address + address).status in (404, 422)
    used = stranger.goto(server.url)
    assert used.status == 403
    assert "used already" in stranger.content()
    fresh = server.next_link()
    assert stranger.goto(fresh).status == 200
