import numpy as np
import pytest

from etpick.report.mistakes import _cut, _Mistake
from etpick.types import Tomogram


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("position", [(30, 40, 50), (2, 40, 50), (30, 77, 3)])
def test_the_place_of_a_mistake_is_where_it_is_drawn(axis: int, position: tuple[int, int, int]) -> None:
    data = np.zeros((60, 80, 90), np.float32)
    data[position] = 100
    image, (up, x) = _cut(_Mistake(Tomogram(data, 10.0), np.array(position, float), 6.0, "", 1.0), axis)
    brightest = np.unravel_index(image.argmax(), image.shape)
    assert (round(up), round(x)) == brightest
