import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpick.ops.labels import label_diameters, render_labels


def brute_force(position, diameter, shape, kind, stride=1):
    radius = (diameter - 1) / 2
    grid = np.indices(shape).reshape(3, -1).T * stride + (stride - 1) / 2
    d = grid - position
    squared, cube = (d**2).sum(1), (np.abs(d) <= radius).all(1)
    inside = {
        "cubic": cube,
        "ball": squared < radius**2,
        "truncated-ball": cube & (squared < 2 * radius**2),
    }[kind]
    return inside.reshape(shape)


kinds = st.sampled_from(["cubic", "ball", "truncated-ball"])
places = st.tuples(*[st.floats(-3, 23, allow_nan=False)] * 3)


@given(kind=kinds, place=places, diameter=st.floats(1.5, 12), stride=st.sampled_from([1, 2]))
def test_labels_follow_the_equations_anywhere(kind, place, diameter, stride):
    shape = (20 // stride,) * 3
    labels = render_labels(np.array([place]), np.array([3]), np.array([diameter]), shape, kind=kind, stride=stride)
    expected = brute_force(np.array(place), diameter, shape, kind, stride)
    assert (labels == np.where(expected, 3, 0)).all()


def test_the_published_labels_of_diameter_seven():
    def count(kind):
        one = np.ones(1, int)
        return int(render_labels(np.full((1, 3), 8.0), one, np.full(1, 7.0), (17, 17, 17), kind=kind).sum())

    assert [count(k) for k in ("cubic", "ball", "truncated-ball")] == [343, 93, 275]


def test_an_even_cube_is_as_wide_as_it_says_between_voxels():
    labels = render_labels(np.full((1, 3), 7.5), np.ones(1, int), np.full(1, 6.0), (16, 16, 16), kind="cubic")
    assert (labels > 0).sum() == 6**3


@given(st.lists(st.tuples(*[st.floats(0, 15)] * 3), min_size=2, max_size=5, unique=True), st.randoms())
def test_the_nearest_centre_wins_whatever_the_order(places, random):
    positions, numbers = np.array(places), np.arange(1, len(places) + 1)
    order = list(range(len(places)))
    random.shuffle(order)
    paint = [
        render_labels(positions[i], numbers[i], np.full(len(places), 7.0), (16, 16, 16), kind="cubic")
        for i in (list(range(len(places))), order)
    ]
    distances = ((np.indices((16, 16, 16)).reshape(3, -1).T[:, None] - positions) ** 2).sum(-1)
    decided = (np.diff(np.sort(distances, axis=1)[:, :2]) > 1e-9).reshape(16, 16, 16)
    assert (paint[0] == paint[1])[decided].all()
    covered = paint[0] > 0
    covers = np.abs(np.indices((16, 16, 16)).reshape(3, -1).T[:, None] - positions).max(-1) <= 3
    expected = np.where(covers, distances, np.inf).argmin(1).reshape(16, 16, 16) + 1
    assert (paint[0] == expected)[covered & decided].all()


@pytest.mark.parametrize(
    ("fraction", "most", "stride", "expected"),
    [(1.0, 7.0, 1, [6, 7, 7]), (0.5, None, 1, [3, 5, 10]), (0.6, 8.0, 2, [4.6, 6, 8])],
)
def test_labels_are_constant_or_in_proportion_and_never_lost(fraction, most, stride, expected):
    widths = np.array([6.0, 10.0, 20.0])
    assert label_diameters(widths, fraction=fraction, most_vx=most, stride=stride) == pytest.approx(expected)


@given(places)
def test_the_smallest_label_covers_a_voxel_wherever_it_lies(place):
    inside = np.clip(place, 4, 15)[None]
    for stride in (1, 2):
        d = label_diameters(np.array([1.0]), fraction=1.0, stride=stride)
        for kind in ("cubic", "ball", "truncated-ball"):
            shape = (20 // stride,) * 3
            labels = render_labels(inside, np.ones(1, int), d, shape, kind=kind, stride=stride)
            assert labels.any()
