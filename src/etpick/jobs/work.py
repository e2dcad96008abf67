"""The process of a job: `python -m etpick.jobs.work FOLDER`. It calls `etpick.api` and notes what happens."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Final

from etpick import api
from etpick.errors import EtpickError
from etpick.io.table import tomogram_name
from etpick.jobs.process import remember
from etpick.jobs.queue import JobQueue
from etpick.jobs.record import Job, read_job
from etpick.progress import Interrupted, TrainingProgress, Validated
from etpick.report.validation import write_validation

_EVERY_S: Final = 0.5  # steps and tiles are noted no more often


class Stopped(Exception):
    """A picking was asked to stop."""


class Worker:
    """One job at work."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.terminated = False
        self.told = 0.0
        self.tomogram = ""
        self.began = 0.0  # with this tomogram
        self.queued: dict[str, Any] = next((e for e in reversed(job.events()) if e["event"] == "queued"), {})

    def run(self) -> None:
        """Do the job and say how it ended, whatever happens."""
        self.job.tell("began")
        try:
            self._train() if self.job.kind == "train" else self._pick()
        except Interrupted as stopped:
            self.job.tell("stopped", text=f"{str(stopped).partition(';')[0]}; its state is kept")
        except Stopped:
            self.job.tell("stopped", text="stopped; tomograms that are done keep their picks")
        except EtpickError as error:
            self.job.tell("failed", text=str(error))
        except MemoryError:
            self.job.tell("failed", text="the computer's memory is too small for this: use smaller tomograms or tiles")
        except Exception as error:
            traceback.print_exc()
            kind = type(error).__name__
            self.job.tell("failed", text=f"something that etpick did not expect: {kind}: {error}; more is in the log")

    def should_stop(self) -> bool:
        """Whether somebody asked this job to stop."""
        return self.terminated or self.job.asked_to_stop

    def on_terminate(self, number: int, frame: object) -> None:
        """A cluster or a person sends SIGTERM: stop after this step."""
        self.terminated = True

    # --- training --------------------------------------------------------------------------------

    def _train(self) -> None:
        arguments = dict(self.job.arguments)
        arguments["overwrite"] = bool(self.queued.get("overwrite") or arguments.get("overwrite"))
        if self.queued.get("resume"):
            arguments |= {"resume": True, "overwrite": False}
        model = api.train(
            arguments.pop("project"), on_progress=self._on_step, on_validated=self._on_validated,
            should_stop=self.should_stop, **arguments,
        )  # fmt: skip
        place = model.validation["localisation"]
        f1 = "without a particle to validate on" if place["f1"] is None else f"validation F1 {place['f1']:.3f}"
        self.job.tell("done", text=f"the model is in {arguments['out']}: {f1}")

    def _on_step(self, progress: TrainingProgress) -> None:
        if progress.message:
            self.job.tell("message", text=progress.message)
        elif self._is_time() or progress.step == progress.steps:
            self.job.tell(
                "step", step=progress.step, steps=progress.steps, loss=progress.loss, minutes=progress.minutes,
                minutes_left=progress.minutes_left,
            )  # fmt: skip

    def _on_validated(self, validated: Validated) -> None:
        write_validation(validated, self.job.preview)
        self.job.tell("validated", step=validated.step, f1=validated.f1)

    # --- picking ---------------------------------------------------------------------------------

    def _pick(self) -> None:
        arguments = dict(self.job.arguments)
        resume = bool(self.queued.get("resume") or arguments.get("resume"))
        arguments |= {
            "resume": resume,
            "overwrite": not resume and bool(self.queued.get("overwrite") or arguments.get("overwrite")),
        }
        done = api.pick_files(
            arguments.pop("model"), arguments.pop("tomograms"), arguments.pop("out"),
            on_message=lambda text: self.job.tell("message", text=text), on_start=self._on_tomogram,
            on_progress=self._on_tile, on_done=self._on_picked, **arguments,
        )  # fmt: skip
        count = sum(len(one.found.picks) for one in done)
        what = f"{count} picks in {len(done)} tomogram{'s' if len(done) != 1 else ''}"
        self.job.tell("done", text=f"{what}, in {self.job.out}" if done else "every tomogram was picked already")

    def _on_tomogram(self, path: Path, number: int, count: int) -> None:
        self._heed()
        self.tomogram, self.began = tomogram_name(path), time.monotonic()
        self.job.tell("tomogram", name=self.tomogram, share=0.0, seconds=0.0)

    def _on_tile(self, done: int, total: int) -> None:
        self._heed()
        if self._is_time():
            seconds = time.monotonic() - self.began
            self.job.tell("tile", name=self.tomogram, share=done / max(total, 1), seconds=seconds)

    def _on_picked(self, picked: api.Picked) -> None:
        found = picked.found
        remarks = [r for r in (found.what_was_left_out, found.why_empty, found.warning) if r]
        self.job.tell("picked", name=picked.tomogram.name, picks=len(found.picks), remarks=remarks)

    def _heed(self) -> None:
        if self.should_stop():
            raise Stopped

    def _is_time(self) -> bool:
        if time.monotonic() - self.told < _EVERY_S:
            return False
        self.told = time.monotonic()
        return True


def main(folder: Path) -> None:
    """Work on the job in a folder, then let the next one in its queue start."""
    job = read_job(folder)
    remember(job, os.getpid())
    worker = Worker(job)
    signal.signal(signal.SIGTERM, worker.on_terminate)
    worker.run()
    JobQueue(folder.parent).advance()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
