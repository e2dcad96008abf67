"""Fixtures that several test folders share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# machines differ: no test asserts a time; a landing must not hang on the luck of the draw
settings.register_profile("etpick", deadline=None, derandomize="CI" in os.environ, max_examples=50)
settings.load_profile("etpick")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real and simulated tomograms that developers keep beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the developers' data folder ../shared/data is not here")
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def _no_int8_copies() -> Iterator[None]:
    """Trainings of the tests end without an int8 copy, which takes longer than they do; those about it make one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etpick.training.can_quantise", lambda: False)
        yield
