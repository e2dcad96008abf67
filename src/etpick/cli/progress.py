"""What people see while a command works: bars, messages, and how to stop it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from etpick.progress import TrainingProgress


class StopFlag:
    """Set by Ctrl-C or a cluster's SIGTERM; the training loop reads it. A second Ctrl-C stops at once.

    A cluster may send both, and SIGTERM more than once, none of which must cost the state.
    """

    def __init__(self) -> None:
        self.asked = self._by_hand = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        if number == signal.SIGINT and self._by_hand:
            raise KeyboardInterrupt
        if not self.asked:
            click.echo("stopping after this step; Ctrl-C once more stops at once", err=True)
        self.asked, self._by_hand = True, self._by_hand or number == signal.SIGINT

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.asked


class Bars:
    """Progress on a terminal; without one, a line now and then."""

    def __init__(self, progress: Any, terminal: bool) -> None:
        self.progress, self.terminal = progress, terminal
        self.task: Any = None
        self.engine = ""  # the last that was told

    def say(self, message: str) -> None:
        """A line above the bars."""
        self.progress.console.print(message, highlight=False, markup=False, soft_wrap=True)

    def stage(self, name: str) -> Callable[[int, int], None]:
        """A bar for a stage that reports (done, total)."""
        self.task = self.progress.add_task(name, total=None)
        return self.advance

    def advance(self, done: int, total: int) -> None:
        """Move the current bar."""
        if self.task is not None:
            self.progress.update(self.task, completed=done, total=total)

    def replace(self, name: str) -> Callable[[int, int], None]:
        """A bar for a stage, in the place of the one before."""
        if self.task is not None:
            self.progress.remove_task(self.task)
        return self.stage(name)

    def on_file(self, path: Path, number: int, count: int) -> None:
        """A new tomogram begins."""
        self.replace(f"{path.name} ({number + 1} of {count})")

    def on_picked(self, picked: Any) -> None:
        """A tomogram is done."""
        picks = picked.found.picks
        counts = ", ".join(f"{(picks.classes == name).sum()} {name}" for name in sorted(set(picks.classes)))
        self.say(f"{picked.tomogram.name}: {counts or 'no picks'} → {picked.files[0]}")
        if len(picks):
            self.say(f"  {picked.found.how}: {picked.found.expected_wrong:.0f} of them wrong to be expected")
        if picked.found.engine != self.engine:
            self.engine = picked.found.engine
            self.say(f"  computed by {self.engine}")
        for remark in (picked.found.what_was_left_out, picked.found.why_empty, picked.found.warning):
            if remark:
                self.say(f"  {remark}")

    def training(self, name: str = "training") -> Callable[[TrainingProgress], None]:
        """A bar for training: loss, validation F1, remaining time."""
        task = self.progress.add_task(name, total=None)

        def show(p: TrainingProgress) -> None:
            if p.message:
                self.say(p.message)
                return
            f1 = "" if p.validation_f1 != p.validation_f1 else f"  validation F1 {p.validation_f1:.3f}"
            text = f"loss {p.loss:.3f}{f1}"
            self.progress.update(task, completed=p.step, total=p.steps, description=text)
            if not self.terminal and (p.step % 100 == 0 or p.step == p.steps):
                self.say(f"step {p.step} of {p.steps}, {text.strip()}, {p.minutes_left:.1f} minutes left")

        return show


@contextmanager
def progress_bars() -> Iterator[Bars]:
    """Bars on a terminal, which vanish when the work is done; lines where there is none."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bars(progress, console.is_terminal)
