"""What the noise of a phantom leaves: a matched filter that is told all that a picker has to learn.

Its places, density maps, orientations, contrast transfer and noise are the truth's or measured with the truth's help,
so it is no picker. It tells how near to the centre one can get, and how often the class can be told, in such data:

- distance, told class and orientation; told the class alone; the most likely shift and the mean of all, each weighted
  by its likelihood, within the particle's radius;
- right class, told the place to within a voxel: the class most likely over all orientations and shifts, classes being
  equally frequent; and the class F1 that this gives if every particle is found and nothing else;
- with --model, localisation instead: its candidates, and the true places of what it has none for, ranked by the
  likelihood of a particle of any class against none, by the network's scores, and by the two joined (fitted to the
  same tomogram); average precision and the F1 of the best threshold.

Noise is taken as Gaussian, of a spectrum that depends on frequency and on the angle to the tilted plane, neighbours
included. Boxes of 32³ voxels; the transfer of each tomogram is a real factor of the density's spectrum.

python benchmarks/limits.py --tomograms 106 107 --angle 20
python benchmarks/limits.py --tomograms 106 --angle 20 --model runs/phantom-fast-0
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn.functional import grid_sample

import etpick
from common import PHANTOM_CLASSES, REPORTED, density, keep, phantom, phantom_classes
from etpick.averaging.rotations import evenly_spaced
from etpick.evaluation.curves import greedy_hits, precision_recall
from etpick.evaluation.matching import radii_vx
from etpick.ops.normalise import measure
from etpick.picking import Picker
from etpick.types import Particles

BOX_VX = 32
TAPER_VX = 4
SHELLS = 11  # of 16: beyond, the noise leaves nothing of the smallest species
SECTORS = 9  # of the angle between a wave and the untilted plane
FINE_VX = 0.25  # between shifts tried with a known orientation
REACH_VX = 3.0  # of shifts tried, at most
ROUNDS = 4  # of estimating transfer and noise, and the strength of each class, in turn
CHUNK = 512
LEAST_SCORE = 1e-3  # of a candidate that is ranked
SPACING_A = 10.0


class Waves:
    """The waves of a box that carry signal, one of each conjugate pair: indices, and the bin of each."""

    def __init__(self) -> None:
        z, y, x = torch.meshgrid(*(torch.fft.fftfreq(BOX_VX) * BOX_VX,) * 3, indexing="ij")
        length = torch.sqrt(z**2 + y**2 + x**2)
        half = (z > 0) | ((z == 0) & (y > 0)) | ((z == 0) & (y == 0) & (x > 0))
        self.kept = half & (length > 0.5) & (length < SHELLS + 0.5)
        sector = torch.atan2(z.abs(), x.abs()) / (np.pi / 2) * SECTORS
        bins = (length.round() - 1) * SECTORS + sector.clamp(max=SECTORS - 1).floor()
        self.bins = bins[self.kept].long()
        self.vectors = 2 * torch.pi / BOX_VX * torch.stack([z, y, x], dim=-1)[self.kept]

    def of(self, boxes: Tensor) -> Tensor:
        """(n, box, box, box) -> (n, waves), phases counted from the box's middle voxel."""
        spectra: Tensor = torch.fft.fftn(torch.fft.ifftshift(boxes, dim=(1, 2, 3)), dim=(1, 2, 3))
        return spectra[:, self.kept]

    def shifted(self, spectra: Tensor, shifts_vx: Tensor) -> Tensor:
        """What lay at each shift moves to the middle: (n, waves), (n, 3) -> (n, waves)."""
        angle = shifts_vx.float() @ self.vectors.T
        return spectra * torch.complex(angle.cos(), angle.sin())

    def sums(self, values: Tensor) -> Tensor:
        """Over the waves of each bin: (waves,) -> (bins,)."""
        return torch.zeros(SHELLS * SECTORS).index_add(0, self.bins, values)


WAVES = Waves()


