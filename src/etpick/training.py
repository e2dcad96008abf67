"""Training: draw subtomograms, step, validate the picks, keep the best."""

from __future__ import annotations

import math
import platform
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from heapq import nlargest
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from etpick.averaging_labels import FEWEST, average_labels, judged, too_few
from etpick.checkpoint import (
    STATE,
    STATE_FORMAT,
    Model,
    clear,
    load_model,
    load_state,
    make_finder,
    save_model,
    save_state,
)
from etpick.class_averages import ClassAverages
from etpick.config import PickingConfig, TrainingConfig
from etpick.data import Patch, Readable, Sampler
from etpick.decision import Validation, uncalibrated, validate
from etpick.engine import CPU, TorchEngine, choose_device, keeping_memory, or_on_the_processor
from etpick.errors import TrainingError
from etpick.hard import confused_places
from etpick.inference import Candidates, search, search_seconds
from etpick.io.atomic import make_folder
from etpick.learner import Learner
from etpick.pacing import TIMED_STEPS, Pace, milestones, one_cycle
from etpick.partial import REFRESHES, doubt_limits, judge_places
from etpick.preparation import Prepared, ValidationVolume, prepare
from etpick.progress import Interrupted, OnProgress, OnValidated, TrainingProgress, Validated
from etpick.quantising import affordable, can_quantise, quantise
from etpick.resumption import check_folder, pack, references_of, refuse_changed, unpack
from etpick.types import Dataset

STATE_SECONDS: Final = 60.0  # a crash loses no more than this
HARD_PLACES: Final = 256  # kept from one validation to the next
_AHEAD: Final = 4  # batches prepared while the network works
_INT8_VALIDATIONS: Final = 3  # about so many on the processor take as long as an int8 copy
_MOST_AVERAGING: Final = 0.5  # of the minutes allowed


