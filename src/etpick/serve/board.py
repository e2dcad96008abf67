"""A job on the page: how far it is, what it says, and buttons to stop it or to let it go on. Read from disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from nicegui import ui

from etpick.jobs import Job, Status
from etpick.report.slices import STATE_COLORS
from etpick.serve import charts
from etpick.serve.frame import nothing_here
from etpick.serve.parts import as_source, card, hint, minutes, spoken, state_chip
from etpick.serve.results import Results

_EVERY_S: Final = 1.0


class TrainingBoard:
    """The trainings of a project: one large, the others in a list. Looks at the disk once in a second."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.chosen: str | None = None
        self._shown: tuple[object, ...] = ()
        self.head = ui.column().classes("w-full gap-2")
        self.body = ui.column().classes("w-full gap-4")
        with self.body:
            with ui.row().classes("w-full no-wrap gap-4 items-stretch"):
                with card().classes("col").style("min-width: 0"):
                    self.chart = ui.plotly(charts.training_curves((), (), 1)).classes("w-full").style("height: 26rem")
                with card().style("width: 25rem; flex: none"):
                    self.caption = hint("")
                    self.picture = ui.image().props("no-transition").classes("w-full").mark("validation-picture")
                    _legend()
            self.log = ui.column().classes("w-full gap-1")
        self.list = ui.column().classes("w-full gap-2")
        self.update()
        ui.timer(_EVERY_S, self.update)

    def select(self, name: str) -> None:
        """Show a training large."""
        self.chosen = name
        self.update()

    def update(self) -> None:
        """Show what the disk says, where that has changed."""
        known = [s for s in statuses(self.results) if s.job.kind == "train"]
        shown = next((s for s in known if s.job.name == self.chosen), None) or _most_wanted(known)
        self.body.set_visibility(shown is not None and (bool(shown.losses) or bool(shown.messages)))
        picture = 0.0 if shown is None or not shown.job.preview.exists() else shown.job.preview.stat().st_mtime
        now = (shown, picture, tuple((s.job.name, s.state) for s in known))
        if now == self._shown:
            return
        before, self._shown = self._shown, now
        self._head(shown)
        self._list(known, shown)
        if shown is None:
            return
        if before[:1] != (shown,):
            self.chart.update_figure(charts.training_curves(shown.losses, shown.f1s, shown.steps))
            self._log(shown)
        if not before or before[1] != picture or before[0] is None:
            self._picture(shown, picture)

    def _head(self, shown: Status | None) -> None:
        self.head.clear()
        with self.head:
            if shown is None:
                nothing_here(
                    "No training yet. Mark a few dozen particles of each class, then press Start training: loss, "
                    "validation and pictures of what the network finds appear here."
                )
                return
            with ui.row().classes("w-full items-center gap-3"):
                ui.label(shown.job.out.name).classes("text-h6")
                state_chip(shown.state).mark("training-state")
                ui.space()
                buttons(self.results, shown, self.update)
            ui.linear_progress(shown.share, show_value=False, color=bar_color(shown)).props("rounded size=8px")
            with ui.row().classes("w-full gap-6 text-body2"):
                for text in _facts(shown, self.results):
                    ui.label(text)
            if shown.sentence:
                sentence(shown)

    def _picture(self, shown: Status, time: float) -> None:
        self.picture.set_visibility(bool(time))
        self.caption.text = (
            f"A slice of the validation tomogram after step {shown.f1s[-1][0]}: what the network picks now"
            if time and shown.f1s
            else "After the first validation a slice with the picks appears here."
        )
        if time:
            self.picture.set_source(as_source(shown.job.preview.read_bytes(), "png"))

    def _log(self, shown: Status) -> None:
        self.log.clear()
        with self.log:
            for message in shown.messages[-6:]:
                hint(message)

    def _list(self, known: list[Status], shown: Status | None) -> None:
        self.list.clear()
        if len(known) < 2:
            return
        with self.list:
            ui.label("All trainings").classes("text-subtitle2 q-mt-sm")
            for other in reversed(known):
                selected = shown is not None and other.job.name == shown.job.name
                with (
                    ui.item(on_click=lambda name=other.job.name: self.select(name))
                    .props("dense" + (" active" if selected else ""))
                    .classes("w-full rounded-borders"),
                    ui.row().classes("w-full items-center gap-3"),
                ):
                    ui.label(other.job.out.name).style("min-width: 9rem")
                    state_chip(other.state)
                    hint(_one_line(other))


