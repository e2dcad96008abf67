"""What opening the next tomogram while one is picked gains: seconds a tomogram, from file to pick files.

The tomogram of speed.py under several names, its file in the page cache; etpick does so by itself where there is a
graphics card, and with --device cpu only here.

python benchmarks/in_flight.py runs/phantom-fast-0 [--count 8] [--device cuda]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from unittest.mock import patch

from common import keep
from etpick import api
from speed import large_tomogram


def seconds_each(model: Path, tomograms: list[Path], device: str, ahead: bool) -> float:
    one_ahead = partial(api._one_ahead, ahead=ahead)
    with (
        tempfile.TemporaryDirectory() as out,
        patch.object(api, "_one_ahead", lambda paths, opened, ahead: one_ahead(paths, opened)),
    ):
        began = time.perf_counter()
        api.pick_files(model, tomograms, out, device=device)
        return (time.perf_counter() - began) / len(tomograms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first = large_tomogram(Path(folder) / "t0.mrc")
        tomograms = [first, *(Path(folder) / f"t{n}.mrc" for n in range(1, args.count))]
        for path in tomograms[1:]:
            path.symlink_to(first)
        each = partial(seconds_each, args.model, tomograms, args.device)
        each(ahead=False)  # warms up
        result = {name: [each(ahead=ahead) for _ in range(2)] for name, ahead in (("plain", False), ("ahead", True))}
    keep("in-flight", {"protocol": __doc__, "seconds a tomogram": result})


if __name__ == "__main__":
    main()
