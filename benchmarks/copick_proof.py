"""copick proves the conventions: a project made by copick's own program, read and written by etpick, read by copick.

python benchmarks/copick_proof.py --copick COPICK_ENVIRONMENT/bin/python

copick 1.x needs zarr below 3, so it lives in an environment of its own (pip install copick). It makes a project of
simulated tomograms, with the true places as picks of a person; `etpick init` must find all of it; `etpick convert`
writes the same places back as a tool's, and copick must read them at the same Å. Prints the largest differences.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import etpick
from etpick.io.project import load_project

Places = dict[str, dict[str, list[list[float]]]]  # xyz in Å, by tomogram and particle

LIMIT_A = 1e-3
NAMES = ("ribosome", "proteasome")

ADD_PICKS = """
import json, sys
import copick
from copick.models import CopickPoint
root = copick.from_file(sys.argv[1])
for run, objects in json.load(open(sys.argv[2])).items():
    for name, places in objects.items():
        picks = root.get_run(run).new_picks(object_name=name, session_id="7", user_id="jane")
        picks.points = [CopickPoint(location=dict(zip("xyz", place))) for place in places]
        picks.store()
"""

READ_PICKS = """
import json, sys
import copick
out = {}
for run in copick.from_file(sys.argv[1]).runs:
    for picks in run.get_picks(user_id="etpick"):
        places = [[p.location.x, p.location.y, p.location.z] for p in picks.points]
        out.setdefault(run.name, {})[picks.pickable_object_name] = places
print(json.dumps(out))
"""


def run(*command: str | Path) -> str:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def in_A(places: Sequence[list[float]]) -> np.ndarray:
    """Sorted, so that two lists of the same places are equal."""
    return np.array(sorted(places), dtype=np.float64).reshape(-1, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copick", required=True, help="python of an environment with copick")
    args = parser.parse_args()
    python = Path(args.copick)
    copick, etpick_command = python.with_name("copick"), Path(sys.executable).with_name("etpick")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        config = folder / "config.json"
        run(etpick_command, "simulate", folder / "simulated", "--count", "2", "--shape", "48", "128", "128")
        tomograms = sorted((folder / "simulated").glob("*.mrc"))
        truth = {
            path.stem: {
                name: (etpick.read_picks(path.with_suffix(".csv")).of_class(name).positions
                       * etpick.open_tomogram(path).spacing_A)[:, ::-1].tolist()
                for name in NAMES
            }
            for path in tomograms
        }  # fmt: skip
        (folder / "places.json").write_text(json.dumps(truth))
        objects = ["--objects", "ribosome,True,140", "--objects", "proteasome,True,75", "--objects", "membrane,False"]
        run(copick, "config", "filesystem", "--overlay-root", folder, "--config", config, *objects)
        for path in tomograms:
            run(copick, "add", "tomogram", path, "-c", config, "--tomo-type", "wbp")
        run(python, "-c", ADD_PICKS, config, folder / "places.json")

        print(run(etpick_command, "init", config, "--out", folder / "project.toml"))
        dataset = load_project(folder / "project.toml")
        found = {
            item.tomogram.name: {
                name: (item.particles.of_class(name).positions * item.tomogram.spacing_A)[:, ::-1].tolist()
                for name in NAMES
            }
            for item in dataset.items
        }
        print(
            {c.name: c.diameter_A for c in dataset.classes}, {i.tomogram.name: i.tomogram.shape for i in dataset.items}
        )
        report("copick → etpick", truth, found)
        run(etpick_command, "convert", *(path.with_suffix(".csv") for path in tomograms), config,
            "--tomogram", folder / "simulated")  # fmt: skip
        report("etpick → copick", truth, json.loads(run(python, "-c", READ_PICKS, config)))


def report(what: str, truth: Places, found: Places) -> None:
    if truth.keys() != found.keys():
        raise SystemExit(f"{what}: runs {sorted(found)} instead of {sorted(truth)}")
    for name in NAMES:
        worst = max(np.abs(in_A(truth[tomogram][name]) - in_A(found[tomogram][name])).max() for tomogram in truth)
        count = sum(len(truth[tomogram][name]) for tomogram in truth)
        print(f"{what}: {count} {name}, at most {worst:.1e} Å apart")
        if worst > LIMIT_A:
            raise SystemExit(f"{what}: places differ by more than {LIMIT_A} Å")


if __name__ == "__main__":
    main()