def train_model(
    dataset: Dataset,
    config: TrainingConfig,
    folder: Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    on_progress: OnProgress | None = None,
    on_validated: OnValidated | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Model:
    """Train on a labelled data set and return the best model; with a folder, keep it there.

    The same data, configuration and seed give the same model on the same machine; so does a run that was
    stopped and resumed. With `max_minutes` the number of steps follows from this machine's speed; it is
    recorded in the model, and asking for it as `steps` repeats the run.
    Raises TrainingError, OutputError for a folder already in use, Interrupted when asked to stop.
    """
    check_folder(folder, resume, overwrite)
    if folder is not None:
        make_folder(folder)
    trainer = Trainer(dataset, config, folder, choose_device(device), on_progress, on_validated)
    if resume:
        trainer.restore()
    elif folder is not None:
        clear(folder)
    return trainer.run(should_stop)


@dataclass
class _Progress:
    """What changes while training, besides tensors."""

    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    unlearnt: float = 0.0  # of them before the first step
    size: tuple[int, int] = (0, 0)  # edge of a subtomogram in working voxels, and how many make a batch
    replanned: bool = False
    best: float = -1.0
    judged: int = 0  # how often unlabelled places were judged
    history: list[dict[str, Any]] = field(default_factory=list)
    hard: list[list[float]] = field(default_factory=list)  # source, z, y, x: used now
    harder: list[list[float]] = field(default_factory=list)  # severity, source, z, y, x: for after the next validation
    losses: list[float] = field(default_factory=list)  # since the last validation


class Trainer:
    """One training run."""

    def __init__(
        self, dataset: Dataset, config: TrainingConfig, folder: Path | None, device: torch.device,
        on_progress: OnProgress | None, on_validated: OnValidated | None = None,
    ) -> None:  # fmt: skip
        self._started = time.monotonic()
        self.partial = dataset.partial_labels
        self.config, self.folder, self.device = config, folder, device
        self.on_progress = on_progress or (lambda progress: None)
        self.on_validated = on_validated
        self.prepared: Prepared = prepare(dataset, config, self._say)
        self.sources = list(self.prepared.sources)
        self.widths_vx = np.array([c.diameter_A for c in self.prepared.classes]) / self.prepared.spacing_A
        self.best: Model | None = None
        self.references: list[Tensor] = []  # averages of the labels, of the first classes until all are made
        self.validated: Validation | None = None
        self._begin(self._steps())
        self.pace = Pace(self.state.steps, config.max_minutes)

    def _begin(self, steps: int) -> None:
        """Networks and counters as they are before the first of so many steps."""
        self.learner = Learner(self.config, len(self.prepared.classes), self.device)
        self.state = _Progress(steps=steps, size=self._size(steps))

    # --- the run ---------------------------------------------------------------------------------

    @keeping_memory()
    def run(self, should_stop: Callable[[], bool]) -> Model:
        """Train to the end, or until asked to stop."""
        self._started -= self.state.seconds
        if self.state.step == 0:
            if self.config.averages:
                self._make_averages(should_stop)
            if self.config.max_minutes:
                self._plan()
            self.state.unlearnt = self._seconds()
        s, c = self.state, self.config
        self._say("learning from subtomograms of {}³ voxels, {} a step".format(*s.size))
        saved = time.monotonic()
        batches = self._batches(s.step)
        while s.step < s.steps:
            before = time.monotonic()
            loss = self._step(next(batches))
            self.pace.seconds.append(time.monotonic() - before)
            self._report(loss)
            due = milestones(s.steps, c.validations)
            if s.step in due:
                took = self._validate()
                left = sum(step > s.step for step in due) * took + self._ending_seconds
                if self.partial and self._is_time_to_judge():
                    left += self._judge_places()
                self._replan(self.pace.new_plan(s.step, s.steps, self._seconds(), left))
                batches = self._batches(s.step)  # the hard places have changed
            if should_stop() and s.step < s.steps:
                raise self._interrupted(f"after step {s.step} of {s.steps}")
            if self.folder and time.monotonic() - saved > STATE_SECONDS:
                self._save_state()
                saved = time.monotonic()
        if self.best is None:
            self._validate()
        assert self.best is not None  # the last step validates
        if self.best.validation["looks_partial"] and self.best.validation["localisation"]["tp"] and not self.partial:
            self._say(
                f"only about {self.best.validation['labelled_share']:.0%} of what looks like a particle in validation "
                'is labelled: if these are not look-alikes, set labels = "partial" in the project file and train again'
            )
        self.best = replace(self.best, trained_on=self._provenance(), history=tuple(self.state.history))
        if self.folder:
            save_model(self.best, self.folder)
            self._save_state()
        self._judge_averages()
        if self.folder:
            save_model(self.best, self.folder)
            (self.folder / STATE).unlink(missing_ok=True)
            self.best = replace(self.best, folder=self.folder)
            self._make_int8(self.folder)
        return self.best

    def _make_averages(self, should_stop: Callable[[], bool]) -> None:
        """Of the labelled particles of each class, for a second look at candidates; first of all, so that the steps are
        fitted into what they leave of the minutes allowed. Those that are made already stay."""
        names, had, began = [c.name for c in self.prepared.classes], len(self.references), self._seconds()
        few = too_few(self.prepared.sources, len(names))
        if len(few) == len(names):
            counts = ", ".join(f"{names[number]} {count}" for number, count in few.items())
            self._say(
                f"no averages of the classes for a second look at candidates: too few labels ({counts} of {FEWEST})"
            )
            return
        made = average_labels(self.prepared.sources, self.widths_vx, self.config.seed, had, self.device, self._say)
        to_make = [number for number in range(had, len(names)) if number not in few]
        for number in range(had, len(names)):
            if number in few:
                self._say(f"no average of {names[number]}: {few[number]} labels of the {FEWEST} that it takes")
            else:
                self._say(f"averaging the labels of {names[number]}, {number + 1} of {len(names)}")
            if should_stop():
                raise self._interrupted("while averaging the labels of the classes")
            self.references.append(next(made))
            left = [other for other in to_make if other > number]
            each = (self._seconds() - began) / max(len(to_make) - len(left), 1)
            limit = _MOST_AVERAGING * 60 * (self.config.max_minutes or math.inf)
            if left and self._seconds() + each * len(left) > limit:
                others = ", ".join(names[other] for other in left)
                self._say(f"no averages of {others}: all would take more than half of the minutes allowed")
                self.references += [torch.zeros(0)] * (len(names) - number - 1)
            if self.folder:
                self._save_state()
            if len(self.references) == len(names):
                break

    @property
    def _averages(self) -> ClassAverages | None:
        """Not judged yet; None where there are none."""
        if not any(reference.numel() for reference in self.references):
            return None
        return ClassAverages(tuple(self.references), tuple(self.widths_vx.tolist()))

    def _judge_averages(self) -> None:
        """By the best model's candidates in the validation volumes, and give them to it."""
        assert self.best is not None
        if (averages := self._averages) is None:
            return
        found = self._candidates(TorchEngine(self.best.network(self.device), self.device))
        held, best = self.prepared.validation, self.best

        def judge(device: torch.device) -> ClassAverages:
            return judged(averages.to(device), found, best.decision, held, partial=self.partial).to(CPU)

        trusted = or_on_the_processor(self.device, judge, self._say)
        self.best = replace(best, averages=trusted)
        self._say(trusted.line())

    def _make_int8(self, folder: Path) -> None:
        """Of the best model, for picking without a graphics card, where the programs for it are installed."""
        if not (self.config.int8 and can_quantise()):
            return
        assert self.best is not None
        volumes = [source.volume for source in self.sources]
        self._say("making an int8 copy of the network, for picking without a graphics card")
        record = quantise(self.best, folder, volumes, [v.tomogram.name for v in volumes], self.prepared.validation)
        self._say(record.line())

    def _batches(self, start: int) -> Iterator[list[Patch]]:
        """Batches from a step on, prepared ahead in threads; each depends on its step alone."""
        hard = [[n, *place] for n, s in enumerate(self.sources) for place in s.negatives.tolist()] + self.state.hard
        places = np.array(hard, dtype=float).reshape(-1, 4)
        stride = self.learner.network.stride
        sampler = Sampler(self.sources, self.widths_vx, self.config, stride, places, self.state.size)
        with ThreadPoolExecutor(2) as pool:
            queue: deque[Future[list[Patch]]] = deque()
            step = start
            while True:
                while len(queue) < _AHEAD:
                    queue.append(pool.submit(sampler.batch, step))
                    step += 1
                yield queue.popleft().result()

    def _step(self, patches: list[Patch]) -> float:
        s = self.state
        learnt = self.learner.step(patches, s.step, self._learning_rate)
        if self.config.hard_share and not self.partial:  # there it may be a particle that nobody marked
            s.harder += confused_places(
                self.prepared.sources, patches, learnt.logits, learnt.labels, learnt.weights,
                self.widths_vx / 2, self.learner.network.stride,
            )  # fmt: skip
            if len(s.harder) > 4 * HARD_PLACES:
                s.harder = nlargest(HARD_PLACES, s.harder)
        s.step += 1
        s.losses.append(learnt.loss)
        return learnt.loss

    @property
    def _learning_rate(self) -> float:
        """Of the step to come."""
        return self.config.learning_rate * one_cycle(self.state.step / max(self.state.steps, 1))

    # --- validation ------------------------------------------------------------------------------

    def _validate(self) -> float:
        """Validate, keep the model if it is the best, and return the seconds that took."""
        s, before = self.state, time.monotonic()
        result = self.validate()
        self.validated = result
        s.seconds = time.monotonic() - self._started
        s.history.append({
            "step": s.step,
            "minutes": round(s.seconds / 60, 3),
            "loss": float(np.mean(s.losses)) if s.losses else math.nan,
            "learning_rate": self._learning_rate,
            "validation_f1": result.evaluation.localisation.f1,
            "validation_class_f1": result.evaluation.mean_class_f1,
            "validation_f1_alpha": result.value,
        })  # fmt: skip
        s.losses = []
        s.hard, s.harder = [row[1:] for row in nlargest(HARD_PLACES, s.harder)], []
        if result.value > s.best:
            s.best = result.value
            weights = {name: value.detach().cpu().clone() for name, value in self.learner.average.items()}
            self.best = Model(
                self.config, result.decision, weights, self._provenance(), result.to_dict(), tuple(s.history)
            )
            if self.folder:
                save_model(self.best, self.folder)
        self._report(s.history[-1]["loss"])
        return time.monotonic() - before

    def validate(self) -> Validation:
        """Pick the validation volumes with the averaged weights."""
        p = self.prepared
        found = self._candidates(TorchEngine(self.learner.averaged(), self.device))
        truths = [v.truth for v in p.validation]
        result = validate(found, truths, p.classes, p.spacing_A, self.config.alpha, partial=self.partial)
        if self.on_validated:
            self.on_validated(
                Validated(
                    self.state.step, result.evaluation.localisation.f1, p.spacing_A, p.classes,
                    tuple(v.volume for v in p.validation), tuple(result.decision(c) for c in found), tuple(truths),
                )
            )  # fmt: skip
        return result

    def _candidates(self, engine: TorchEngine) -> list[Candidates]:
        """Of the validation volumes, where they count."""
        held = self.prepared.validation
        found = self._search([v.volume for v in held], engine)
        return [c.select(v.inside.contains(c.positions)) for v, c in zip(held, found, strict=True)]

    def _search(self, volumes: Sequence[Readable], engine: TorchEngine) -> Iterator[Candidates]:
        p, picking = self.prepared, PickingConfig()
        finder = make_finder(self.config, p.classes, p.spacing_A, picking)
        for volume in volumes:
            yield search(volume, engine, finder, picking)

    # --- partial labels --------------------------------------------------------------------------

    def _is_time_to_judge(self) -> bool:
        """Whether a share of the steps has passed after which unlabelled places are judged anew."""
        s = self.state
        return sum(s.step >= share * s.steps for share in REFRESHES) > s.judged

    def _judge_places(self) -> float:
        """Adopt and doubt places that look like particles; the seconds that the judgements to come will take."""
        s, before = self.state, time.monotonic()
        s.judged += 1
        v = self.validated
        limits = None if v is None else doubt_limits(v.scores, v.index, v.hits, len(self.prepared.classes))
        if limits is not None:
            raw = uncalibrated(self.prepared.classes, self.prepared.spacing_A)
            engine = TorchEngine(self.learner.averaged(), self.device)
            found = self._search([source.volume for source in self.sources], engine)
            self.sources = [judge_places(x, c, raw, limits) for x, c in zip(self.sources, found, strict=True)]
            count = sum(len(source.doubtful) for source in self.sources)
            self._say(f"{count} unlabelled places may be particles and are not learnt from")
        return (len(REFRESHES) - s.judged) * (time.monotonic() - before)

    # --- time ------------------------------------------------------------------------------------

    def _steps(self) -> int:
        """Steps asked for, directly or as passes over the labels."""
        if self.config.steps:
            return self.config.steps
        return max(1, math.floor((self.config.epochs or 1) * self._labels / self._size(None)[1]))

    @property
    def _labels(self) -> int:
        """How many labels there are to learn from."""
        return sum(len(s.labels) for s in self.prepared.sources)

    def _size(self, steps: int | None) -> tuple[int, int]:
        """Edge of a subtomogram and how many make a batch, for so many steps, or (None) for the passes asked for."""
        return self.config.sized(float(self.widths_vx.max()), self._labels, steps)

    def _plan(self) -> None:
        """Time a few steps, forget them, and begin with as many as fit into `max_minutes`.

        What was timed leaves no trace, so asking for that many steps repeats the run. Where so many steps want
        subtomograms of another size, those are timed as well.
        """
        for _ in range(2):
            timed = self.state.size
            self._time_steps()
            validations = self.config.validations * self._search_seconds(self.device, self.prepared.validation)
            steps = self.pace.first_plan(self._seconds(), validations + self._ending_seconds)
            self._begin(steps)
            if self.state.size == timed:
                break
        self._say(f"{steps} steps fit into {self.config.max_minutes:g} minutes here")

    def _time_steps(self) -> None:
        self.pace.seconds.clear()
        batches = self._batches(0)
        for _ in range(TIMED_STEPS):
            before = time.monotonic()
            self._step(next(batches))
            self.pace.seconds.append(time.monotonic() - before)

    @cached_property
    def _ending_seconds(self) -> float:
        """An estimate for what follows the last step, where minutes are limited: averages are judged by a search and a
        look, which is taken to last as long, and the int8 copy is made on the processor."""
        if not self.config.max_minutes:
            return 0.0
        held, seconds = self.prepared.validation, 0.0
        if self._averages:
            seconds += 2 * self._search_seconds(self.device, held)
        if self.config.int8 and self.folder is not None and can_quantise():
            seconds += _INT8_VALIDATIONS * self._search_seconds(CPU, affordable(held))
        return seconds

    def _search_seconds(self, device: torch.device, held: Sequence[ValidationVolume]) -> float:
        engine = TorchEngine(self.learner.averaged().to(device), device)
        return search_seconds([v.volume for v in held], engine, PickingConfig())

    def _replan(self, steps: int | None) -> None:
        """The machine's speed has changed: go on with another number of steps."""
        if steps is not None:
            self.state.steps = max(steps, self.state.step)
            self.state.replanned = True
            self._say(
                f"the machine's speed has changed: {self.state.steps} steps fit into "
                f"{self.config.max_minutes:g} minutes now (--steps will not repeat this run exactly)"
            )
            self._report(self.state.history[-1]["loss"])

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _report(self, loss: float) -> None:
        s, seconds = self.state, self._seconds()
        s.seconds = seconds
        self.on_progress(
            TrainingProgress(
                s.step, s.steps, float(np.mean(s.losses[-50:])) if s.losses else loss, seconds / 60,
                (seconds - s.unlearnt) / 60 * (s.steps - s.step) / max(s.step, 1),
                s.history[-1]["validation_f1"] if s.history else math.nan,
                max((h["validation_f1"] for h in s.history), default=math.nan),
            )
        )  # fmt: skip

    def _say(self, message: str) -> None:
        self.on_progress(TrainingProgress(0, 0, math.nan, 0.0, math.nan, message=message))

    # --- state -----------------------------------------------------------------------------------

    def _interrupted(self, where: str) -> Interrupted:
        """To raise, once the state is saved."""
        if not self.folder:
            return Interrupted(f"stopped {where}")
        self._save_state()
        return Interrupted(f"stopped {where}; go on with --resume (state in {self.folder})")

    def _save_state(self) -> None:
        assert self.folder is not None
        self.state.seconds = self._seconds()
        description = vars(self.state) | {
            "format": STATE_FORMAT, "config": self.config.model_dump(), "data": self.prepared.summary,
        }  # fmt: skip
        save_state(self.folder, pack(self.learner, self.sources, self.references), description)

    def restore(self) -> None:
        """Go on from the folder's saved state. Raises TrainingError where data or options changed."""
        assert self.folder is not None
        tensors, description = load_state(self.folder)
        if description.pop("format", None) != STATE_FORMAT:
            raise TrainingError(f"{self.folder} was begun by another etpick: begin again with --overwrite")
        refuse_changed("option", description.pop("config"), self.config.model_dump())
        refuse_changed("data", description.pop("data"), self.prepared.summary)
        self.sources = unpack(tensors, self.learner, self.sources)
        self.references = references_of(tensors)
        self.state = _Progress(**description | {"size": tuple(description["size"])})
        if self.state.best >= 0:
            self.best = load_model(self.folder)

    def _provenance(self) -> dict[str, Any]:
        return self.prepared.summary | {
            "steps": self.state.step,
            "patch_vx": self.state.size[0],
            "batch": self.state.size[1],
            "repeatable": not self.state.replanned,
            "minutes": round(self._seconds() / 60, 2),
            "device": str(self.device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