class Density:
    """A species' map, to be turned: its spectrum is that of trilinear samples of a map twice as fine."""

    def __init__(self, name: str) -> None:
        cut = torch.from_numpy(density(name, BOX_VX)).float()
        spectrum = torch.fft.fftshift(torch.fft.fftn(cut))
        pad = BOX_VX // 2
        fine = torch.fft.ifftn(torch.fft.ifftshift(torch.nn.functional.pad(spectrum, (pad,) * 6))).real
        self.fine = (fine / fine.square().sum().sqrt())[None, None]
        axis = torch.arange(BOX_VX) - BOX_VX // 2
        self.points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).float()

    def turned(self, rotations: Tensor) -> Tensor:
        """(n, 3, 3), turning zyx vectors of the map -> (n, waves)."""
        found = []
        for part in torch.split(rotations, 64):
            at = torch.einsum("zyxi,nij->nzyxj", self.points, part)  # the inverse turn of each point
            index = 2 * at + BOX_VX
            grid = (index / (2 * BOX_VX - 1) * 2 - 1).flip(-1)
            samples = grid_sample(self.fine.expand(len(part), -1, -1, -1, -1), grid, align_corners=True)
            found.append(WAVES.of(samples[:, 0]))
        return torch.cat(found)


@dataclass
class Scene:
    """The true particles of a tomogram.

    spectra: (n, waves) of boxes around their centres, to a fraction of a voxel. expected: (n, waves) of their turned
    maps. classes: (n,) rows of PHANTOM_CLASSES.
    """

    spectra: Tensor
    expected: Tensor
    classes: Tensor


def read_scene(number: int, densities: list[Density]) -> Scene:
    """The particles with the orientations of the truth, which are scipy's ZYZ of (z, y, x)."""
    tomogram, truth = phantom(number)
    image = np.asarray(tomogram.data)
    boxes = boxes_around(-measure(image)(image), truth)
    assert truth.angles is not None
    matrices = torch.from_numpy(Rotation.from_euler("ZYZ", truth.angles, degrees=True).as_matrix()).float()
    names = list(PHANTOM_CLASSES)
    classes = torch.tensor([names.index(str(name)) for name in truth.classes])
    expected = torch.zeros(len(truth), len(WAVES.bins), dtype=torch.complex64)
    for i, own in enumerate(densities):
        expected[classes == i] = own.turned(matrices[classes == i])
    middles = np.round(truth.positions)
    spectra = WAVES.shifted(WAVES.of(boxes), torch.from_numpy(truth.positions - middles))
    return Scene(spectra, expected, classes)


