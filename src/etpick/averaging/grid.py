"""The Fourier transform of a box: read at turned frequencies, and put together from many such readings.

A box [z, y, x] of n voxels has its origin at the middle voxel, n // 2. Frequencies k count waves across the box.
Volumes are turned in Fourier space, where they are padded twofold and read by linear interpolation; what that does
in real space, a multiplication with sinc², is divided out (as RELION's Projector and BackProjector do).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import torch
import torch.nn.functional as nnf
from torch import Tensor

from etpick.engine import CPU

PADDING = 2
_MORE_ON_A_CARD = 16  # which waits longer for small work than it computes; not measured, 1 to 2 GB
_LEAST_WEIGHT = 1e-6


class FourierGrid:
    """The frequencies of a box up to its last shell before Nyquist, one of each pair ±k, sorted by shell.

    k: (f, 3) zyx. shell: (f,) |k| rounded. shells: the last one. counts: (shells + 1,) frequencies in each. device: of
    all tensors that it takes and gives.
    """

    def __init__(self, box_vx: int, device: torch.device = CPU) -> None:
        self.box_vx, self.padded_vx, self.shells, self.device = box_vx, PADDING * box_vx, box_vx // 2 - 1, device
        axis = torch.arange(-self.shells, self.shells + 1)
        k = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
        z, y, x = k.unbind(1)
        half = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
        radius = k.float().norm(dim=1)
        within = half & (radius <= self.shells)
        order = radius[within].argsort(stable=True)
        self.k, self.shell = k[within][order].float().to(device), radius[within][order].round().long().to(device)
        self.counts = torch.bincount(self.shell, minlength=self.shells + 1)
        self._up_to: list[int] = self.counts.cumsum(dim=0).tolist()
        wave = torch.sinc((torch.arange(box_vx) - box_vx // 2) / self.padded_vx) ** 2
        self._sinc = (wave[:, None, None] * wave[None, :, None] * wave[None, None, :]).to(device)
        axis = torch.arange(self.padded_vx) - self.padded_vx // 2
        radius = torch.sqrt((axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2).float())
        self._padded_radius = (radius / PADDING).to(device)
        self._padded_shell = self._padded_radius.round().long().clamp(max=self.shells)

    def up_to(self, shell: int) -> int:
        """How many frequencies lie in the shells up to one."""
        return self._up_to[shell]

    def per_shell(self, values: Tensor) -> Tensor:
        """(…, f′) values of the first f′ frequencies → (shells + 1,) their sums, over leading dimensions too."""
        flat = values.reshape(-1, values.shape[-1]).sum(dim=0)
        return flat.new_zeros(self.shells + 1).index_add_(0, self.shell[: len(flat)], flat)

    def spectra(self, boxes: Tensor, count: int | None = None) -> Tensor:
        """(n, b, b, b) boxes, of this grid's size or larger and binned by leaving out high frequencies → (n, f′), the
        first `count` frequencies or all."""
        size, k = boxes.shape[-1], self.k[:count]
        z, y, x = (k.long() % size).unbind(1)  # x is never negative
        transformed: Tensor = torch.fft.rfftn(boxes, dim=(1, 2, 3))[:, z, y, x]
        angle = 2 * math.pi * (size // 2) / size * k.sum(dim=1)  # of the middle voxel from the first
        return transformed * torch.polar(torch.full_like(angle, (self.box_vx / size) ** 3), angle)

    def boxes(self, spectra: Tensor, size: int) -> Tensor:
        """(n, f′) → (n, s, s, s) voxels, of this grid's size or finer; `spectra` reads the same from them."""
        k = self.k[: spectra.shape[1]]
        z, y, x = k.long().unbind(1)
        angle = 2 * math.pi * (size // 2) / size * k.sum(dim=1)
        values = spectra * torch.polar(torch.full_like(angle, (size / self.box_vx) ** 3), -angle)
        transformed = spectra.new_zeros(len(spectra), size, size, size // 2 + 1)
        transformed[:, z % size, y % size, x] = values
        flat = x == 0  # a real transform holds both of a pair ±k here
        transformed[:, -z[flat] % size, -y[flat] % size, 0] = values[:, flat].conj()
        volumes: Tensor = torch.fft.irfftn(transformed, s=(size,) * 3, dim=(1, 2, 3))
        return volumes

    def volume(self, volume: Tensor) -> Tensor:
        """(s, s, s), of this grid's size or larger, binned by leaving out high frequencies → (b, b, b)."""
        size, n = volume.shape[0], self.box_vx
        if size == n:
            return volume.float()
        inner = slice((size - n) // 2, (size + n) // 2)
        transformed = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(volume)))[inner, inner, inner]
        smaller: Tensor = torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(transformed)).real)
        return smaller.float() * (n / size) ** 3

    def of_half(self, weights: Tensor) -> Tensor:
        """(b, b, b // 2 + 1) weights in the layout of a real transform → (f,)."""
        z, y, x = self.k.long().unbind(1)  # x is never negative
        size = weights.shape[0]
        found: Tensor = weights[z % size, y % size, x]
        return found

    def phases(self, shifts_vx: Tensor, count: int | None = None) -> Tensor:
        """(…, 3) zyx → (…, f′) factors that bring what lies `shifts_vx` from the middle into the middle, of the first
        `count` frequencies or all."""
        angle = 2 * math.pi / self.box_vx * (shifts_vx @ self.k[:count].T)
        return torch.polar(torch.ones_like(angle), angle)

    def transform(self, volume: Tensor) -> Tensor:
        """(b, b, b) → (2, p, p, p): the padded transform's real and imaginary part, the origin in the middle."""
        margin = (self.padded_vx - self.box_vx) // 2
        padded = nnf.pad(volume / self._sinc, (margin,) * 6)
        transformed = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(padded)))
        return torch.view_as_real(transformed).permute(3, 0, 1, 2).contiguous()

    def read(self, transformed: Tensor, rotations: Tensor, count: int) -> Tensor:
        """Spectra of the turned volume: (2, p, p, p), (r, 3, 3) → (r, f′), the first `count` frequencies."""
        points = self._points(rotations, count).reshape(-1, 3)
        scaled = (points / (self.padded_vx - 1) * 2 - 1).flip(-1)  # grid_sample wants xyz in −1 … 1
        parts = torch.get_num_threads()  # a processor shares out among them what lies in different samples
        shared = nnf.pad(scaled, (0, 0, 0, -len(points) % parts)).reshape(parts, 1, 1, -1, 3)
        out = nnf.grid_sample(transformed.expand(parts, -1, -1, -1, -1), shared, align_corners=True)
        real, imaginary = (out[:, i].reshape(-1)[: len(points)] for i in (0, 1))
        return torch.complex(real, imaginary).reshape(len(rotations), count)

    def _points(self, rotations: Tensor, count: int) -> Tensor:
        """(r, 3, 3) → (r, f′, 3) where in the padded transform the turned frequencies lie: Rᵀ k."""
        return PADDING * torch.einsum("fj,rji->rfi", self.k[:count], rotations) + self.padded_vx // 2

    def empty(self) -> Tensor:
        """(3, p³) nothing put together yet: real part, imaginary part, weight."""
        return torch.zeros(3, self.padded_vx**3, device=self.device)

    def put(self, sums: Tensor, rotations: Tensor, values: Tensor, weights: Tensor) -> None:
        """Add spectra (r, f′), turned back, and their weights to `sums`; the adjoint of `read`."""
        points = self._points(rotations, values.shape[1]).reshape(-1, 3)
        added = (values.real.reshape(-1), values.imag.reshape(-1), weights.reshape(-1))
        for index, share in self._corners(points):
            for total, one in zip(sums, added, strict=True):
                total.scatter_add_(0, index, one * share)  # several times faster than index_add_ on all three

    def _corners(self, points: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each of (n, 3) points the eight voxels around it and its share in each."""
        p, low = self.padded_vx, points.floor()
        first = ((low[:, 0] * p + low[:, 1]) * p + low[:, 2]).long()  # exact: p³ is below 2²⁴
        z, y, x = (points - low).unbind(1)
        for i, j in product((0, 1), repeat=2):
            both = (z if i else 1 - z) * (y if j else 1 - y)
            for k in (0, 1):
                yield first + ((i * p + j) * p + k), both * (x if k else 1 - x)

    def weight_of_shells(self, sums: Tensor) -> Tensor:
        """(shells + 1,) mean weight in each shell, of both halves of Fourier space."""
        weight = _with_mirror(sums[2].reshape((self.padded_vx,) * 3))
        shell = self._padded_shell.reshape(-1)
        total = weight.new_zeros(self.shells + 1).index_add_(0, shell, weight.reshape(-1))
        return total / torch.bincount(shell)

    def solve(self, sums: Tensor, damping: Tensor, shell: int) -> Tensor:
        """(3, p³) → the volume (b, b, b): sums over weight plus `damping` (shells + 1,), up to a shell."""
        real, imaginary, weight = sums.reshape(3, *(self.padded_vx,) * 3)
        values = torch.complex(_with_mirror(real), _with_mirror(imaginary, -1))
        divisor = (_with_mirror(weight) + damping[self._padded_shell]).clamp(min=_LEAST_WEIGHT)
        values = torch.where(self._padded_radius <= shell + 0.5, values / divisor, 0)
        volume: Tensor = torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(values)).real)
        inner = slice((self.padded_vx - self.box_vx) // 2, (self.padded_vx + self.box_vx) // 2)
        return volume[inner, inner, inner] / self._sinc


def _with_mirror(values: Tensor, sign: int = 1) -> Tensor:
    """Values at k and, times sign, at −k, for an even cube with the origin at its middle."""
    return values + sign * torch.roll(values.flip(0, 1, 2), (1, 1, 1), (0, 1, 2))


def ball(box_vx: int, diameter_vx: float, edge_vx: float = 3.0) -> Tensor:
    """(b, b, b) 1 within a ball about the middle voxel, falling to 0 as a cosine over `edge_vx` beyond it."""
    axis = torch.arange(box_vx) - box_vx // 2
    radius = torch.sqrt((axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2).float())
    beyond = ((radius - diameter_vx / 2) / edge_vx).clamp(0, 1)
    return 0.5 + 0.5 * torch.cos(math.pi * beyond)


def at_once(values: int, device: torch.device) -> int:
    """How many values to hold at once where so many fit what lies near a processor."""
    return values if device.type == "cpu" else _MORE_ON_A_CARD * values


def lattice(reach: float, step: float, device: torch.device = CPU) -> Tensor:
    """(t, 3) points of a cubic lattice within a ball of radius `reach`, the middle among them."""
    axis = torch.arange(-math.floor(reach / step), math.floor(reach / step) + 1) * step
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3).float()
    return points[points.norm(dim=1) <= reach + 1e-4].to(device)
