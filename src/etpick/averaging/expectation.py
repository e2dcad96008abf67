"""One iteration of subtomogram averaging: how likely is each pose of each particle, and what average follows.

Model of a particle's spectrum (Scheres 2012, doi:10.1016/j.jmb.2011.11.010, for three dimensions):
X(k) = c(k) A(Rᵀk) exp(−2πi k·t / box) + noise, c being what the tilt series measured (missing wedge, contrast
transfer), R and t its rotation and shift, A the average, and the noise of variance σ² in each shell, real and
imaginary part each. Expectation weighs all poses tried by their probability; maximisation adds up the particles,
turned back, with these weights. Everything is a matrix product: rotations by particles at all shifts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from etpick.averaging.grid import FourierGrid, at_once, lattice

_COLUMNS = 4096  # shifts × particles scored at once …
_SCORES = 2**25  # … and these times rotations
_WEIGHED = 2**20  # coarse poses × particles weighed at once, few enough to stay near the processor
_LONGER = 0.75  # of the shells: the longer waves, by which the likeliest rotations are found …
_LONGER_SHELLS = 3  # … at least so many shells of them …
_NEAR = 1.6  # … at shifts within so many σ, and a voxel at least, …
_COARSE_VX = 1.3  # … or so far apart, where these are fewer
_LIKELIEST = 64  # rotations tried with all waves
_LEAST_MASS = 1e-2  # of a rotation's fair share, below which it is not put into the average
_LEAST_CHANCE = 1e-3  # of a neighbouring pose, likewise
_NEARBY_VALUES = 2**22  # complex values read at once where each particle has its own rotations
_LEAST_VARIANCE = 1e-9
_LEAST_LOGARITHM = -60.0  # of a ratio of chances; processors are slow with numbers so small that they lose digits


@dataclass(frozen=True, eq=False)
class Spectra:
    """Particles to average. values: (n, f). measured: (g, f) c of each tomogram. group: (n,) the particle's.

    kept: share of the noise's power left by boxes that fade at their faces, where particles are whole. Waves of such
    boxes are not independent: taken for that, with the noise as weak as it looks, they would say 1 / kept too much.
    """

    values: Tensor
    measured: Tensor
    group: Tensor
    kept: float = 1.0

    def __len__(self) -> int:
        return len(self.values)

    def select(self, rows: Tensor | slice) -> Spectra:
        """Some of the particles."""
        return replace(self, values=self.values[rows], group=self.group[rows])

    def power(self, grid: FourierGrid) -> tuple[Tensor, Tensor]:
        """(shells + 1,) power in each shell where the tilt series measured, and how many whole values it is worth."""
        seen = (self.measured != 0).float()  # the wedge's zeros are exact, those of a contrast transfer are not
        power = torch.zeros_like(self.measured)
        for part in _parts(len(self), _NEARBY_VALUES // self.values.shape[1], grid.device):
            power.index_add_(0, self.group[part], self.values[part].abs() ** 2)
        counts = torch.bincount(self.group, minlength=len(seen))[:, None]
        return grid.per_shell(seen * power), self.kept * grid.per_shell(seen * counts)


@dataclass(frozen=True, eq=False)
class Poses:
    """rotations: (n, 3, 3) from reference to tomogram, zyx. shifts_vx: (n, 3) from the box's middle to the particle."""

    rotations: Tensor
    shifts_vx: Tensor

    def select(self, rows: Tensor | slice) -> Poses:
        """Some of the poses."""
        return Poses(self.rotations[rows], self.shifts_vx[rows])


@dataclass(frozen=True, eq=False)
class Step:
    """What one iteration gives.

    sums: for `FourierGrid.solve`. poses: the most likely ones. evidence: (n,) natural logarithm of how much more
    likely the particle is than noise alone, over all poses tried. top: (n,) probability of the most likely pose.
    variance: (shells + 1,) of the noise.
    """

    sums: Tensor
    poses: Poses
    evidence: Tensor
    top: Tensor
    variance: Tensor


