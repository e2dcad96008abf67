"""How reliably `etpick check` names a mistake with the picks, and how rarely it cries wolf.

Some of the labels of the real lamella, and of the true particles of phantom 106, are drawn at random, each mistake is
made with them, and what `check` believes is counted over the draws. A mistake after which picks lie outside is seen
by that alone; it is counted as named where the right one is.

python benchmarks/geometry.py --counts 10 30 125 --draws 10
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

import etpick
from common import DATA, keep, phantom
from etpick.inspection import grey_levels
from etpick.io.sanity import is_outside
from etpick.ops.contrast import ContrastProbe
from etpick.placement import check_placement
from etpick.types import FloatArray, Particles, Shape3, Tomogram

Make = Callable[[FloatArray, Shape3], FloatArray]


def mirrored(axis: int) -> Make:
    def make(p: FloatArray, shape: Shape3) -> FloatArray:
        out = p.copy()
        out[:, axis] = shape[axis] - 1 - out[:, axis]
        return out

    return make


MADE: dict[str, tuple[Make, str | None]] = {
    "none": (lambda p, _: p, None),
    "x and z swapped": (lambda p, _: p[:, [2, 1, 0]], "x and z are swapped"),
    "x and y swapped": (lambda p, _: p[:, [0, 2, 1]], "x and y are swapped"),
    "z flipped": (mirrored(0), "z runs the other way"),
    "y flipped": (mirrored(1), "y runs the other way (the other hand)"),
    "x flipped": (mirrored(2), "x runs the other way (the other hand)"),
    "2 times finer": (lambda p, _: p * 2, "they are in voxels 2 times finer (binning = 2)"),
    "4 times finer": (lambda p, _: p * 4, "they are in voxels 4 times finer (binning = 4)"),
    "2 times coarser": (lambda p, _: p / 2, "they are in voxels 2 times coarser (binning = 0.5)"),
}


def sources() -> dict[str, tuple[Tomogram, Particles]]:
    real = etpick.open_tomogram(DATA / "real" / "chlamy_lamella_171.mrc")
    labels = etpick.read_picks(DATA / "real" / "chlamy_lamella_171_ribosomes.csv", tomogram=real)
    return {"real": (real, labels), "phantom 106": phantom(106)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 30, 125])
    parser.add_argument("--draws", type=int, default=10)
    args = parser.parse_args()
    rows = []
    for name, (tomogram, particles) in sources().items():
        probe = ContrastProbe(tomogram.data, *grey_levels(tomogram).robust_range)
        for count in args.counts:
            for what, (make, right) in MADE.items():
                said, outside = [], 0
                for draw in range(args.draws):
                    rng = np.random.default_rng((count, draw))
                    chosen = rng.choice(len(particles), count, replace=False)
                    positions = make(particles.positions[chosen], tomogram.shape)
                    outside += bool(is_outside(positions, tomogram.shape).any())
                    said.append(check_placement(positions, tomogram.shape, probe).likely)
                rows.append({
                    "tomogram": name, "picks": count, "mistake": what, "draws": args.draws,
                    "right": sum(s == right for s in said), "another named": sum(s not in (right, None) for s in said),
                    "some outside": outside,
                })  # fmt: skip
                print(rows[-1], flush=True)
    keep("geometry", {"protocol": __doc__, "rows": rows})


if __name__ == "__main__":
    main()
