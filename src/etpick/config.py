"""Every default, once. What the command line prints and what the code uses are these fields."""

from __future__ import annotations

import math
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from etpick.errors import InputError

NetworkName = Literal["fast", "paper"]
LabelShape = Literal["cubic", "ball", "truncated-ball"]
LossName = Literal["weighted", "dice"]

POOLING_KERNEL: Final = 3  # kernel k of the mean pooling in MP-NMS
PAPER_HALO_VX: Final = 12  # DeepETPicker's default padding
SEGMENTATION_THRESHOLD: Final = 0.5  # t_seg of the paper, for its binary variant
BINARY_FLOOR: Final = 0.1  # t_lm of the paper, likewise
_ROOM: Final = 1.2  # edge of a training subtomogram, in diameters of the widest particle
_EDGES_VX: Final = (24, 48)  # the smallest and the largest
_STEP_VX: Final = 4 * 48**3  # in all subtomograms of a step
_SHOWN: Final = 30  # subtomograms drawn for a label in a whole training, on average, at most, with small ones


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AugmentationConfig(_Frozen):
    """How training subtomograms are varied. Images and centres are transformed together."""

    mirror: bool = Field(True, description="mirror each axis with probability ½")
    warp_share: float = Field(0.5, ge=0, le=1, description="share of subtomograms that are rotated, scaled and bent")
    rotation_deg: float = Field(15.0, ge=0, le=180, description="largest rotation about any axis")
    scale: float = Field(0.05, ge=0, lt=0.5, description="largest relative change of size")
    elastic: float = Field(0.03, ge=0, lt=0.2, description="largest elastic shift, as a share of the subtomogram")
    noise: float = Field(0.2, ge=0, description="largest σ of added Gaussian noise, in σ of the tomogram")
    contrast: float = Field(0.1, ge=0, lt=1, description="largest relative change of contrast")


class TrainingConfig(_Frozen):
    """How a network is trained. `recipe` gives the defaults of each network."""

    network: NetworkName = "fast"
    steps: int | None = Field(None, ge=1, description="optimiser steps, instead of a time or passes over the labels")
    epochs: float | None = Field(None, gt=0, description="passes over the labels, where steps are not given")
    max_minutes: float | None = Field(
        None, gt=0, description="wall time for training, about, with averages and the int8 copy"
    )
    patch_vx: int | None = Field(
        None, ge=16, description="edge of a training subtomogram in working voxels; if not given, 24 to 48: 1.2 times "
        "the widest particle, or 48 where labels are few for so many steps, or the batch is given"
    )  # fmt: skip
    batch: int | None = Field(
        None, ge=1, description="subtomograms per step; if not given, as many as have 440,000 voxels together"
    )
    int8: bool = Field(
        True, description="at the end, make an int8 copy for picking without a card, if etpick[cpu] is installed"
    )
    averages: bool = Field(
        True,
        description="at first, average the labels of each class with 20 or more, for a second look at candidates",
    )
    learning_rate: float = Field(2e-3, gt=0, description="peak of the one-cycle schedule")
    weight_decay: float = Field(0.01, ge=0)
    muon: bool = Field(
        False,
        description="Muon instead of AdamW for the inner convolutions: better classes on large subtomograms, "
        "a worse ranking where labels are few and partial",
    )
    loss: LossName = "weighted"
    foreground_weight: float = Field(5.0, gt=0, description="weight of labelled voxels in the cross-entropy")
    class_weight: float = Field(0.5, ge=0, description="weight of telling classes apart, given a particle")
    label_shape: LabelShape = "ball"
    label_diameter_vx: float = Field(8.0, gt=1, description="largest diameter 2r+1 of a label in working voxels")
    label_proportional: bool = Field(False, description="labels in proportion to their particles, however wide")
    label_fraction: float = Field(
        1.0, gt=0, le=1, description="largest diameter of a label as a share of its particle's"
    )
    background_share: float = Field(0.15, ge=0, le=1, description="share of subtomograms at random places")
    hard_share: float = Field(0.1, ge=0, le=1, description="share of subtomograms where the network was wrong")
    ema: float = Field(0.995, ge=0, lt=1, description="decay of the averaged weights; 0 switches averaging off")
    augmentation: AugmentationConfig = AugmentationConfig()
    validations: int = Field(12, ge=1, description="how many times the picks are validated during training")
    alpha: float = Field(3.0, gt=0, description="α of F1^α = 2·P·R^α/(P+R^α), by which the model is selected")
    spacing_A: float | None = Field(None, gt=0, description="working spacing in Å; from the diameters if not given")
    central_share: float = Field(0.99, gt=0, le=1, description="share of the grey levels that gives mean and σ")
    clip_sigma: float = Field(5.0, gt=0, description="grey levels are cut off at this many σ")
    seed: int = Field(0, ge=0, lt=2**31)

    @model_validator(mode="after")
    def _check(self) -> TrainingConfig:
        if self.patch_vx and self.patch_vx % 8:
            raise ValueError(f"patch_vx {self.patch_vx} must be a multiple of 8, the network's coarsest voxel")
        if self.background_share + self.hard_share > 1:
            raise ValueError("background_share and hard_share together exceed 1")
        if self.network == "paper" and (self.patch_vx or 0) <= 2 * PAPER_HALO_VX:
            raise ValueError(
                f"patch_vx {self.patch_vx} must exceed twice the halo {PAPER_HALO_VX} of the paper's tiles"
            )
        return self

    def sized(self, widest_vx: float, labels: int, steps: int | None) -> tuple[int, int]:
        """Edge of a training subtomogram and subtomograms per step, for particles up to so wide, so many labels and
        steps (None: `epochs` passes over the labels).

        Small subtomograms show more particles for the same arithmetic; but labels that are shown too often are learnt
        by heart. So they just hold the widest particle where a label is shown `_SHOWN` times at most, on average, and
        are of the largest size else.
        """
        smallest, largest = _EDGES_VX
        edge = self.patch_vx or largest
        if not (self.patch_vx or self.batch):
            enough = min(max(8 * math.ceil(_ROOM * widest_vx / 8), smallest), largest)
            drawn = _in_a_step(enough) * steps if steps else (self.epochs or 1) * labels
            edge = enough if drawn <= _SHOWN * labels else largest
        return edge, self.batch or _in_a_step(edge)


