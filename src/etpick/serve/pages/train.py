"""Train: a few choices, a start button, and what a training says while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nicegui import ui

from etpick.config import TrainingConfig
from etpick.errors import InputError
from etpick.serve.board import TrainingBoard
from etpick.serve.frame import PAGES, frame, is_open, told
from etpick.serve.parts import TABLE, card, hint, spoken, title
from etpick.serve.results import TRAINING_MINUTES, Results, real_labels, results_of
from etpick.serve.slices import Slices
from etpick.serve.workspace import Workspace
from etpick.types import NEGATIVE

PAGES["/train"] = "Train"
_FEWEST: Final = 10  # labels in one tomogram, below which nothing could be held out to validate on
_NETWORKS: Final = {"fast": "fast, for nearly everything", "paper": "paper: the published 3D-ResUNet, slower"}


def register(workspace: Workspace, slices: Slices) -> None:
    """Enter the page."""

    @ui.page("/train")
    def page() -> None:
        with frame(workspace, "Train"):
            if not is_open(workspace):
                return
            with told():
                _Train(results_of(workspace))


class _Train:
    """The page of one project, in one tab."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.options: dict[str, Any] = {
            "name": results.free_name(), "minutes": TRAINING_MINUTES, "network": "fast", "steps": None,
            "seed": TrainingConfig.model_fields["seed"].default, "int8": True, "averages": True,
        }  # fmt: skip
        with ui.row().classes("w-full no-wrap items-start gap-4"):
            with card().style("width: 23rem; flex: none"):
                self._labels()
                ui.separator()
                self._form()
            with ui.column().classes("col gap-4").style("min-width: 0"):
                self.board = TrainingBoard(results)

    def _labels(self) -> None:
        labels = self.results.labels()
        partial = self.results.workspace.labels == "partial"
        title("What it learns from")
        label_table(labels, [name for name, entry in self.results.entries().items() if entry.validate])
        if real_labels(labels) < _FEWEST:
            hint(f"Mark at least {_FEWEST} particles before you train; a few dozen of each class are a good beginning.")
        elif partial:
            hint("Labels are called partial: unmarked places that look like particles are left out of training.")
        else:
            hint("Labels are called complete: places that nobody marked count as background.")

    def _form(self) -> None:
        title("Choices")
        self._input("Name of the model", "name")
        self._number("Minutes at most", "minutes", min=0.5, step=5)
        hint("A longer training picks better, by less and less: 20 minutes are a good beginning.")
        with ui.expansion("More choices").props("dense").classes("w-full"), ui.column().classes("w-full gap-2 q-pt-sm"):
            ui.select(_NETWORKS, label="Network").props("outlined dense options-dense").classes("w-full").bind_value(
                self.options, "network"
            )
            self._number("Steps, instead of minutes", "steps", min=1, precision=0)
            hint("The same number of steps and the same seed give the same model again.")
            self._number("Seed", "seed", min=0, precision=0)
            ui.checkbox("Averages of the classes").props("dense").bind_value(self.options, "averages")
            hint("Made of the labels, where each class has 20: candidates get a second look when picking.")
            ui.checkbox("int8 copy for picking without a graphics card").props("dense").bind_value(self.options, "int8")
            hint("Made at the end, where the programs for it are installed (etpick[cpu]); it takes a minute or two.")
        ui.button("Start training", icon="play_arrow", on_click=spoken(self._start)).props(
            "no-caps unelevated"
        ).classes("w-full").mark("start-training")

    def _input(self, label: str, name: str) -> None:
        ui.input(label).props("outlined dense").classes("w-full").bind_value(self.options, name)

    def _number(self, label: str, name: str, **limits: Any) -> None:
        ui.number(label, **limits).props("outlined dense").classes("w-full").bind_value(self.options, name)

    def _start(self) -> None:
        o, name = self.options, str(self.options["name"] or "").strip()
        folder = self.results.model_folder(name)
        if self.results.is_taken(name):
            raise InputError(f"there is a model {name} already: choose another name")
        steps = int(o["steps"]) if o["steps"] else None
        job = self.results.queue.add(
            "train", project=self.results.project, out=folder, network=o["network"], steps=steps,
            max_minutes=None if steps else float(o["minutes"] or TRAINING_MINUTES), seed=int(o["seed"] or 0),
            int8=bool(o["int8"]), averages=bool(o["averages"]),
        )  # fmt: skip
        o["name"] = self.results.free_name()
        self.board.select(job.name)


def label_table(labels: Mapping[str, Mapping[str, int]], validating: list[str]) -> None:
    """Marks by tomogram and class, and which tomogram validates."""
    classes = list(dict.fromkeys(name for counts in labels.values() for name in sorted(counts) if name != NEGATIVE))
    negatives = any(counts.get(NEGATIVE) for counts in labels.values())
    columns = [("tomogram", "tomogram", "left"), *((c, c, "right") for c in classes)]
    columns += [(NEGATIVE, "none here", "right")] if negatives else []
    rows = [
        {"tomogram": name + (" (validates)" if name in validating else "")} | {c: str(n) for c, n in counts.items()}
        for name, counts in labels.items()
        if sum(counts.values())
    ]
    table = ui.table(
        columns=[{"name": n, "label": label, "field": n, "align": align} for n, label, align in columns], rows=rows,
        row_key="tomogram",
    ).classes("w-full")  # fmt: skip
    table.props(f'{TABLE} no-data-label="nothing is marked yet"')
