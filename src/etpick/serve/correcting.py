"""From what was said of picks to a new training, with one button; and how to take a correction back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from etpick import api
from etpick.curation.project import Correction
from etpick.curation.rounds import last_round
from etpick.curation.session import Session
from etpick.errors import InputError
from etpick.serve.parts import card, hint, spoken
from etpick.serve.results import Results


class CorrectionBar:
    """How much was said, what to ask about first, and `Train again with this`."""

    def __init__(self, results: Results, session: Session, on_least_sure: Callable[[], Awaitable[None]]) -> None:
        self.results, self.session = results, session
        with card().style("padding: 10px 14px; gap: 6px"):
            with ui.row().classes("w-full items-center no-wrap").style("gap: 10px"):
                with ui.column().style("flex: 1; min-width: 0; gap: 2px"):
                    self.said = ui.label().style("font-weight: 600").mark("reviewed")
                    hint("Accepted picks become labels, rejected ones places to learn as background.")
                ui.button("Show the least sure", icon="help_outline", on_click=on_least_sure).props(
                    "outline no-caps"
                ).tooltip("picks of which the network knows least teach it most").mark("least-sure")
                ui.button("Train again with this", icon="model_training", on_click=spoken(self._train)).props(
                    "no-caps"
                ).mark("train-again")
            self.undone = ui.row().classes("w-full items-center no-wrap")
        self.tell()

    def tell(self) -> None:
        """Show what was said, and the correction that could be undone."""
        self.said.text = f"{self.session.accepted} accepted, {self.session.rejected} rejected"
        self.undone.clear()
        last = last_round(self.results.root)
        if last is not None:
            with self.undone:
                hint(f"Last correction: {last.what}").style("flex: 1")
                ui.button("Undo it", on_click=spoken(self._undo)).props("flat dense no-caps").mark("undo-correction")

    def _undo(self) -> None:
        undone = api.undo_correction(self.results.project)
        self.results.reread()
        ui.notify(f"undone: {undone.what}", type="positive")
        self.tell()

    def _train(self) -> None:
        would = api.correct(self.results.project, self.session.folder, write=False)
        if would.changed and would.advice:
            self._ask(would)
        else:
            self._train_again(partial=False)

    def _ask(self, would: Correction) -> None:
        with ui.dialog(value=True) as dialog, ui.card().style("max-width: 34rem; gap: 12px"):
            ui.label("Are all particles of these tomograms marked now?").classes("etpick-title")
            ui.label(
                f"{would.unreviewed} picks above the model's threshold in them have no label, and nobody said what "
                "they are. Where labels are complete, training takes them for background."
            )

            def answer(text: str, partial: bool, props: str) -> ui.button:
                def act() -> None:
                    dialog.close()
                    self._train_again(partial)

                return ui.button(text, on_click=spoken(act)).props(f"no-caps {props}").classes("w-full")

            answer("No: call the labels partial", True, "").mark("labels-partial")
            answer("Yes: whatever else was picked is background", False, "outline").mark("labels-complete")
            ui.button("Back to the picks", on_click=dialog.close).props("no-caps flat").classes("w-full")

    def _train_again(self, partial: bool) -> None:
        correction = api.correct(self.results.project, self.session.folder, partial=partial)
        if not correction.changed:
            raise InputError("there is nothing new to learn from: accept or reject some picks first")
        self.results.reread()
        job = self.results.train_again()
        ui.notify(f"{correction.what}; {job.out.name} is being trained", type="positive")
        ui.navigate.to("/train")
