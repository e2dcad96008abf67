"""etpick: find particles in cryo-electron tomograms.

    import etpick
    model = etpick.train("project.toml", "model", max_minutes=20)
    particles = etpick.pick(model, "tomogram.mrc")

Names are loaded when they are first used, so that importing etpick loads neither torch nor an interface.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from etpick.api import evaluate, pick, pick_files, train
    from etpick.assessing import assess
    from etpick.checkpoint import Model, load_model
    from etpick.crosschecking import crosscheck
    from etpick.errors import EtpickError
    from etpick.extraction import extract
    from etpick.io.picks import read_picks, write_picks
    from etpick.io.tomograms import open_tomogram
    from etpick.simulate import simulate_tomogram
    from etpick.types import Dataset, ParticleClass, Particles, Tomogram, TrainingItem

_HOMES = {
    "etpick.api": ("evaluate", "pick", "pick_files", "train"),
    "etpick.assessing": ("assess",),
    "etpick.checkpoint": ("Model", "load_model"),
    "etpick.crosschecking": ("crosscheck",),
    "etpick.errors": ("EtpickError",),
    "etpick.extraction": ("extract",),
    "etpick.io.picks": ("read_picks", "write_picks"),
    "etpick.io.tomograms": ("open_tomogram",),
    "etpick.simulate": ("simulate_tomogram",),
    "etpick.types": ("Dataset", "ParticleClass", "Particles", "Tomogram", "TrainingItem"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Dataset", "EtpickError", "Model", "ParticleClass", "Particles", "Tomogram", "TrainingItem", "assess",
    "crosscheck", "evaluate", "extract", "load_model", "open_tomogram", "pick", "pick_files", "read_picks",
    "simulate_tomogram", "train", "write_picks",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'etpick' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