def boxes_around(image: np.ndarray, particles: Particles) -> Tensor:
    """(n, box, box, box) around the voxels nearest to the particles, fading to nothing at the faces."""
    padded = np.pad(image, BOX_VX // 2)
    corners = np.round(particles.positions).astype(int)
    cut = np.stack([padded[tuple(slice(c, c + BOX_VX) for c in corner)] for corner in corners])
    ramp = np.minimum(np.arange(BOX_VX) + 0.5, BOX_VX - 0.5 - np.arange(BOX_VX)) / TAPER_VX
    window = np.sin(np.pi / 2 * ramp.clip(max=1)) ** 2
    cut *= window[:, None, None] * window[:, None] * window
    return torch.from_numpy(cut.astype(np.float32))


@dataclass
class Noise:
    """transfer, power: (waves,) factor of the densities' spectra, and variance of what they leave unexplained.

    strengths: (classes,) by which a species is brighter than its map, which has unit norm.
    """

    transfer: Tensor
    power: Tensor
    strengths: Tensor

    def expected(self, densities: Tensor, classes: Tensor | int) -> Tensor:
        """Whitened spectra of particles, as real numbers: (n, waves) -> (n, 2 waves)."""
        strength = self.strengths[classes].reshape(-1, 1)
        return real(densities * (strength * self.transfer / self.power.sqrt()))

    def observed(self, spectra: Tensor) -> Tensor:
        """Whitened spectra of boxes, as real numbers: (n, waves) -> (n, 2 waves)."""
        return real(spectra / self.power.sqrt())


def real(spectra: Tensor) -> Tensor:
    """(n, waves) complex -> (n, 2 waves)."""
    return torch.view_as_real(spectra).flatten(1)


def measure_noise(scene: Scene) -> Noise:
    """Least squares of the boxes on the turned maps, in each bin and in each class by turns."""
    strengths = torch.ones(len(PHANTOM_CLASSES))
    counts = WAVES.sums(torch.ones(len(WAVES.bins)))
    for _ in range(ROUNDS):
        model = scene.expected * strengths[scene.classes][:, None]
        cross = WAVES.sums((model.conj() * scene.spectra).real.sum(dim=0))
        transfer = (cross / WAVES.sums(model.abs().square().sum(dim=0)))[WAVES.bins]
        left = (scene.spectra - model * transfer).abs().square().mean(dim=0)
        power = (WAVES.sums(left) / counts)[WAVES.bins]
        model = scene.expected * transfer
        for i in range(len(strengths)):
            own, seen = model[scene.classes == i], scene.spectra[scene.classes == i]
            strengths[i] = ((own.conj() * seen).real / power).sum() / (own.abs().square() / power).sum()
    return Noise(transfer, power, strengths)


def ball(radius_vx: float, step_vx: float) -> Tensor:
    """(n, 3) shifts of a grid within a radius."""
    count = int(radius_vx / step_vx)
    steps = torch.tensor(list(product(range(-count, count + 1), repeat=3))) * step_vx
    return steps[steps.norm(dim=1) <= radius_vx]


def log_likelihoods(bank: Tensor, seen: Tensor, shifts_vx: Tensor, noise: Noise) -> Tensor:
    """Of boxes after shifts, over the mean of a bank of orientations: (b, 2 waves), (n, waves) -> (n, shifts)."""
    moved = torch.cat([noise.observed(WAVES.shifted(box.expand(len(shifts_vx), -1), shifts_vx)) for box in seen])
    total = torch.full((len(moved),), -torch.inf)
    for part in torch.split(bank, CHUNK):
        fit = torch.addmm(-part.square().sum(dim=1)[:, None], part, moved.T, alpha=2)
        total = torch.logaddexp(total, fit.logsumexp(dim=0))
    return total.reshape(len(seen), -1) - float(np.log(len(bank)))


def distances(likelihoods: Tensor, shifts_vx: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) distances from the centre of the most likely shift, and of the mean shift."""
    likeliest = shifts_vx[likelihoods.argmax(dim=1)].norm(dim=1)
    return likeliest, (likelihoods.softmax(dim=1) @ shifts_vx.float()).norm(dim=1)


def study(number: int, densities: list[Density], rotations: Tensor) -> dict[str, Any]:
    """Distances and classes in one tomogram."""
    scene = read_scene(number, densities)
    noise = measure_noise(scene)
    near = ball(1.0, 0.5)
    told, by_class = torch.zeros(2, len(scene.classes)), torch.zeros(2, len(scene.classes))
    chances = torch.zeros(len(scene.classes), len(densities))
    for i, (name, unturned) in enumerate(zip(PHANTOM_CLASSES, densities, strict=True)):
        bank = noise.expected(unturned.turned(rotations), i)
        chances[:, i] = log_likelihoods(bank, scene.spectra, near, noise).logsumexp(dim=1)
        within = ball(min(PHANTOM_CLASSES[name] / 2 / SPACING_A, REACH_VX), 0.5)
        own = torch.nonzero(scene.classes == i)[:, 0]
        by_class[:, own] = torch.stack(distances(log_likelihoods(bank, scene.spectra[own], within, noise), within))
        fine = ball(within.norm(dim=1).max().item(), FINE_VX)
        for row in own:
            exact = noise.expected(scene.expected[row][None], i)
            likelihood = log_likelihoods(exact, scene.spectra[row][None], fine, noise)
            told[:, row] = torch.cat(distances(likelihood, fine))
        print(f"tomogram {number}, {name}: done", flush=True)
    return summary(scene, noise, told, by_class, chances)


def summary(scene: Scene, noise: Noise, told: Tensor, by_class: Tensor, chances: Tensor) -> dict[str, Any]:
    """What is kept of one tomogram."""
    names = list(PHANTOM_CLASSES)
    guess = chances.argmax(dim=1)
    right = guess == scene.classes
    f1 = {}
    for i, name in enumerate(names):
        own, called = scene.classes == i, guess == i
        f1[name] = 2 * (own & called).sum().item() / max((own.sum() + called.sum()).item(), 1)
    signal = noise.expected(scene.expected, scene.classes).square().sum(dim=1)
    each = {
        name: {
            "signal_to_noise": signal[scene.classes == i].mean().item() ** 0.5,
            "distance_told_all_vx": told[:, scene.classes == i].mean(dim=1).tolist(),
            "distance_told_class_vx": by_class[:, scene.classes == i].mean(dim=1).tolist(),
            "class_f1": f1[name],
        }
        for i, name in enumerate(names)
    }
    return {
        "distance_told_all_vx": told.mean(dim=1).tolist(), "distance_told_class_vx": by_class.mean(dim=1).tolist(),
        "right_class": right.float().mean().item(), "mean_class_f1": float(np.mean([f1[n] for n in REPORTED])),
        "classes": each,
    }  # fmt: skip


def detected(number: int, model: etpick.Model, densities: list[Density], rotations: Tensor) -> dict[str, Any]:
    """How well particles are told from background, each ranking by itself and both joined."""
    tomogram, truth = phantom(number)
    noise = measure_noise(read_scene(number, densities))
    found = Picker(replace(model, averages=None))(tomogram).all
    assert found.scores is not None
    found = found.select(found.scores >= LEAST_SCORE)
    radii = radii_vx(truth, phantom_classes(), SPACING_A)
    gaps = np.linalg.norm(truth.positions[:, None] - found.positions, axis=2).min(axis=1)
    without = truth.select(gaps >= radii)
    places = np.concatenate([found.positions, without.positions])
    everything = Particles(
        places, np.concatenate([found.classes, without.classes]),
        np.concatenate([found.scores, np.full(len(without), LEAST_SCORE)]),
    )  # fmt: skip
    image = np.asarray(tomogram.data)
    spectra = WAVES.of(boxes_around(-measure(image)(image), everything))
    spectra = WAVES.shifted(spectra, torch.from_numpy(places - np.round(places)))
    near, by_class = ball(1.5, 0.5), []
    for i, unturned in enumerate(densities):
        bank = noise.expected(unturned.turned(rotations), i)
        by_class.append(log_likelihoods(bank, spectra, near, noise).logsumexp(dim=1) - np.log(len(near)))
        print(f"tomogram {number}, ranked by {list(PHANTOM_CLASSES)[i]}", flush=True)
    evidence = torch.stack(by_class).logsumexp(dim=0).numpy() - np.log(len(densities))
    assert everything.scores is not None
    logits = np.log(everything.scores / (1 - everything.scores.clip(max=1 - 1e-6)))
    hits = greedy_hits(everything, truth, radii)
    features = np.stack([logits, evidence, np.arcsinh(evidence), np.ones(len(logits))])

    def loss(weights: np.ndarray) -> float:
        return float(np.logaddexp(0, np.where(hits, -1, 1) * (weights @ features)).sum())

    fitted = minimize(loss, np.array([1, 0, 0, 0]))
    ways = {"network": logits, "filter": evidence, "both": fitted.x @ features}
    result: dict[str, Any] = {"candidates": len(found), "without_candidate": len(without)}
    for way, scores in ways.items():
        curve = precision_recall([replace(everything, scores=scores)], [truth], phantom_classes(), SPACING_A)
        place = curve.localisation
        f1 = 2 * place.precision * place.recall / np.maximum(place.precision + place.recall, 1e-9)
        best = int(f1.argmax())
        result[way] = {
            "average_precision": place.average_precision, "best_f1": float(f1[best]),
            "precision": float(place.precision[best]), "recall": float(place.recall[best]),
        }  # fmt: skip
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tomograms", type=int, nargs="+", default=[106, 107])
    parser.add_argument("--angle", type=float, default=15.0, help="between the orientations tried, in degrees")
    parser.add_argument("--model", help="tell its candidates from background, instead of the rest")
    args = parser.parse_args()
    rotations = evenly_spaced(args.angle, np.random.default_rng(0))
    densities = [Density(name) for name in PHANTOM_CLASSES]
    began = time.perf_counter()
    if args.model:
        model = etpick.load_model(args.model)
        found = {str(number): detected(number, model, densities, rotations) for number in args.tomograms}
    else:
        found = {str(number): study(number, densities, rotations) for number in args.tomograms}
    minutes = (time.perf_counter() - began) / 60
    name = "limits-localisation" if args.model else "limits"
    keep(name, {"protocol": __doc__, "options": vars(args), "minutes": minutes, "tomograms": found})


if __name__ == "__main__":
    main()
