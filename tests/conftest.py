"""Fixtures that several test folders share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# machines differ: no test asserts a time; a landing must not hang on the luck of the draw
settings.register_profile("etpick", deadline=None, derandomize="CI" in os.environ, max_examples=50)
settings.load_profile("etpick")

# a shell that starts tests in the background has them ignore Ctrl-C, and so would the programs they start and interrupt
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST = (
    "e2e/test_command_line.py", "test_engines.py", "test_training.py", "browser/test_whole_path.py",
    "browser/test_annotating.py", "docs/test_snippets.py", "e2e/test_submit.py", "e2e/test_assess_command.py",
    "test_class_averages.py", "jobs/test_jobs.py", "test_crosschecking.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers take whole files, whose tests share what is costly to make: the longest first, so that none ends late."""
    rank = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


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
