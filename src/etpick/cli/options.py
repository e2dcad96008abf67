"""Options that several commands share; help and defaults come from the configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from etpick.config import AssessmentConfig, ExtractionConfig, PickingConfig, TrainingConfig, recipe

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path)

_FLAGS = {"spacing_A": "--working-spacing"}  # --spacing is what a header should have said
_UNITS = ("_vx", "_A", "_um", "_kV", "_mm")
_INTEGERS = {"steps", "patch_vx", "batch", "seed", "tile_vx", "validations", "gallery", "particles"}
Config = PickingConfig | TrainingConfig | ExtractionConfig | AssessmentConfig


def from_config(kind: type[Config], *names: str) -> Callable[[Any], Any]:
    """Options for fields of a config; help and default come from the field."""

    def decorate(command: Any) -> Any:
        for name in reversed(names):
            text = f"{kind.model_fields[name].description or name.replace('_', ' ')}{_default(kind, name)}"
            command = click.option(_flag(name), name, type=_type(kind, name), default=None, help=text)(command)
        return command

    return decorate


def _flag(name: str) -> str:
    unit = next((unit for unit in _UNITS if name.endswith(unit)), "")
    return _FLAGS.get(name, "--" + name.removesuffix(unit).replace("_", "-"))


def _type(kind: type[Config], name: str) -> Any:
    annotation = kind.model_fields[name].annotation
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation))
    return int if name in _INTEGERS else str if name == "device" else float


def _default(kind: type[Config], name: str) -> str:
    if kind is not TrainingConfig:
        value = kind.model_fields[name].default
        return "" if value is None else f"  [default: {value}]"
    fast, paper = (getattr(recipe(network), name) for network in ("fast", "paper"))
    if fast == paper:
        return "" if fast is None else f"  [default: {fast}]"
    known = {"fast": fast, "paper": "60 passes over the labels" if paper is None else paper}
    return f"  [default: {', '.join(f'{n} {value}' for n, value in known.items() if value is not None)}]"


def _diameters(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    out = {}
    for value in values:
        name, _sep, number = value.partition("=")
        try:
            out[name] = float(number)
        except ValueError:
            raise click.BadParameter(f"{value!r} is not NAME=Å, for example ribosome=280") from None
        if not name or not out[name] > 0:
            raise click.BadParameter(f"{value!r} needs a name and a positive diameter in Å")
    return out


diameter_option = click.option(
    "--diameter", "diameters", multiple=True, callback=_diameters, metavar="NAME=Å",
    help="a class and its particles' diameter in Å; once for each class",
)  # fmt: skip
copick_tomograms_option = click.option(
    "--copick-tomograms", metavar="TYPE@SPACING",
    help="which tomograms of a copick project, such as wbp@10, where it has several kinds",
)  # fmt: skip
spacing_option = click.option(
    "--spacing",
    "spacing_A",
    type=float,
    default=None,
    help="Å per voxel, where the header does not tell it right",
)
overwrite_option = click.option("--overwrite", is_flag=True, help="replace what is there")


def read_box(_: click.Context, __: click.Parameter, value: str | None) -> dict[str, Any]:
    """The edge of a box in voxels or Å, as arguments."""
    if value is None:
        return {}
    number = value.strip().removesuffix("Å").removesuffix("A").strip()
    try:
        return {"box_vx": int(value)} if number == value.strip() else {"box_A": float(number)}
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither voxels (64) nor Å (640A)") from None
