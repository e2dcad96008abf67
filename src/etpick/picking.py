"""Pick one tomogram with a model: open → measure → search → decide, back in the file's own voxels."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import numpy as np
import torch

from etpick.checkpoint import Model
from etpick.class_averages import ClassAverages
from etpick.config import BINARY_FLOOR, PickingConfig, build
from etpick.data import Voxels, Window, WorkingVolume, open_volume, resident
from etpick.decision import (
    Decision,
    expected_f1_threshold,
    false_positives_threshold,
    precision_threshold,
    uncalibrated,
)
from etpick.engine import Engine, choose_device, keeping_memory, or_on_the_processor
from etpick.engines import choose_engine
from etpick.errors import SpacingError
from etpick.evaluation.comparison import joined
from etpick.exclusion import Excluded, Masks, Zones, find_zones, sentence
from etpick.inference import Candidates, OnScores, search
from etpick.io.score_maps import MapGrid
from etpick.neighbours import explained_by_neighbours
from etpick.ops.calibrate import fit_histogram, identity
from etpick.ops.suppression import kept_apart
from etpick.types import Box, FloatArray, Particles, Tomogram

logger = logging.getLogger(__name__)
COARSEST_RATIO: Final = 2.5  # a tomogram this much coarser than the model's spacing has lost the particles
FINEST_RATIO: Final = 0.1
_FEW: Final = 0.6  # with less than this share of the particles usual in training, the contrast is doubted
_FEWEST_INVERTED: Final = 4
_SAMPLE_VX: Final = 128


@dataclass(frozen=True, eq=False)
class Found:
    """Picks of one tomogram, and what stood behind the decision.

    `all` holds every candidate with its score, `picks` those above the thresholds of `decision`, both in the
    file's voxels; `how` says in a sentence how the thresholds were chosen, `engine` what computed the scores,
    `why_empty` why there are no picks, where there are none, and `warning` what looks wrong with the tomogram.
    `excluded` holds the candidates in the `zones` where nothing is picked, `left_out` those of them that would
    have been picks; they are not in `all`, and had no say in thresholds or in which of two neighbours is kept.
    `averages` had a second look at the candidates, which left out so many as `explained`, not in `all` either.
    """

    picks: Particles
    all: Particles
    decision: Decision
    how: str = ""
    engine: str = ""
    why_empty: str = ""
    warning: str = ""
    zones: Zones | None = None
    excluded: Excluded = field(default_factory=Excluded)
    left_out: Excluded = field(default_factory=Excluded)
    averages: ClassAverages | None = None
    explained: int = 0

    @property
    def what_was_left_out(self) -> str:
        """`12 picks left out: 7 near gold (…), …`; "" where no zone was asked for."""
        if self.zones is None or not self.zones.asked:
            return ""
        count = len(self.left_out)
        return f"{count or 'no'} pick{'s' if count != 1 else ''} left out: {sentence(self.left_out, self.zones)}"

    @property
    def expected_wrong(self) -> float:
        """How many of the picks are wrong, to judge by their scores."""
        return 0.0 if self.picks.scores is None else float((1 - self.picks.scores).sum())


@dataclass(frozen=True, eq=False)
class Opened:
    """A tomogram ready to be searched: its grey levels measured, where nothing is picked, and its voxels in the file or
    on a card."""

    volume: WorkingVolume
    zones: Zones
    voxels: Voxels


class Picker:
    """A model ready to pick many tomograms with.

    `options` are fields of PickingConfig that stand in for the model's own; None changes nothing. `on_message` is
    told what is done besides picking.
    """

    def __init__(self, model: Model, *, on_message: Callable[[str], None] | None = None, **options: Any) -> None:
        given = {name: value for name, value in options.items() if value is not None}
        self.model = model
        self.config = build(PickingConfig, model.picking.model_dump() | given)
        self.device = choose_device(self.config.device)  # refused before any work
        self.on_message = on_message or logger.info
        self._engine: Engine | None = None
        self.finder = model.finder(self.config)
        self.decision = as_published(model.decision) if self.config.binary else model.decision
        averages = model.averages if self.config.averages else None
        self.averages = averages.to(self.device) if averages is not None and averages.used else None

    def __call__(
        self,
        tomogram: Tomogram,
        on_progress: Callable[[int, int], None] | None = None,
        *,
        masks: Masks | None = None,
        on_scores: OnScores | None = None,
    ) -> Found:
        """Find the particles of a tomogram; `on_scores` sees the score maps on their way, slab by slab.

        Raises SpacingError, InputError (NaN, no image, a mask of other shape).
        """
        return self.pick(self.open(tomogram, masks), on_progress, on_scores)

    def open(self, tomogram: Tomogram, masks: Masks | None = None) -> Opened:
        """What comes before the search; may run in a thread while another tomogram is picked. Raises like a call."""
        check_spacing(tomogram, self.model.spacing_A)
        volume = open_volume(tomogram, self.model.spacing_A, self.model.config)
        zones = find_zones(tomogram, self.config, masks)
        volume = inverted(volume) if self.config.invert else volume
        return Opened(volume, zones, resident(volume, self.device))

    def pick(
        self, opened: Opened, on_progress: Callable[[int, int], None] | None = None, on_scores: OnScores | None = None
    ) -> Found:
        """Find the particles of a tomogram that is open; as a call does."""
        volume, zones, voxels = opened.volume, opened.zones, opened.voxels
        engine = self.engine_for(volume)
        candidates = search(voxels, engine, self.finder, self.config, on_progress, on_scores)
        barred = zones.of(in_file(candidates.positions, volume)) != ""
        excluded, candidates = candidates.select(barred), candidates.select(~barred)
        by_network, how = self._calibrated(candidates)
        chosen = by_network.one_each(candidates)
        looked, everything = self._looked_at_again(voxels, volume, zones, by_network, chosen)
        explained = len(chosen.raw) - len(everything)
        decision, limit = self._with_thresholds(looked, everything)
        if decision is not looked:  # thresholds were asked for
            by_network = replace(by_network, thresholds=decision.thresholds)
        everything, others = (_in_file(p, volume) for p in (everything, by_network.all(excluded)))
        picks, held = decision.keep(everything), zones.holding(others)
        return Found(
            picks, everything, decision, f"{limit}, {how}", engine=engine.name,
            why_empty="" if len(picks) else self._why_empty(everything, held, zones, decision),
            warning=self._doubt(volume, by_network, picks),
            zones=zones, excluded=held, left_out=zones.holding(by_network.keep(others)), explained=explained,
            averages=self.model.averages if self.averages else None,
        )  # fmt: skip

    @keeping_memory()
    def _looked_at_again(
        self, voxels: Voxels, volume: WorkingVolume, zones: Zones, decision: Decision, chosen: Candidates
    ) -> tuple[Decision, Particles]:
        """The candidates as picks, best first, those worth a look with the score, class and place that the averages of
        the classes give; and the decision on them. voxels: the volume, or a copy of it on a card.

        Those that their neighbours explain are left out. None moves into a zone where nothing is picked, or towards
        another candidate that is as near as its radius.
        """
        if self.averages is None:
            return decision, decision.named(chosen)
        worth = self.averages.worth_a_look(chosen, decision)
        second = self.model.second_decision if decision is self.model.decision else decision
        first, others = chosen.select(worth), chosen.select(~worth)
        first, looked = or_on_the_processor(
            self.averages.device, partial(self._looked_at, voxels, volume, first, decision), logger.warning
        )
        positions = np.concatenate([looked.positions, others.positions])
        before = np.concatenate([first.positions, others.positions])
        free = (np.arange(len(before)) < len(looked.raw)) & (zones.of(in_file(positions, volume)) == "")
        reach = decision.reach[np.concatenate([looked.classes, others.classes]).argmax(axis=1)]
        moved = kept_apart(before, positions, free, reach)
        everything = joined([second.named(looked), decision.named(others)])
        everything = replace(everything, positions=np.where(moved[:, None], positions, before))
        assert everything.scores is not None  # a decision gives them
        return second, everything.select(np.argsort(-everything.scores, kind="stable"))

    def _looked_at(
        self, voxels: Voxels, volume: WorkingVolume, chosen: Candidates, decision: Decision, device: torch.device
    ) -> tuple[Candidates, Candidates]:
        """Candidates before and after the second look, without those that their neighbours explain."""
        averages = self.averages if self.averages and self.averages.device == device else self.model.averages
        assert averages is not None
        seen = volume if device.type == "cpu" else voxels
        looked = averages.look(seen, chosen)
        if not averages.rivals:
            return chosen, looked
        alone = ~explained_by_neighbours(averages, seen, looked, decision.scores(chosen))
        return chosen.select(alone), looked.select(alone)

    def engine_for(self, volume: WorkingVolume) -> Engine:
        """What scores tiles, chosen when the first volume is there."""
        if self._engine is None:
            self._engine = choose_engine(self.model, self.config, volume, self.on_message)
        return self._engine

    def map_grid(self, tomogram: Tomogram) -> MapGrid:
        """The voxels of a tomogram's score maps."""
        volume, stride = open_volume(tomogram, self.model.spacing_A, self.model.config), self.finder.stride
        z, y, x = (-(-n // stride) for n in volume.shape)
        first = volume.to_file(np.full((1, 3), (stride - 1) / 2))[0] * tomogram.spacing_A
        spacing_A = stride * tomogram.spacing_A / volume.file_scale
        return MapGrid((z, y, x), spacing_A, (float(first[0]), float(first[1]), float(first[2])))

    def _calibrated(self, candidates: Candidates) -> tuple[Decision, str]:
        """The model's decision, or one whose scores come from this tomogram's histogram, and what it rests on."""
        if self.config.binary:
            return self.decision, "of the thresholded map's pooled share, as published"
        if not (self.config.label_free or self.model.unjudged):
            return self.decision, "scores calibrated on the validation picks"
        raw = uncalibrated(self.model.classes, self.model.spacing_A).all(candidates).scores
        fitted = None if raw is None else fit_histogram(raw)
        if fitted is None:
            logger.warning("the histogram of scores shows no two groups: scores are those calibrated in training")
            return self.decision, "scores calibrated in training, since the histogram shows no two groups"
        calibration = replace(fitted, offsets=fitted.offsets * len(self.model.classes))
        return replace(self.decision, calibration=calibration), "scores from this tomogram's histogram, without labels"

    def _doubt(self, volume: WorkingVolume, decision: Decision, picks: Particles) -> str:
        """Whether a sample of the tomogram holds far more particles when its contrast is inverted; "" if not."""
        usual = self.model.trained_on.get("particles_per_megavoxel")
        if usual is None or len(picks) * 1e6 > _FEW * usual * float(np.prod(volume.shape)):
            return ""
        middle, edge = np.array(volume.shape) // 2, np.minimum(volume.shape, _SAMPLE_VX) // 2
        (z0, y0, x0), (z1, y1, x1) = (middle - edge).tolist(), (middle + edge).tolist()
        box = Box((z0, y0, x0), (z1, y1, x1))
        plain, other = (
            len(decision(search(Window(v, box), self.engine_for(volume), self.finder, self.config)))
            for v in (volume, inverted(volume))
        )
        if other < max(_FEWEST_INVERTED, 2 * plain):
            return ""
        option = "without --invert" if self.config.invert else "with --invert"
        return (
            f"{volume.tomogram.name} looks inverted against the tomograms trained on: a sample has {other} picks with "
            f"its contrast inverted and {plain} as it is; pick it {option}"
        )

    def _with_thresholds(self, decision: Decision, picks: Particles) -> tuple[Decision, str]:
        """The decision with the thresholds asked for, and a few words on them."""
        c, scores = self.config, np.zeros(0) if picks.scores is None else picks.scores
        if c.min_score is not None:
            limit, how = c.min_score, f"score at least {c.min_score:g}"
        elif c.precision is not None:
            limit, how = precision_threshold(scores, c.precision), f"{c.precision:.0%} of the picks expected right"
        elif c.expected_false_positives is not None:
            count = c.expected_false_positives
            limit, how = false_positives_threshold(scores, count), f"at most {count:g} wrong picks expected"
        elif decision not in (self.decision, self.model.second_decision):
            limit, how = expected_f1_threshold(scores), "best F1 to be expected"
        else:
            return decision, "thresholds stored with the model"
        return replace(decision, thresholds=(limit,) * len(decision.classes)), how

    def _why_empty(self, everything: Particles, excluded: Excluded, zones: Zones, decision: Decision) -> str:
        if len(excluded) and not len(everything):
            return f"all {len(excluded)} candidates lie in excluded zones: {sentence(excluded, zones)}"
        if not len(everything):
            return (
                "the score map has no maximum above its floor anywhere: check the contrast (particles must be as "
                "dark or bright as in training), the spacing, and that this is a tomogram like those trained on"
            )
        best = float(everything.scores.max()) if everything.scores is not None else 0.0
        return (
            f"{len(everything)} candidates were found, the best with score {best:.3f}, but none reaches the "
            f"threshold ({min(decision.thresholds):.3f} at the lowest): lower it with --min-score to see them"
        )


def _in_file(picks: Particles, volume: WorkingVolume) -> Particles:
    t = volume.tomogram
    return replace(picks, positions=in_file(picks.positions, volume), spacing_A=t.spacing_A, tomogram=t.name)


def in_file(positions: FloatArray, volume: WorkingVolume) -> FloatArray:
    """(n, 3) zyx working voxels → voxels of the tomogram's file, none outside it."""
    return np.clip(volume.to_file(positions), -0.5, np.array(volume.tomogram.shape) - 0.5)


def inverted(volume: WorkingVolume) -> WorkingVolume:
    """The same tomogram with dark and bright exchanged."""
    return replace(volume, normalise=replace(volume.normalise, sigma=-volume.normalise.sigma))


def as_published(decision: Decision) -> Decision:
    """For the binary map: its pooled share is the score, and every maximum above t_lm = 0.1 a pick."""
    count = len(decision.classes)
    return replace(decision, calibration=identity(count), thresholds=(BINARY_FLOOR,) * count)


def check_spacing(tomogram: Tomogram, model_A: float) -> None:
    """Refuse a tomogram whose spacing cannot be brought to the model's. Raises SpacingError."""
    ratio = tomogram.spacing_A / model_A
    if not FINEST_RATIO <= ratio <= COARSEST_RATIO:
        raise SpacingError(
            f"{tomogram.name} has {tomogram.spacing_A:g} Å voxels and the model works at {model_A:g} Å: too far "
            "apart to rescale. If the header is wrong pass --spacing, otherwise use a tomogram binned like those "
            "trained on"
        )