def statuses(results: Results) -> list[Status]:
    """What is known of all jobs; one that waits behind a process that was killed is started."""
    known = results.queue.statuses()
    states = {s.state for s in known}
    if "waiting" in states and not states & {"running", "stopping"}:
        results.queue.advance()
    return known


def _most_wanted(known: list[Status]) -> Status | None:
    """The one that runs, else the newest."""
    running = [s for s in known if s.state in ("running", "stopping")]
    return (running or known)[-1] if known else None


def _facts(shown: Status, results: Results) -> list[str]:
    if shown.state == "waiting":
        before = results.queue.position(shown.job)
        return [f"waits for {before} other job{'s' if before != 1 else ''} to end"]
    facts = [f"step {shown.step} of {shown.steps}" if shown.steps else "starting: reading tomograms"]
    if shown.losses:
        facts.append(f"loss {shown.losses[-1][1]:.3f}")
    if shown.f1s:
        facts.append(f"validation F1 {shown.f1s[-1][1]:.3f}, best {shown.best_f1:.3f}")
    if shown.state == "running" and shown.minutes_left is not None:
        facts.append(f"about {minutes(shown.minutes_left)} left")
    return facts


def _one_line(shown: Status) -> str:
    if shown.best_f1 is not None:
        return f"best validation F1 {shown.best_f1:.3f}, step {shown.step} of {shown.steps}"
    return shown.sentence


def _legend() -> None:
    with ui.row().classes("etpick-hint").style("gap: 12px"):
        for text, color in list(STATE_COLORS.items())[:4]:
            with ui.row().classes("items-center gap-1"):
                ring = f"border: 2px solid {color}; border-radius: 50%"
                ui.element("span").style(f"width: 0.7rem; height: 0.7rem; display: inline-block; {ring}")
                ui.label(text)


def bar_color(shown: Status) -> str:
    """Of a progress bar."""
    return {"failed": "negative", "done": "positive", "stopped": "warning"}.get(shown.state, "primary")


def sentence(shown: Status) -> None:
    """How a job ended, or why it failed, where nobody overlooks it."""
    bad = shown.state == "failed"
    with (
        ui.row()
        .classes("w-full no-wrap items-center gap-2 q-pa-sm rounded-borders")
        .style(f"background: {'rgba(200,40,40,0.10)' if bad else 'rgba(120,130,145,0.10)'}")
    ):
        ui.icon("error_outline" if bad else "info_outline", color="negative" if bad else "grey-7").classes("text-h6")
        ui.label(shown.sentence).classes("text-body2 col").mark("job-sentence")
        if bad and shown.job.output.strip():
            ui.button("Log", on_click=lambda: show_log(shown.job)).props("flat dense no-caps")


def show_log(job: Job) -> None:
    """What a job's process printed, in a window."""
    with ui.dialog(value=True), ui.card().style("width: 60rem; max-width: 90vw"):
        ui.label(f"What {job.name} printed").classes("text-subtitle1")
        ui.code(job.output[-20_000:], language="text").classes("w-full").style("max-height: 60vh; overflow: auto")


def buttons(results: Results, shown: Status, after: Callable[[], None]) -> None:
    """What can be done with a job as it is: stop, go on, begin anew, forget."""
    job, queue = shown.job, results.queue

    def act(action: Callable[[Job], None]) -> None:
        action(job)
        after()

    def button(text: str, icon: str, action: Callable[[Job], None], props: str = "outline") -> None:
        made = ui.button(text, icon=icon, on_click=spoken(lambda: act(action)))
        made.props(f"no-caps dense {props}").classes("q-px-sm")

    if shown.state in ("running", "waiting"):
        button("Stop" if shown.state == "running" else "Take out of the queue", "stop", queue.stop)
    if shown.state == "stopping":
        button("End it at once", "cancel", queue.kill)
    if shown.can_resume:
        button("Go on", "play_arrow", queue.resume, "unelevated")
    if shown.state in ("stopped", "failed"):
        button("Begin anew", "restart_alt", queue.restart)
    if shown.state in ("stopped", "failed", "done"):
        button("", "delete_outline", queue.remove, "flat round color=grey-7")
