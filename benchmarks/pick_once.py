"""One method on one tomogram in a process of its own, so that time and peak memory are the method's.

compare.py runs it; by hand:

python benchmarks/pick_once.py dog runs/dog.npz --tomogram 106
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

import etpick
from common import PHANTOM_CLASSES, machine, phantom
from etpick.config import BINARY_FLOOR
from etpick.data import open_volume
from etpick.ops.blobs import dog_baseline
from etpick.picking import Picker
from etpick.types import Particles, Tomogram
from outcome import CLASSES, SPACING_A, Outcome
from rivals import mean_shift, released_localisation, score_maps
from templates import match_template

Found = tuple[Particles, dict[str, float]]  # candidates, and the limits that the method has of its own


def by_network(tomogram: Tomogram, args: argparse.Namespace, binary: bool | None = None) -> Found:
    found = Picker(etpick.load_model(args.model), binary=binary)(tomogram)
    limits = {c.name: t for c, t in zip(found.decision.classes, found.decision.thresholds, strict=True)}
    return found.all, limits


def by_released_localisation(tomogram: Tomogram, args: argparse.Namespace) -> Found:
    picker = Picker(etpick.load_model(args.model))
    volume = open_volume(tomogram, picker.model.spacing_A, picker.model.config)
    names = [c.name for c in picker.model.classes]
    nearest = min(c.diameter_A for c in picker.model.classes) / 2 / picker.model.spacing_A
    maps = score_maps(picker, volume).classes.numpy(force=True)
    found = released_localisation(maps, names, picker.finder.stride, picker.finder.label_vx, nearest)
    return replace(found, positions=volume.to_file(found.positions)), dict.fromkeys(names, BINARY_FLOOR)


def by_mean_shift(tomogram: Tomogram, args: argparse.Namespace) -> Found:
    picker = Picker(etpick.load_model(args.model))
    volume = open_volume(tomogram, picker.model.spacing_A, picker.model.config)
    names = [c.name for c in picker.model.classes]
    found = mean_shift(score_maps(picker, volume), names, picker.finder.stride, args.bandwidth)
    return replace(found, positions=volume.to_file(found.positions)), {}


def by_blobs(tomogram: Tomogram, args: argparse.Namespace) -> Found:
    return dog_baseline(np.asarray(tomogram.data), CLASSES, SPACING_A), {}


def by_template(tomogram: Tomogram, args: argparse.Namespace) -> Found:
    diameter_A = PHANTOM_CLASSES[args.particle]
    return match_template(tomogram, args.particle, diameter_A, args.angle, torch.get_num_threads()), {}


METHODS: dict[str, Callable[[Tomogram, argparse.Namespace], Found]] = {
    "fast": by_network,
    "paper": partial(by_network, binary=True),
    "paper-scores": by_network,
    "released": by_released_localisation,
    "mean-shift": by_mean_shift,
    "dog": by_blobs,
    "template": by_template,
}


def peak_memory_gb() -> float:
    """Of this process or, where it was larger, the largest that it ran.

    ru_maxrss of this process would begin at the size of the one that started it, which exec hands on.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024 / 1e9


def cpu_seconds() -> float:
    """That this process and those that it ran have used."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tomogram", type=int, required=True)
    parser.add_argument("--model", type=Path, help="model folder, for the methods that need a network")
    parser.add_argument("--bandwidth", type=float, help="of the mean shift, in voxels")
    parser.add_argument("--particle", choices=PHANTOM_CLASSES, help="class to match the template of")
    parser.add_argument("--angle", type=float, help="between the template's rotations, in degrees")
    args = parser.parse_args()
    tomogram, _ = phantom(args.tomogram)
    began, began_cpu = time.perf_counter(), cpu_seconds()
    found, limits = METHODS[args.method](tomogram, args)
    seconds, cpu = time.perf_counter() - began, cpu_seconds() - began_cpu
    Outcome(found, limits, seconds, cpu, peak_memory_gb(), machine=machine()).save(args.out)


if __name__ == "__main__":
    main()
