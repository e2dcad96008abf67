"""What is known of a job, from its files alone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from etpick.checkpoint import STATE
from etpick.io.table import tomogram_name
from etpick.jobs import process
from etpick.jobs.record import Job

State = Literal["waiting", "running", "stopping", "stopped", "done", "failed"]
ENDED: Final = ("stopped", "done", "failed")
_ENDS: Final[Mapping[str, State]] = {"stopped": "stopped", "done": "done", "failed": "failed"}


@dataclass(frozen=True)
class TomogramDone:
    """How far a tomogram is picked: tiles of it, and the picks once it is done."""

    name: str
    state: Literal["waiting", "running", "done", "failed"]
    share: float = 0.0
    minutes_left: float | None = None
    picks: int | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """What a page shows of a job.

    `sentence` says what went wrong, or how it ended. losses and f1s: (step, value) in order. `minutes_left` is for
    the whole job. `can_resume`: whether there is something kept to go on from.
    """

    job: Job
    state: State
    sentence: str = ""
    step: int = 0
    steps: int = 0
    minutes: float = 0.0
    minutes_left: float | None = None
    losses: tuple[tuple[int, float], ...] = ()
    f1s: tuple[tuple[int, float], ...] = ()
    tomograms: tuple[TomogramDone, ...] = ()
    messages: tuple[str, ...] = ()
    can_resume: bool = False

    @property
    def best_f1(self) -> float | None:
        """The best F1 of the validations so far."""
        return max((f1 for _, f1 in self.f1s), default=None)

    @property
    def share(self) -> float:
        """How much of the job is done, 0–1."""
        if self.state == "done":
            return 1.0
        if self.job.kind == "pick":
            return sum(t.share for t in self.tomograms) / max(len(self.tomograms), 1)
        return self.step / self.steps if self.steps else 0.0


def status(job: Job) -> Status:
    """Read what a job's folder says. A process that ended without a word counts as failed."""
    alive = process.find(job)
    events = job.events()  # after looking for the process, so that one that ends just now has had its say
    now = events[_last(events, "queued") :]
    state, sentence = _state(job, alive is not None, now)
    shown = _training(events, now) if job.kind == "train" else _picking(job, state, events, now)
    messages = tuple(str(e["text"]) for e in now if e["event"] == "message")
    return Status(job, state, sentence, messages=messages, can_resume=_can_resume(job, state), **shown)


def _last(events: Sequence[Mapping[str, Any]], name: str) -> int:
    return max((i for i, e in enumerate(events) if e["event"] == name), default=0)


def _state(job: Job, alive: bool, events: Sequence[Mapping[str, Any]]) -> tuple[State, str]:
    for event in reversed(events):
        if event["event"] in _ENDS:
            return _ENDS[event["event"]], str(event.get("text", ""))
    if alive:
        return ("stopping", "it stops after this step and keeps its state") if job.asked_to_stop else ("running", "")
    if not process.was_started(job):
        return "waiting", ""
    return "failed", _unsaid(job)


def _unsaid(job: Job) -> str:
    """A process was killed: what can be told of it."""
    last = next((line.strip() for line in reversed(job.output.splitlines()) if line.strip()), "")
    said = f"; the last line that it printed: {last}" if last else ""
    return (
        "its process ended without a word: somebody or something killed it, perhaps because the computer's memory "
        f"ran out or it was restarted{said}"
    )


def _can_resume(job: Job, state: State) -> bool:
    if state not in ("stopped", "failed"):
        return False
    return job.kind == "pick" or (job.out / STATE).exists()


# --- training --------------------------------------------------------------------------------------


def _training(events: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All attempts make one curve: what was resumed goes on where it was, what began anew replaces the old."""
    losses: dict[int, float] = {}
    f1s: dict[int, float] = {}
    for event in events:
        if event["event"] == "queued" and not event.get("resume"):
            losses, f1s = {}, {}
        elif event["event"] == "step" and event["loss"] is not None:
            losses = _continued(losses, int(event["step"]), float(event["loss"]))
        elif event["event"] == "validated" and event["f1"] is not None:
            f1s = _continued(f1s, int(event["step"]), float(event["f1"]))
    last: Mapping[str, Any] = next((e for e in reversed(now) if e["event"] == "step"), {})
    return {
        "step": int(last.get("step", 0)), "steps": int(last.get("steps", 0)), "minutes": float(last.get("minutes", 0)),
        "minutes_left": last.get("minutes_left"), "losses": tuple(losses.items()), "f1s": tuple(f1s.items()),
    }  # fmt: skip


def _continued(curve: dict[int, float], step: int, value: float) -> dict[int, float]:
    """A curve with one more point; after a resumption what lies beyond it is forgotten."""
    if curve and step <= next(reversed(curve)):
        curve = {s: v for s, v in curve.items() if s < step}
    curve[step] = value
    return curve


# --- picking ---------------------------------------------------------------------------------------


def _picking(
    job: Job, state: State, events: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Where each tomogram is, and how long the rest takes to judge by what is done."""
    names = [tomogram_name(path) for path in job.arguments["tomograms"]]
    done = {e["name"]: e for e in events if e["event"] == "picked"}
    failed = {e["name"]: e for e in now if e["event"] == "not picked"}
    current = next((e for e in reversed(now) if e["event"] in ("tile", "picked", "tomogram")), None)
    rows = []
    for name in names:
        if name in done:
            event = done[name]
            rows.append(TomogramDone(name, "done", 1.0, None, int(event["picks"]), tuple(event["remarks"])))
        elif name in failed:
            rows.append(TomogramDone(name, "failed", 0.0, remarks=(str(failed[name]["text"]),)))
        elif current and current["name"] == name and state in ("running", "stopping"):
            share = float(current.get("share", 0.0))
            rows.append(TomogramDone(name, "running", share, _left(current, share)))
        else:
            rows.append(TomogramDone(name, "waiting"))
    minutes, left = _pace(rows, now, state)
    return {"tomograms": tuple(rows), "minutes": minutes, "minutes_left": left}


def _left(event: Mapping[str, Any], share: float) -> float | None:
    seconds = float(event.get("seconds", 0.0))
    return seconds / 60 * (1 - share) / share if share > 0 else None


def _pace(rows: Sequence[TomogramDone], now: Sequence[Mapping[str, Any]], state: State) -> tuple[float, float | None]:
    """Minutes since it began, and those that the rest takes at this speed; None where that is not known yet."""
    began = next((e["time"] for e in now if e["event"] == "began"), None)
    if began is None:
        return 0.0, None
    until = time.time() if state in ("running", "stopping") else now[-1]["time"]
    minutes = (until - began) / 60
    here = {e["name"] for e in now if e["event"] == "picked"}
    share = sum(row.share for row in rows if row.name in here or row.state == "running")
    rest = sum(1 - row.share for row in rows if row.state in ("waiting", "running"))
    return minutes, (minutes / share * rest if share > 0 and state == "running" else None)
