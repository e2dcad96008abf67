import base64
import io
import re

import numpy as np
from PIL import Image

from etpick.report.gallery import Shown, central_slices, evenly, gallery_report, ranked
from etpick.report.page import render

N = 16


def shown(count: int, scores: np.ndarray | None, sizes: tuple[int, ...] = (N,)) -> Shown:
    rng = np.random.default_rng(0)
    boxes = [rng.standard_normal((sizes[i % len(sizes)],) * 3).astype(np.float32) for i in range(count)]
    classes = np.where(np.arange(count) % 2, "b & c", "a")
    return Shown(classes, np.full(count, "t1"), scores, np.arange(1, count + 1), lambda row: boxes[row])


def pictures(page: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def test_three_planes_through_the_middle_with_the_second_axis_upwards() -> None:
    box = np.zeros((N, N, N), dtype=np.float32)
    box[12, 8, 8], box[8, 8, 3] = 100, 100  # above the middle in z; left of it in x
    picture = central_slices(box)
    assert picture.shape == (N, 3 * N + 2)
    xy, xz, yz = picture[:, :N], picture[:, N + 1 : 2 * N + 1], picture[:, 2 * N + 2 :]
    assert np.isnan(picture[:, [N, 2 * N + 1]]).all()
    up = N - 1  # row 0 is the top
    assert np.unravel_index(xy.argmax(), xy.shape) == (up - 8, 3)
    assert xz[up - 12, 8] > 10 and xz[up - 8, 3] > 10
    assert np.unravel_index(yz.argmax(), yz.shape) == (up - 12, 8)


def test_particles_are_shown_best_first_in_their_class_with_unknown_scores_last() -> None:
    scores = np.array([0.2, 0.9, 0.8, np.nan, np.nan, 0.95])
    assert ranked(shown(6, scores), "a").tolist() == [2, 0, 4]
    assert ranked(shown(6, None), "b & c").tolist() == [1, 3, 5]
    page = render(gallery_report(shown(6, scores), 100, {}))
    assert page.index("1 · 0.80 · t1 3") < page.index("2 · 0.20 · t1 1") < page.index("3 · t1 5")
    assert len(pictures(page)) == 6 and "b &amp; c" in page and "Best score first." in page
    assert "which have no scores" in render(gallery_report(shown(6, None), 100, {}))


def test_many_particles_are_thinned_evenly_from_first_to_last() -> None:
    assert evenly(1000, 5).tolist() == [0, 250, 500, 749, 999]
    assert evenly(3, 5).tolist() == [0, 1, 2]
    page = render(gallery_report(shown(40, np.linspace(1, 0, 40)), 4, {}))
    assert page.count("4 of 20 are shown, evenly from first to last.") == 2
    assert "1 · 1.00" in page and "20 · 0.03" in page and "mean of the" not in page


def test_means_of_thirds_tell_whether_a_particle_is_there() -> None:
    """A blob in the best third alone is seen in its mean alone."""
    rng = np.random.default_rng(0)
    boxes = rng.standard_normal((30, N, N, N)).astype(np.float32)
    boxes[:10, 6:11, 6:11, 6:11] += 3
    everything = Shown(np.full(30, "a"), np.full(30, "t"), np.linspace(1, 0, 30), np.arange(30), lambda row: boxes[row])
    page = render(gallery_report(everything, 100, {}))
    best, middle, last = pictures(page)[:3]
    assert [f"mean of the {which} third" in page for which in ("best", "middle", "last")] == [True] * 3
    assert best[6:10, 6:10].mean() > middle[6:10, 6:10].mean() + 60
    assert abs(float(middle[6:10, 6:10].mean()) - float(last[6:10, 6:10].mean())) < 50


def test_boxes_of_different_sizes_stand_side_by_side() -> None:
    page = render(gallery_report(shown(30, np.linspace(1, 0, 30), (16, 20, 20)), 100, {}))
    assert {picture.shape for picture in pictures(page)} == {(16, 50), (20, 62)} and "mean of the" not in page


def test_the_page_needs_nothing_else() -> None:
    page = render(gallery_report(shown(4, None), 100, {"boxes": "16 voxels"}, ["a note"]))
    assert "a note" in page and "16 voxels" in page
    assert "<script" not in page and not re.search(r'(?:src|href)="(?!data:)', page)