def noise_alone(spectra: Spectra, grid: FourierGrid) -> Tensor:
    """(shells + 1,) variance of real and imaginary part in each shell, if particles were nothing but noise."""
    return _per_component(*spectra.power(grid))


def _per_component(power: Tensor, count: Tensor) -> Tensor:
    return (power / count.clamp(min=1e-6) / 2).clamp(min=_LEAST_VARIANCE)


def search_everywhere(
    spectra: Spectra, grid: FourierGrid, reference: Tensor, variance: Tensor, around_vx: Tensor, rotations: Tensor,
    shifts_vx: Tensor, reach_vx: float, shell: int,
) -> Step:  # fmt: skip
    """Try the same (r, 3, 3) rotations for all particles, each at (t, 3) shifts from its own `around_vx` (n, 3).

    Frequencies up to a shell count, and places that are no farther than a reach from the box's middle.
    """
    count = grid.up_to(shell)
    turned = views(grid, reference, rotations, count)
    tried = _try_everywhere(spectra, grid, turned, variance, around_vx, shifts_vx, reach_vx)
    total, weight = torch.zeros_like(_real(turned)), variance.new_zeros(len(rotations), len(spectra.measured))
    steps: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for part, shifted, places, chance, logarithm in tried:
        index = chance.flatten(1).argmax(dim=1)
        steps.append((
            rotations[index // len(shifts_vx)], _of_each(places, index % len(shifts_vx)), logarithm,
            chance.amax(dim=(1, 2)),
        ))  # fmt: skip
        by_rotation = chance.permute(1, 0, 2)  # (r, p, t)
        total += by_rotation.reshape(len(rotations), -1) @ _real(shifted).reshape(-1, total.shape[1])
        weight.index_add_(1, spectra.group[part], by_rotation.sum(dim=2))
    values = _complex(total)
    seen = weight @ spectra.measured[:, :count] ** 2
    explained = grid.per_shell(2 * (values * turned.conj()).real - turned.abs() ** 2 * seen)
    left = _left_over(spectra, grid, explained, variance, shell)
    heavy = weight.sum(dim=1) > _LEAST_MASS * len(spectra) / len(rotations)
    sums = grid.empty()
    rotations, values, seen = rotations[heavy], values[heavy], seen[heavy]
    for part in _parts(len(rotations), _NEARBY_VALUES // count, grid.device):
        grid.put(sums, rotations[part], values[part], seen[part])
    return _step(sums, steps, left)


def views(grid: FourierGrid, reference: Tensor, rotations: Tensor, count: int) -> Tensor:
    """(r, f′) spectra of the reference, turned by (r, 3, 3) rotations: the first `count` frequencies."""
    transformed = grid.transform(reference)
    turned = torch.empty(len(rotations), count, dtype=torch.complex64, device=grid.device)
    for part in _parts(len(rotations), _NEARBY_VALUES // count, grid.device):
        turned[part] = grid.read(transformed, rotations[part], count)
    return turned


def weigh(
    spectra: Spectra, grid: FourierGrid, turned: Tensor, variance: Tensor, reach_vx: float, spread_vx: float, shell: int
) -> tuple[Tensor, Tensor]:
    """(n,) evidence of each particle of one tomogram over all poses, as in `Step`, and (n, 3) its mean place, weighted
    by chances. values: (n, f′) the frequencies up to `shell`, or more. turned: (r, f″) the reference by
    `views`, likewise.

    Shifts within a reach are as likely beforehand as a normal distribution of σ `spread_vx` along each axis makes them.

    All rotations are tried at few shifts with the longer waves, the likeliest again at all shifts with all waves (after
    the adaptive expectation of Scheres 2012). The others are taken to gain by the latter what the likeliest gain, as
    they do where particles are round; where they are not, the likeliest have nearly all the chance.
    """
    shifts = lattice(reach_vx, 1.0, grid.device)
    evidence, means = [shifts.new_zeros(0)], [shifts.new_zeros(0, 3)]
    for scores, _ in _try_likeliest(spectra, grid, turned, variance, reach_vx, spread_vx, shell):
        of_shift = scores.logsumexp(dim=2)
        evidence.append(of_shift.logsumexp(dim=1))
        means.append(of_shift.softmax(dim=1) @ shifts)
    return torch.cat(evidence), torch.cat(means)


def likeliest_poses(
    spectra: Spectra, grid: FourierGrid, turned: Tensor, variance: Tensor, reach_vx: float, spread_vx: float, shell: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(n,) evidence of each particle, (n,) which of the rotations fits it best, and (n, 3) its shift; the arguments are
    those of `weigh`."""
    shifts = lattice(reach_vx, 1.0, grid.device)
    evidence, places = [shifts.new_zeros(0)], [shifts.new_zeros(0, 3)]
    rotations = [torch.zeros(0, dtype=torch.long, device=grid.device)]
    for scores, likeliest in _try_likeliest(spectra, grid, turned, variance, reach_vx, spread_vx, shell):
        evidence.append(scores.logsumexp(dim=(1, 2)))
        index, tried = scores.flatten(1).argmax(dim=1), likeliest.shape[1]
        rotations.append(_of_each(likeliest, index % tried))
        places.append(shifts[index // tried])
    return torch.cat(evidence), torch.cat(rotations), torch.cat(places)


def _try_likeliest(
    spectra: Spectra, grid: FourierGrid, turned: Tensor, variance: Tensor, reach_vx: float, spread_vx: float, shell: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """For a part of the particles after the other the scores (p, t, r′) of their likeliest rotations at all shifts of
    `lattice`, whose exponentials add up to the likelihood over all poses, and which rotations these are (p, r′)."""
    count = grid.up_to(shell)
    longer = grid.up_to(min(shell, max(_LONGER_SHELLS, round(_LONGER * shell))))
    weight = spectra.measured[0, :count] / variance[grid.shell[:count]]
    rows, half_weight = _real(turned)[:, : 2 * count], (spectra.measured[0, :count] * weight / 2).repeat_interleave(2)
    of_longer = torch.where(torch.arange(2 * count, device=grid.device) < 2 * longer, half_weight, 0)
    penalties = rows.square() @ torch.stack([half_weight, of_longer], dim=1)  # ½ c² |A|² / σ²
    penalty, longer_penalty = penalties.unbind(dim=1)
    shifts, near_vx = lattice(reach_vx, 1.0, grid.device), min(reach_vx, max(1.0, _NEAR * spread_vx))
    coarse = min(lattice(near_vx, 1.0, grid.device), lattice(reach_vx, _COARSE_VX, grid.device), key=len)
    waves, coarse_waves = grid.phases(shifts, count), grid.phases(coarse, longer)
    likely, coarse_likely = (torch.log_softmax(-(t**2).sum(dim=1) / 2 / spread_vx**2, dim=0) for t in (shifts, coarse))
    tried = min(_LIKELIEST, len(turned))
    size = min(_WEIGHED // (len(coarse) * len(turned)), _NEARBY_VALUES // (tried * count))
    for part in _parts(len(spectra), size, grid.device):
        values = spectra.values[part, None, :count] * weight
        columns = _real(values[:, :, :longer] * coarse_waves).flatten(0, 1)
        scores = torch.addmm(-longer_penalty, columns, rows[:, : 2 * longer].T).reshape(len(values), len(coarse), -1)
        scores += coarse_likely[:, None]
        scores -= scores.amax(dim=(1, 2), keepdim=True)
        chance = scores.clamp_(min=_LEAST_LOGARITHM).exp_().sum(dim=1)  # (p, r)
        share, likeliest = (chance / chance.sum(dim=1, keepdim=True)).topk(tried, dim=1)
        scores = _real(values * waves) @ rows[likeliest].transpose(1, 2) - penalty[likeliest][:, None]  # (p, t, r′)
        others = share.sum(dim=1).log() + math.log(len(turned))
        yield scores + (likely - others[:, None])[:, :, None], likeliest


def _try_everywhere(
    spectra: Spectra, grid: FourierGrid, turned: Tensor, variance: Tensor, around_vx: Tensor, shifts_vx: Tensor,
    reach_vx: float,
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor, Tensor]]:  # fmt: skip
    """All rotations (r, f′) at all shifts, for a part of the particles after the other: which they are (p), shifted
    spectra (p, t, f′), places (p, t, 3), chances of the poses (p, r, t), evidence (p,)."""
    count = turned.shape[1]
    noise = variance[grid.shell[:count]]
    measured = spectra.measured[:, :count]
    penalty = 0.5 * turned.abs() ** 2 @ (measured**2 / noise).T  # (r, g)
    waves = grid.phases(shifts_vx, count)
    rows = _real(turned)
    columns_at_once = min(_COLUMNS, _SCORES // len(rows), _NEARBY_VALUES // count)
    for part in _parts(len(spectra), columns_at_once // len(shifts_vx), grid.device):
        group = spectra.group[part]
        middle = spectra.values[part, :count] * grid.phases(around_vx[part], count) * measured[group]
        shifted = middle[:, None] * waves
        columns = _real(shifted / noise).reshape(-1, rows.shape[1])
        scores = (rows @ columns.T).reshape(len(rows), len(group), -1) - penalty[:, group, None]
        places = around_vx[part][:, None] + shifts_vx
        scores = scores.permute(1, 0, 2).masked_fill(~_within(places, reach_vx)[:, None], -math.inf)
        chance, logarithm = _chances(scores.reshape(len(group), -1))
        yield part, shifted, places, chance.reshape(scores.shape), logarithm


def search_nearby(
    spectra: Spectra, grid: FourierGrid, reference: Tensor, variance: Tensor, poses: Poses, turns: Tensor,
    shifts_vx: Tensor, reach_vx: float, shell: int,
) -> Step:  # fmt: skip
    """Try (r, 3, 3) small turns of each particle's own pose, and (t, 3) small shifts that stay within a reach."""
    count = grid.up_to(shell)
    noise = variance[grid.shell[:count]]
    transformed, waves = grid.transform(reference), grid.phases(shifts_vx, count)
    sums, explained = grid.empty(), torch.zeros_like(variance)
    steps: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for part in _parts(len(spectra), _NEARBY_VALUES // (count * len(turns)), grid.device):
        own = poses.select(part)
        rotations = own.rotations[:, None] @ turns  # (p, r, 3, 3)
        turned = grid.read(transformed, rotations.reshape(-1, 3, 3), count).reshape(-1, len(turns), count)
        measured = spectra.measured[spectra.group[part], :count]
        middle = spectra.values[part, :count] * grid.phases(own.shifts_vx, count) * measured
        shifted = middle[:, None] * waves  # (p, t, f)
        power = turned.abs() ** 2
        penalty = 0.5 * torch.einsum("prf,pf->pr", power, measured**2 / noise)
        scores = _real(turned) @ _real(shifted / noise).transpose(1, 2) - penalty[:, :, None]
        places = own.shifts_vx[:, None] + shifts_vx  # (p, t, 3)
        inside = _within(places, reach_vx)
        scores = scores.masked_fill(~inside[:, None], -math.inf)
        chance, logarithm = _chances(scores.flatten(1))
        index = chance.argmax(dim=1)
        best = _of_each(rotations, index // len(shifts_vx)), _of_each(places, index % len(shifts_vx))
        steps.append((*best, logarithm, chance.amax(dim=1)))
        chance = chance.reshape(scores.shape)
        values = _complex(chance @ _real(shifted))  # (p, r, f)
        weight = chance.sum(dim=2)
        seen = weight[:, :, None] * measured[:, None] ** 2
        explained += grid.per_shell(2 * (values * turned.conj()).real - power * seen)
        heavy = weight > _LEAST_CHANCE
        grid.put(sums, rotations[heavy], values[heavy], seen[heavy])
    return _step(sums, steps, _left_over(spectra, grid, explained, variance, shell))


def _step(sums: Tensor, parts: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]], variance: Tensor) -> Step:
    """Of rotations, shifts, evidence and top of each part of the particles."""
    rotations, shifts, evidence, top = (torch.cat(column) for column in zip(*parts, strict=True))
    return Step(sums, Poses(rotations, shifts), evidence, top, variance)


def average(spectra: Spectra, grid: FourierGrid, poses: Poses) -> Tensor:
    """Sums for `FourierGrid.solve` of particles at given poses, with all frequencies."""
    sums = grid.empty()
    for part in _parts(len(spectra), _NEARBY_VALUES // len(grid.k), grid.device):
        measured = spectra.measured[spectra.group[part]]
        middle = spectra.values[part] * grid.phases(poses.shifts_vx[part])
        grid.put(sums, poses.rotations[part], middle * measured, measured**2)
    return sums


def correlations(spectra: Spectra, grid: FourierGrid, reference: Tensor, poses: Poses, shell: int) -> Iterator[float]:
    """Of each particle the correlation with the reference at its pose, −1 to 1, where the tilt series measured."""
    count = grid.up_to(shell)
    transformed = grid.transform(reference)
    for part in _parts(len(spectra), _NEARBY_VALUES // count, grid.device):
        measured = spectra.measured[spectra.group[part], :count]
        expected = grid.read(transformed, poses.rotations[part], count) * measured
        found = spectra.values[part, :count] * grid.phases(poses.shifts_vx[part], count) * (measured != 0)
        product = (expected.conj() * found).real.sum(dim=1)
        yield from (product / (expected.norm(dim=1) * found.norm(dim=1)).clamp(min=1e-12)).tolist()


def _within(places: Tensor, reach_vx: float) -> Tensor:
    """(p, t) whether (p, t, 3) places are within reach; of a particle that has none there, the nearest."""
    distance = torch.linalg.vector_norm(places, dim=2)
    within: Tensor = distance <= distance.amin(dim=1, keepdim=True).clamp(min=reach_vx)
    return within


def _of_each(values: Tensor, index: Tensor) -> Tensor:
    """(n, m, …), (n,) → (n, …), one of m each."""
    return values[torch.arange(len(index), device=index.device), index]


def _parts(count: int, size: int, device: torch.device) -> Iterator[slice]:
    """Rows 0 … count − 1, at least one at once and at most `size`, or on a card some times as many."""
    step = max(1, at_once(size, device))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _left_over(spectra: Spectra, grid: FourierGrid, explained: Tensor, variance: Tensor, shell: int) -> Tensor:
    """Variance of the noise where the reference has taken its part of the power, beyond `shell` as it was."""
    power, count = spectra.power(grid)
    new = _per_component(power - explained, count)
    return torch.where(torch.arange(len(new), device=new.device) <= shell, new, variance)


def _chances(scores: Tensor) -> tuple[Tensor, Tensor]:
    """(p, poses) → their probabilities, and the logarithm of their mean likelihood ratio (p,)."""
    best = scores.amax(dim=1)
    ratio = (scores - best[:, None]).clamp_(min=_LEAST_LOGARITHM).exp_()
    total = ratio.sum(dim=1)
    tried = scores.isfinite().sum(dim=1)
    return ratio.div_(total[:, None]), best + total.log() - tried.log()


def _real(values: Tensor) -> Tensor:
    """(…, f) complex → (…, 2f) real."""
    return torch.view_as_real(values).flatten(-2)


def _complex(values: Tensor) -> Tensor:
    """The inverse of `_real`."""
    return torch.view_as_complex(values.reshape(*values.shape[:-1], -1, 2))