def _in_a_step(edge_vx: int) -> int:
    """How many subtomograms of that edge have the voxels of a step."""
    return max(1, round(_STEP_VX / edge_vx**3))


class ExclusionConfig(_Frozen):
    """Where not to pick. Masks belong to tomograms and are given beside them; their margin is here."""

    edge_A: float = Field(0.0, ge=0, description="pick nothing nearer than this many Å to the tomogram's edges")
    slab: bool = Field(False, description="pick only in the lamella, found from the contrast along z")
    slab_margin_A: float = Field(
        0.0, description="Å that a pick must keep from the lamella's faces; negative: may lie beyond them"
    )
    gold: bool = Field(False, description="pick nothing at gold beads and other blobs far darker than protein")
    gold_margin_A: float = Field(100.0, ge=0, description="Å around the gold where nothing is picked")
    avoid_margin_A: float = Field(0.0, ge=0, description="Å around the mask to avoid where nothing is picked")


class PickingConfig(ExclusionConfig):
    """How a tomogram is picked, and where not."""

    tile_vx: int | None = Field(
        None, ge=32, description="edge of a tile in working voxels; from free memory if not given"
    )
    halo_vx: int = Field(16, ge=0, description="context around a tile that is read but not used")
    floor: float = Field(0.003, ge=0, lt=1, description="lowest maximum of the pooled score map that is a candidate")
    binary: bool = Field(False, description="pool the thresholded map, as the paper does, instead of probabilities")
    min_score: float | None = Field(
        None, ge=0, le=1, description="one threshold for all classes, instead of the model's"
    )
    precision: float | None = Field(
        None, gt=0, lt=1, description="keep as many picks as leave this share of them right, to judge by their scores"
    )
    expected_false_positives: float | None = Field(
        None, ge=0, description="keep as many picks as leave this many wrong ones in a tomogram, by their scores"
    )
    invert: bool = Field(False, description="exchange dark and bright: the tomogram's contrast is not the training's")
    averages: bool = Field(
        True, description="look at candidates again with the averages of the classes, where the model has them"
    )
    label_free: bool = Field(
        False, description="scores from each tomogram's own histogram of candidates, instead of from validation"
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    engine: Literal["auto", "torch", "openvino", "int8"] = Field(
        "auto",
        description="what computes; auto without a card: int8 (unless there is AMX), else openvino, where installed "
        "and fit, else torch",
    )

    @model_validator(mode="after")
    def _one_threshold(self) -> PickingConfig:
        names = [n for n in ("min_score", "precision", "expected_false_positives") if getattr(self, n) is not None]
        if len(names) > 1:
            raise ValueError(f"{' and '.join(names)} each choose the threshold: give one of them")
        return self


class ExtractionConfig(_Frozen):
    """How subtomograms are cut around picks, and what is said about the tilt series they come from."""

    box_vx: int | None = Field(None, ge=8, description="edge of a box in voxels, an even number")
    box_A: float | None = Field(None, gt=0, description="edge of a box in Å, made an even number of voxels")
    edge: Literal["drop", "pad"] = Field(
        "drop", description="particles whose box reaches beyond the tomogram: leave out, or fill up with the mean"
    )
    contrast: Literal["auto", "keep", "invert"] = Field(
        "auto", description="auto makes particles bright, as RELION wants them, and says what it found"
    )
    normalise: bool = Field(True, description="bring the background of each box to mean 0 and σ 1")
    background_A: float | None = Field(
        None, gt=0, description="diameter of the ball that is not background, in Å; 3/4 of the box if not given"
    )
    tilt_axis: Literal["x", "y"] = Field("y", description="axis of the tomogram about which the stage tilted")
    defocus_um: float | None = Field(
        None, description="underfocus in µm, for a CTF in the volume of the missing wedge; none if not given"
    )
    phase_flipped: bool = Field(False, description="the tomograms' phases are corrected for the CTF already")
    voltage_kV: float = Field(300.0, gt=0, description="acceleration voltage in kV")
    spherical_aberration_mm: float = Field(2.7, ge=0, description="spherical aberration in mm")
    amplitude_contrast: float = Field(0.1, ge=0, le=1, description="share of amplitude contrast")
    gallery: int = Field(1000, ge=0, description="most particles of a class in the gallery; 0 for no gallery")

    @model_validator(mode="after")
    def _one_box(self) -> ExtractionConfig:
        if (self.box_vx is None) == (self.box_A is None):
            raise ValueError("give the box in voxels or in Å: --box 64 or --box 640A (box_vx or box_A)")
        if self.box_vx is not None and self.box_vx % 2:
            raise ValueError(f"a box of {self.box_vx} voxels is odd and RELION takes even ones: {self.box_vx + 1}, say")
        return self

    def box_of(self, spacing_A: float) -> int:
        """Edge of the box in voxels of `spacing_A` Å; the next even number where it is given in Å."""
        if self.box_vx is not None:
            return self.box_vx
        return max(8, 2 * math.ceil((self.box_A or 0) / spacing_A / 2 - 1e-6))


class AssessmentConfig(_Frozen):
    """How sets of picks are averaged to see which is better."""

    by: Literal["auto", "relion", "light"] = Field(
        "auto", description="program that refines: RELION, the light path in Python, or RELION where it is on PATH"
    )
    box_vx: int | None = Field(None, ge=8, description="edge of the subtomograms in voxels, an even number")
    box_A: float | None = Field(
        None, gt=0, description="the same in Å; 1.6 times the particle's diameter if neither is given"
    )
    reach_A: float | None = Field(
        None, gt=0, description="how far a particle may lie from its pick in Å, in the light path and in the start "
        "that RELION goes on from; a quarter of its diameter if not given"
    )  # fmt: skip
    particles: int | None = Field(
        None, ge=20, description="most particles of a set, drawn at random; all of them if not given"
    )
    seed: int = Field(0, ge=0, description="of everything that is drawn at random")


T = TypeVar("T", bound=BaseModel)

_PAPER: Final[dict[str, Any]] = {
    "network": "paper",
    "epochs": 60.0,
    "patch_vx": 72,
    "batch": 8,
    "learning_rate": 1e-3,
    "loss": "dice",
    "label_shape": "truncated-ball",
    "label_diameter_vx": 7.0,
    "background_share": 0.0,
    "hard_share": 0.0,
    "ema": 0.0,
    "averages": False,
    "augmentation": {"warp_share": 1.0, "noise": 0.0, "contrast": 0.0},
}
_FAST: Final[dict[str, Any]] = {"network": "fast", "steps": 5000}
_RECIPES: Final[dict[str, dict[str, Any]]] = {"fast": _FAST, "paper": _PAPER}


def recipe(network: str = "fast", **changes: Any) -> TrainingConfig:
    """The training defaults of a network, with changes; None changes nothing. Raises InputError."""
    if network not in _RECIPES:
        raise InputError(f"there is no network {network!r}: choose one of {', '.join(_RECIPES)}")
    given = {name: value for name, value in changes.items() if value is not None}
    if "epochs" in given and "steps" not in given:
        given["steps"] = None
    return build(TrainingConfig, _RECIPES[network] | given)


def build(kind: type[T], values: dict[str, Any]) -> T:
    """A config from values, with one sentence for each thing that does not fit. Raises InputError."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(_sentence(problem, kind) for problem in error.errors())) from None


def _sentence(problem: Any, kind: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"there is no option {where!r}; known are {', '.join(kind.model_fields)}"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    return f"{where} = {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"
