"""The overlap-tile plan, as data: what to read for each tile and what to keep of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

from etpick.errors import InputError
from etpick.types import Box, Shape3

COARSEST_VX: Final = 8  # the networks pool three times (or fold once and pool twice)


@dataclass(frozen=True)
class Tile:
    """A tile: `read` is what the network sees, `keep` the part of its answer that is used.

    Both are boxes of the volume; `read` may reach outside, where the volume is reflected, by what a whole number
    of the network's coarsest voxels, or a network that knows its tile's size, makes necessary.
    """

    read: Box
    keep: Box


@dataclass(frozen=True)
class Plan:
    """Tiles that cover a volume, each voxel kept exactly once, ordered in rows of equal z."""

    shape: Shape3
    rows: tuple[tuple[Tile, ...], ...]

    def __len__(self) -> int:
        return sum(len(row) for row in self.rows)

    @property
    def voxels_read(self) -> int:
        """Voxels that go through the network."""
        return sum(z * y * x for row in self.rows for z, y, x in (tile.read.shape for tile in row))


def _cuts(size: int, tile: int, halo: int, exact: bool) -> Iterator[tuple[int, int, int, int]]:
    """One axis: (read start, read stop, keep start, keep stop) of tiles of equal width."""
    whole = _round_up(size, COARSEST_VX)
    count = _count(size, tile, halo)
    width = tile if exact else _width(size, count, halo)
    starts = [min(i * (width - 2 * halo), max(0, whole - width)) for i in range(count)]
    borders = [0, *(start + halo for start in starts[1:]), size]
    for start, keep_start, keep_stop in zip(starts, borders[:-1], borders[1:], strict=True):
        yield start, start + width, keep_start, keep_stop


def _count(size: int, tile: int, halo: int) -> int:
    """Tiles along an axis, of at most a width."""
    whole = _round_up(size, COARSEST_VX)
    return 1 if whole <= tile else -(-(whole - 2 * halo) // (tile - 2 * halo))


def _width(size: int, count: int, halo: int) -> int:
    """Equal width of so many tiles along an axis."""
    return _round_up(-(-(_round_up(size, COARSEST_VX) + (count - 1) * 2 * halo) // count), COARSEST_VX)


def thriftiest_tile(shape: Shape3, halo: int, voxels: int, depth: int) -> Shape3:
    """The tile of at most so many voxels, and slices in z, with which the fewest voxels are read for a volume.

    Where even the smallest tile has more, that one.
    """
    least = 2 * halo + COARSEST_VX
    widths = [_thrifty_widths(n, halo, least) for n in shape]
    fitting = [
        (read_z * read_y * read_x, (z, y, x))
        for (z, read_z), (y, read_y) in product([w for w in widths[0] if w[0] <= depth] or widths[0][:1], widths[1])
        for x, read_x in [w for w in widths[2] if z * y * w[0] <= voxels][-1:]
    ]
    smallest = widths[0][0][0], widths[1][0][0], widths[2][0][0]
    return min(fitting, default=(0, smallest))[1]


def _thrifty_widths(size: int, halo: int, least: int) -> list[tuple[int, int]]:
    """Along an axis: tiles' widths and the voxels then read in all; the wider, the fewer."""
    found: list[tuple[int, int]] = []
    for width in sorted({max(least, _width(size, k, halo)) for k in range(1, _count(size, least, halo) + 1)}):
        read = _count(size, width, halo) * width
        if not found or read < found[-1][1]:
            found.append((width, read))
    return found


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def plan_tiles(shape: Shape3, tile: Shape3, halo: int, *, exact: bool = False) -> Plan:
    """Cover `shape` with equal tiles of at most `tile` voxels a side, halo included.

    There is no halo beyond the volume's faces: the network has met such borders in every subtomogram it learnt
    from, whereas mirror images of particles cut by a face would be picked. Tiles are made no larger than the
    volume needs, unless `exact`, which a network that knows its tile's size asks for. Every tile is a whole
    number of the network's coarsest voxels and starts at the same phase of them, so that a voxel's answer does
    not depend on the tile it falls in.
    """
    for size in tile:
        if size <= 2 * halo or size % COARSEST_VX or 2 * halo % COARSEST_VX:
            raise InputError(
                f"tile {size} with halo {halo}: the tile must be a multiple of {COARSEST_VX} and exceed "
                f"twice the halo, which must be a multiple of {COARSEST_VX // 2}"
            )
    axes = [list(_cuts(n, size, halo, exact)) for n, size in zip(shape, tile, strict=True)]
    rows = tuple(tuple(_tile(z, y, x) for y, x in product(axes[1], axes[2])) for z in axes[0])
    return Plan(shape, rows)


def _tile(z: tuple[int, ...], y: tuple[int, ...], x: tuple[int, ...]) -> Tile:
    corners = list(zip(z, y, x, strict=True))
    return Tile(read=Box(corners[0], corners[1]), keep=Box(corners[2], corners[3]))
