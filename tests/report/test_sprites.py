import io

import numpy as np
import pytest
from PIL import Image

from etpick.report.sprites import Plane, Tile, box_vx, sprite_sheet
from etpick.types import Tomogram

TILE = 48


def sheet_of(tomogram: Tomogram, positions: np.ndarray, box_vx: int, columns: int = 1, plane: Plane = "xy") -> bytes:
    shown = [Tile(tomogram, position, box_vx) for position in positions]
    return sprite_sheet(shown, plane=plane, columns=columns, tile_px=TILE)


def tiles(picture: bytes, columns: int) -> np.ndarray:
    """(rows, columns, y, x) grey levels."""
    levels = np.asarray(Image.open(io.BytesIO(picture)), dtype=float)
    return levels.reshape(-1, TILE, columns, TILE).swapaxes(1, 2)


def test_each_tile_shows_its_pick_in_the_middle_with_y_down() -> None:
    data = np.zeros((40, 50, 60), np.float32)
    data[18:23, 18:23, 28:33] = -1  # a dark cube …
    data[18:23, 26:29, 28:33] = 1  # … with a bright one after it in y
    sheet = tiles(sheet_of(Tomogram(data, 10.0), np.array([[20.0, 20, 30], [20, 40, 10]]), 20, 8), 8)
    first = sheet[0, 0]
    middle = TILE // 2
    assert first[middle, middle] < 40
    assert first[-TILE // 4 :, middle].max() > 200  # the picture's last rows
    assert first[: TILE // 4, middle].max() < 150
    assert np.ptp(sheet[0, 1]) < 30  # nothing there
    assert (sheet[0, 2:] > 250).all()  # no pick, no tile


@pytest.mark.parametrize(("plane", "axis"), [("xy", 0), ("xz", 1), ("yz", 2)])
def test_a_plane_is_cut_along_its_own_axis(plane: str, axis: int) -> None:
    data = np.zeros((40, 40, 40), np.float32)
    place = [20, 20, 20]
    place[axis] += 8  # off the plane: not to be seen in it, but in the others
    z, y, x = place
    data[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = 1
    data[0] = 1e-3
    centre = np.array([[20.0, 20, 20]])
    tomogram = Tomogram(data, 10.0)
    planes: tuple[Plane, ...] = ("xy", "xz", "yz")
    seen = {p: np.ptp(tiles(sheet_of(tomogram, centre, 24, plane=p), 1)) for p in planes}
    assert seen.pop(plane) < 60
    assert min(seen.values()) > 150


def test_a_pick_at_the_corner_and_none_at_all() -> None:
    tomogram = Tomogram(np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32), 10.0)
    corner = tiles(sheet_of(tomogram, np.array([[0.0, 0, 0]]), 16), 1)[0, 0]
    assert np.ptp(corner[: TILE // 2 - 4, : TILE // 2 - 4]) < 30  # beyond the tomogram: even grey
    assert np.ptp(corner[TILE // 2 + 4 :, TILE // 2 + 4 :]) > 80
    assert Image.open(io.BytesIO(sprite_sheet([]))).size == (8 * 96, 96)


def test_tomograms_of_other_grey_levels_are_stretched_on_their_own() -> None:
    data = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    middle = np.array([10.0, 10, 10])
    both = [Tile(Tomogram(d, 10.0), middle, 12) for d in (data, 1000 + 50 * data)]
    one, other = tiles(sprite_sheet(both, columns=2, tile_px=TILE), 2)[0]
    assert np.abs(one - other).mean() < 5


def test_a_tile_is_twice_as_wide_as_the_particle() -> None:
    assert box_vx(280, 10) == 56
    assert box_vx(10, 10) == 8
