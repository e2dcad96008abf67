"""The whole way on simulated tomograms: simulate → init → train → pick → score → report."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from etpick import __version__
from etpick.api import pick_files, train
from etpick.io.atomic import atomic_write, refuse_existing
from etpick.io.init import init_project
from etpick.io.picks import read_picks
from etpick.judging import Judged, judge
from etpick.ops.blobs import dog_baseline
from etpick.ops.normalise import measure
from etpick.progress import TrainingProgress
from etpick.report.build import evaluation_report
from etpick.report.page import write_report
from etpick.report.slices import draw_slices
from etpick.simulate import BUILT_IN_CLASSES, simulate_folder
from etpick.types import Tomogram

TOMOGRAMS: Final = 3  # one to learn from, one to validate on, one never seen
SHAPE: Final = (64, 192, 192)


class Stages(Protocol):
    """What shows the progress of the demo."""

    def stage(self, name: str) -> Callable[[int, int], None]:
        """A bar for a stage that reports (done, total)."""

    def training(self) -> Callable[[TrainingProgress], None]:
        """A bar for training."""

    def say(self, message: str) -> None:
        """A line of text."""


def run_demo(out: Path, *, minutes: float, seed: int, overwrite: bool, stages: Stages) -> str:
    """Run it in the folder `out`, and return what to print at the end. Raises EtpickError."""
    refuse_existing(out / "report.html", overwrite)
    data = out / "tomograms"
    say = stages.say
    say(f"1  simulating {TOMOGRAMS} tomograms in {data}")
    paths = simulate_folder(
        data,
        count=TOMOGRAMS,
        shape=SHAPE,
        seed=seed,
        overwrite=overwrite,
        on_progress=stages.stage("simulating"),
    )
    unseen = paths[-1]
    truth_file = _hide(unseen, out / "truth", overwrite)
    diameters = {c.name: c.diameter_A for c in BUILT_IN_CLASSES}
    project = init_project([data], diameters=diameters, out=out / "project.toml", overwrite=overwrite)
    say("2  " + "\n   ".join(project.lines()))
    say(f"3  training for at most {minutes:g} minutes")
    model = train(
        project.path,
        out / "model",
        max_minutes=minutes,
        validations=6,
        seed=seed,
        overwrite=overwrite,
        on_progress=stages.training(),
    )
    say(f"4  picking {unseen.name}, which was not trained on")
    (picked,) = pick_files(
        out / "model", [unseen], out / "picks", overwrite=overwrite, on_progress=stages.stage("picking")
    )
    judged = judge(picked.files[0], truth_file, model=out / "model")
    baseline = dog_baseline(_normalised(picked.tomogram), model.classes, picked.tomogram.spacing_A)
    report = evaluation_report(
        title=f"etpick demo: {unseen.name}",
        tomograms=[picked.tomogram],
        picks=[picked.found.picks],
        candidates=[picked.found.all],
        truths=[read_picks(truth_file)],
        classes=model.classes,
        baseline=[baseline],
        history=[dict(entry) for entry in model.history],
        thresholds={c.name: t for c, t in zip(model.classes, model.second_decision.thresholds, strict=True)},
        provenance={
            "etpick": __version__,
            "network": model.config.network,
            "seed": str(seed),
            "labels": ", ".join(f"{n} {name}" for name, n in model.trained_on["labels"].items()),
            "training": f"{model.trained_on['steps']} steps in {model.trained_on['minutes']} minutes "
            f"on {model.trained_on['device']} ({model.trained_on['threads']} threads)",
            "trained on": ", ".join(model.trained_on["tomograms"]),
            "validated on": ", ".join(model.trained_on["validation_tomograms"]),
            "system": f"Python {platform.python_version()}, torch {model.trained_on['torch']}",
        },
        notes=[
            "Simulated tomograms: two kinds of particles, look-alikes that are none, gold beads, vesicles, "
            "a missing wedge, defocus and noise. The tomogram shown was not trained on.",
            "The baseline, a difference of Gaussians at the classes' diameters, is given its best threshold "
            "with the truth in hand; etpick's was chosen on the validation tomogram.",
        ],
        why_empty=picked.found.why_empty,
    )
    path = write_report(out / "report.html", report, overwrite=overwrite)
    figure = draw_slices(picked.tomogram, picked.found.picks, read_picks(truth_file), model.classes, count=1)
    with atomic_write(out / "picks.png", overwrite=overwrite) as picture:
        figure.savefig(picture, dpi=110)
    return _summary(judged, out, path)


def _hide(tomogram: Path, folder: Path, overwrite: bool) -> Path:
    """Move the truth of a tomogram away from it, so that nothing learns from it."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{tomogram.stem}.csv"
    refuse_existing(target, overwrite)
    return tomogram.with_suffix(".csv").replace(target)


def _normalised(tomogram: Tomogram) -> NDArray[np.float32]:
    return measure(tomogram.data, tomogram.name)(np.asarray(tomogram.data[:]))


def _summary(judged: Judged, out: Path, report: Path) -> str:
    files = [
        ("report to look at", report), ("picks", out / "picks"), ("model", out / "model"),
        ("project file", out / "project.toml"), ("tomograms", out / "tomograms"),
    ]  # fmt: skip
    return "\n".join(["", *judged.lines(), "", *(f"{what}: {path}" for what, path in files)])
