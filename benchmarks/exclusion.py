"""What each zone where nothing is picked takes away: wrong picks on gold and membranes, and right ones.

Phantom tomograms are picked once without zones, and each zone is then held against the picks. A wrong pick is on
gold or on a membrane where it lies within its class's radius of one. Gold is found by etpick itself, the true
membrane of the occupancy volume stands in for a user's mask. With --real, a model for the lamella, picks in the
vacuum above and below it are counted too.

python benchmarks/exclusion.py runs/phantom-fast-0 [--real runs/real-fast-0] [--tomograms 105 106]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

import etpick
from common import DATA, keep, phantom
from etpick.checkpoint import Model
from etpick.config import ExclusionConfig
from etpick.evaluation.curves import greedy_hits
from etpick.evaluation.matching import radii_vx
from etpick.exclusion import Masks, Zones, find_zones
from etpick.judging import read_occupancy
from etpick.ops.gold import Beads
from etpick.picking import Picker
from etpick.types import Particles

MEMBRANE = 65535
VACUUM_Z = (30, 96)  # of the real tomogram: empty below the first and above the second
VARIANTS: Mapping[str, dict[str, Any]] = {
    **{f"gold, {a} Å": {"gold": True, "gold_margin_A": a} for a in (0, 50, 100, 150)},
    **{f"membrane, {a} Å": {"membrane": True, "avoid_margin_A": a} for a in (0, 30, 60, 100)},
    **{f"edge, {a} Å": {"edge_A": a} for a in (50, 100, 200)},
    "slab": {"slab": True},
}


def variants(tomogram: etpick.Tomogram, membrane: NDArray[np.bool_]) -> dict[str, Zones]:
    out = {}
    for name, options in VARIANTS.items():
        masks = Masks(avoided=membrane if "membrane" in options else None)
        config = ExclusionConfig(**{k: v for k, v in options.items() if k != "membrane"})
        out[name] = find_zones(tomogram, config, masks)
    return out


def counted(picks: Particles, truth: Particles, model: Model, beads: Beads, membrane: KDTree | None) -> dict[str, Any]:
    """Picks by kind."""
    right = greedy_hits(picks, truth, radii_vx(truth, model.classes, 10.0))
    radii = radii_vx(picks, model.classes, 10.0)
    on_gold = beads.distance(picks.positions) <= radii
    on_membrane = np.zeros(len(picks), bool)
    if membrane is not None and len(picks):
        on_membrane = membrane.query(picks.positions)[0] <= radii
    return {
        "right": int(right.sum()), "wrong": int((~right).sum()), "missed": len(truth) - int(right.sum()),
        "wrong_on_gold": int((~right & on_gold).sum()), "wrong_on_membrane": int((~right & on_membrane).sum()),
    }  # fmt: skip


def phantom_run(model: Model, number: int, min_score: float | None) -> dict[str, Any]:
    tomogram, truth = phantom(number)
    membrane = read_occupancy(DATA / "phantom" / f"tomo_{number}_occupancy.npz") == MEMBRANE
    tree = KDTree(np.argwhere(membrane)) if membrane.any() else None
    every = variants(tomogram, membrane)
    beads = every["gold, 100 Å"].beads
    assert beads is not None  # gold was asked for
    picks = Picker(model, min_score=min_score)(tomogram).picks
    rows = {"nothing": counted(picks, truth, model, beads, tree)}
    for name, zones in every.items():
        rows[name] = counted(picks.select(zones.of(picks.positions) == ""), truth, model, beads, tree)
        rows[name]["true_particles_within"] = len(zones.holding(truth))
    return {"tomogram": number, "beads": len(beads), "membrane_voxels": int(membrane.sum()), "excluded": rows}


def summed(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    out = {}
    for name in ("nothing", *VARIANTS):
        rows = [r["excluded"][name] for r in runs]
        total = {key: sum(row[key] for row in rows) for key in rows[0]}
        right, wrong, missed = total["right"], total["wrong"], total["missed"]
        out[name] = total | {"localisation_f1": 2 * right / max(2 * right + wrong + missed, 1)}
    return out


def real_run(model: Model, min_score: float | None) -> dict[str, Any]:
    path = DATA / "real" / "chlamy_lamella_171.mrc"
    tomogram = etpick.open_tomogram(path)
    labels = etpick.read_picks(path.with_name(f"{path.stem}_ribosomes.csv"), tomogram=tomogram)
    found = Picker(model, min_score=min_score, slab=True, gold=True)(tomogram)
    assert found.zones is not None  # were asked for
    z, kept = found.left_out.particles.positions[:, 0], found.picks.positions[:, 0]
    low, high = VACUUM_Z
    return {
        "picks": len(found.picks), "left_out": found.left_out.counts(), "what": found.what_was_left_out,
        "vacuum_picks_before": int(((z < low) | (z > high)).sum() + ((kept < low) | (kept > high)).sum()),
        "vacuum_picks_after": int(((kept < low) | (kept > high)).sum()),
        "labels": len(labels), "labels_excluded": found.zones.holding(labels).counts(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--real", type=Path, help="a model trained on the real tomogram")
    parser.add_argument("--tomograms", type=int, nargs="+", default=[105, 106])
    parser.add_argument("--min-score", type=float, help="instead of the models' thresholds")
    args = parser.parse_args()
    model = etpick.load_model(args.model)
    runs = [phantom_run(model, number, args.min_score) for number in args.tomograms]
    content = {"protocol": __doc__, "model": args.model.name, "min_score": args.min_score, "all": summed(runs)}
    if args.real:
        content["real"] = real_run(etpick.load_model(args.real), args.min_score)
    keep("exclusion" if args.min_score is None else f"exclusion-{args.min_score:g}", content | {"runs": runs})


if __name__ == "__main__":
    main()
