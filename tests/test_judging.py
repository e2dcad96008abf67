import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from etpick.checkpoint import Model, save_model
from etpick.config import recipe
from etpick.decision import Decision
from etpick.errors import InputError
from etpick.judging import Judged, judge, read_occupancy
from etpick.ops.calibrate import Calibration
from etpick.types import ParticleClass

DIAMETERS = {"nanodisc": 100.0, "ribosome": 280.0}
HEADER = "class,x,y,z,score"
ROWS = ("nanodisc,10,10,10,0.9", "nanodisc,30,10,10,0.8", "ribosome,60,10,10,0.7")


def write(path: Path, *rows: str, spacing_A: float | None = None) -> Path:
    ending = f",{spacing_A}" if spacing_A else ""
    header = HEADER + (",spacing_A" if spacing_A else "")
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([header, *(row + ending for row in rows)]) + "\n")
    return path


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """Makes the folder of a model that was trained on tomograms of these spacings."""

    def make(*native_A: float) -> Path:
        classes = tuple(ParticleClass(name, diameter_A) for name, diameter_A in DIAMETERS.items())
        decision = Decision(classes, 10.0, Calibration(1.0, (0.0, 0.0)), (0.5, 0.5))
        trained_on = {"native_spacing_A": list(native_A)}
        save_model(Model(recipe("fast"), decision, {"w": torch.zeros(1)}, trained_on), tmp_path / "model")
        return tmp_path / "model"

    return make


def row_of(judged: Judged, name: str) -> list[str]:
    return next(line for line in judged.lines() if line.startswith(f"{name} ")).split()[1:]


def strict(judged: Judged) -> dict[str, object]:
    """What JSON without NaN keeps of a result."""
    kept: dict[str, object] = json.loads(json.dumps(judged.to_dict(), allow_nan=False))
    return kept


def test_folders_are_paired_by_name_and_both_sides_leftovers_are_named(tmp_path: Path) -> None:
    for name in ("t_1", "t_2"):
        write(tmp_path / "truth" / f"{name}.csv", *ROWS, spacing_A=10)
    (tmp_path / "picks").mkdir()
    star = tmp_path / "picks" / "t_1.coords"  # another format, the same name
    star.write_text("nanodisc 10 10 10\nnanodisc 90 10 10\n")
    write(tmp_path / "picks" / "t_3.csv", *ROWS, spacing_A=10)
    write(tmp_path / "picks" / "t_4.csv", *ROWS, spacing_A=10)
    judged = judge(tmp_path / "picks", tmp_path / "truth", diameters_A=DIAMETERS)
    assert judged.names == ("t_1", "t_2")
    counts = judged.evaluation.localisation
    assert (counts.tp, counts.fp, counts.fn) == (1, 1, 5)
    assert judged.notes == (
        "no pick file for t_2.csv: counted as no picks",
        "no truth for t_3.csv, t_4.csv: left out",
    )
    assert judged.lines()[:2] == [f"note: {note}" for note in judged.notes]


def test_places_marked_as_no_particle_are_no_particles(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", *ROWS, "not-a-particle,90,10,10,", spacing_A=10)
    counts = judge(write(tmp_path / "picks.csv", *ROWS), truth, diameters_A=DIAMETERS).evaluation.localisation
    assert (counts.tp, counts.fp, counts.fn) == (3, 0, 0)


def test_nothing_to_pair_is_an_error(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth" / "a.csv", *ROWS, spacing_A=10)
    write(tmp_path / "picks" / "b.csv", *ROWS, spacing_A=10)
    with pytest.raises(InputError, match=r"no file in .*picks has the name of one in .*truth: a"):
        judge(tmp_path / "picks", tmp_path / "truth", diameters_A=DIAMETERS)
    with pytest.raises(InputError, match="must both be files, or both be folders"):
        judge(tmp_path / "picks", truth, diameters_A=DIAMETERS)
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match="bare holds no pick files"):
        judge(tmp_path / "picks", tmp_path / "bare", diameters_A=DIAMETERS)


def test_a_dash_stands_for_what_was_not_measured_and_names_stay_whole(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", ROWS[2], spacing_A=10)
    judged = judge(write(tmp_path / "picks.csv", ROWS[2]), truth, diameters_A=DIAMETERS)
    assert row_of(judged, "nanodisc") == ["–", "–", "–", "–", "–", "0", "0", "0"]
    assert row_of(judged, "ribosome") == ["1.000", "1.000", "1.000", "0.00", "1.000", "1", "0", "0"]
    places = [line.index("1.000" if "1.000" in line else "–") for line in judged.lines() if "0.00" in line]
    assert len(set(places)) == 1
    assert not any("nan " in line for line in judged.lines())


@pytest.mark.parametrize("rule", ["radius", "czii"])
def test_json_holds_no_nan(tmp_path: Path, rule: str) -> None:
    nothing = write(tmp_path / "none.csv", spacing_A=10)
    for rows in ((), ROWS, ROWS[2:]):
        truth = write(tmp_path / "truth.csv", *rows)
        kept = strict(judge(nothing, truth, diameters_A=DIAMETERS, spacing_A=10, rule=rule))
        assert kept["tomograms"] == ["truth"] and kept["spacing_A"] == [10.0]
        assert kept["diameters_A"] == DIAMETERS
    kept = strict(judge(truth, truth, diameters_A=DIAMETERS, spacing_A=10, rule=rule))
    assert kept["average_precision"] == {"localisation": 1.0, "nanodisc": None, "ribosome": 1.0}
    challenge = {"rule": "czii", "f_beta": 1.0, "by_class": {"nanodisc": None, "ribosome": 1.0}}
    assert kept["challenge"] == (challenge if rule == "czii" else None)


def test_spacing_is_that_given_then_of_picks_then_of_truth_then_of_the_model(
    tmp_path: Path, model: Callable[..., Path]
) -> None:
    folder = model(7.0)
    files = {"said": write(tmp_path / "said.csv", *ROWS, spacing_A=10), "mute": write(tmp_path / "mute.csv", *ROWS)}
    close = write(tmp_path / "close.csv", *ROWS, spacing_A=10.05)  # within 1 %: headers round

    def spacing(picks: Path, truth: Path, given_A: float | None = None) -> float:
        judged = judge(picks, truth, model=folder, spacing_A=given_A)
        assert judged.notes == (("no spacing given for mute.csv: 7 Å taken, as of the tomograms trained on",)
                                if judged.spacings_A == (7.0,) else ())  # fmt: skip
        return judged.spacings_A[0]

    assert spacing(files["said"], files["mute"], 12.0) == 12
    assert spacing(files["mute"], files["said"], 12.0) == 12
    assert spacing(files["said"], close) == 10
    assert spacing(close, files["said"]) == 10.05
    assert spacing(files["said"], files["mute"]) == 10
    assert spacing(files["mute"], files["said"]) == 10
    assert spacing(files["mute"], files["mute"]) == 7


def test_the_spacing_decides_what_is_near(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", "nanodisc,10,10,10,")
    picks = write(tmp_path / "picks.csv", "nanodisc,14,10,10,")  # 4 voxels off; the radius is 50 Å
    near, far = (judge(picks, truth, diameters_A=DIAMETERS, spacing_A=s).evaluation for s in (10, 15))
    assert (near.localisation.tp, far.localisation.tp) == (1, 0)


def test_without_any_spacing(tmp_path: Path, model: Callable[..., Path]) -> None:
    mute = write(tmp_path / "mute.csv", *ROWS)
    for choice in ({"diameters_A": DIAMETERS}, {"model": model(7.0, 10.0)}, {"model": model()}):
        with pytest.raises(InputError, match=r"neither .*mute\.csv nor its picks say .*: pass --spacing"):
            judge(mute, mute, **choice)  # type: ignore[arg-type]


@pytest.mark.parametrize("given_A", [None, 10.0])
def test_voxels_of_two_sizes_are_not_compared(tmp_path: Path, given_A: float | None) -> None:
    picks = write(tmp_path / "picks.csv", *ROWS, spacing_A=10)
    truth = write(tmp_path / "truth.csv", *ROWS, spacing_A=5)
    with pytest.raises(InputError, match=r"picks for truth\.csv are in voxels of 10 Å, the truth in voxels of 5 Å"):
        judge(picks, truth, diameters_A=DIAMETERS, spacing_A=given_A)


STAR = """data_particles

loop_
_rlnCoordinateX #1
_rlnCoordinateY #2
_rlnCoordinateZ #3
_rlnOriginXAngst #4
_rlnClassNumber #5
12 10 10 20 1
"""


def test_star_files_with_origins_are_read_at_the_spacing_given(tmp_path: Path) -> None:
    star = tmp_path / "picks.star"
    star.write_text(STAR)
    truth = write(tmp_path / "truth.csv", ROWS[0])
    judged = judge(star, truth, diameters_A=DIAMETERS, spacing_A=10)
    np.testing.assert_array_equal(judged.picks[0].positions, [[10, 10, 10]])  # 12 voxels - 20 Å / 10 Å
    assert judged.evaluation.localisation.mean_distance_vx == 0 and judged.average_precision == {}
    with pytest.raises(InputError, match="give the spacing"):
        judge(star, truth, diameters_A=DIAMETERS)


def test_diameters_must_cover_the_classes_in_the_files(tmp_path: Path, model: Callable[..., Path]) -> None:
    truth = write(tmp_path / "truth.csv", *ROWS, spacing_A=10)
    sentence = r"unknown class nanodisc in .*truth\.csv: the classes are 1 ribosome \(numbers count from 1\)"
    with pytest.raises(InputError, match=sentence):
        judge(truth, truth, diameters_A={"ribosome": 280.0})
    with pytest.raises(InputError, match="pass --model, or --diameter"):
        judge(truth, truth)
    doubled = {name: 2 * diameter_A for name, diameter_A in DIAMETERS.items()}
    judged = judge(truth, truth, model=model(10.0), diameters_A=doubled)
    assert {c.name: c.diameter_A for c in judged.classes} == doubled  # what is given goes before the model's


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_shrec_scores_one_tomogram_on_its_occupancy(tmp_path: Path, suffix: str) -> None:
    truth = write(tmp_path / "truth.csv", *ROWS, spacing_A=10)
    volume = np.zeros((20, 20, 80), dtype=np.int16)
    for number, x in enumerate((10, 30, 60), start=1):
        volume[8:13, 8:13, x - 2 : x + 3] = number
    occupancy = tmp_path / f"occupancy.{suffix}"
    np.save(occupancy, volume) if suffix == "npy" else np.savez(occupancy, volume)
    picks = write(tmp_path / "picks.csv", ROWS[0], "ribosome,30,10,12,0.5", "ribosome,70,10,10,0.1")
    judged = judge(picks, truth, diameters_A=DIAMETERS, rule="shrec", occupancy=occupancy)
    assert judged.lines()[-1].startswith("SHREC rule: P 0.667, R 0.667, F1 0.667, AD 1.00 voxels")
    assert strict(judged)["challenge"] == pytest.approx(
        {"rule": "shrec", "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "mean_distance_vx": 1.0,
         "mean_class_f1": 1 / 3}
    )  # fmt: skip
    missed = judge(write(tmp_path / "none.csv"), truth, diameters_A=DIAMETERS, rule="shrec", occupancy=occupancy)
    assert "AD – voxels" in missed.lines()[-1]
    assert strict(missed)["challenge"]["mean_distance_vx"] is None  # type: ignore[index]


def test_shrec_needs_one_pair_and_a_volume(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth" / "a.csv", *ROWS, spacing_A=10)
    with pytest.raises(InputError, match="pass one pair and --occupancy"):
        judge(truth, truth, diameters_A=DIAMETERS, rule="shrec")
    write(tmp_path / "truth" / "b.csv", *ROWS, spacing_A=10)
    with pytest.raises(InputError, match="pass one pair and --occupancy"):
        judge(truth.parent, truth.parent, diameters_A=DIAMETERS, rule="shrec", occupancy=tmp_path / "o.npz")
    with pytest.raises(InputError, match="rule 'shrek' is not known: use one of radius, shrec, czii"):
        judge(truth, truth, diameters_A=DIAMETERS, rule="shrek")


def test_czii_is_stricter_than_the_radius(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.csv", "nanodisc,10,10,10,", spacing_A=10)
    picks = write(tmp_path / "picks.csv", "nanodisc,13,10,10,")  # 30 Å off; half the radius is 25 Å
    judged = judge(picks, truth, diameters_A=DIAMETERS, rule="czii")
    assert judged.evaluation.localisation.tp == 1
    assert judged.lines()[-1] == "CZII rule: F-beta 0.0000"


@pytest.mark.parametrize("name", ["o.npz", "o.npy", "o.mrc"])
def test_an_occupancy_volume_that_is_none(tmp_path: Path, name: str) -> None:
    for content in (b"", b"PK\x03\x04 no archive", b"no volume at all"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"cannot be read as|damaged"):
            read_occupancy(tmp_path / name)
    with pytest.raises(InputError, match=r"gone\.npz cannot be read as an occupancy volume"):
        read_occupancy(tmp_path / "gone.npz")


def test_picks_that_are_nowhere_near_and_empty_files_are_told(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth" / "t1.csv", *ROWS)
    finer = write(tmp_path / "t1.csv", "nanodisc,140,140,140,0.9", "ribosome,240,140,140,0.8")
    said = "\n".join(judge(finer, truth, diameters_A=DIAMETERS, spacing_A=10.0).lines())
    assert "note: no pick is near any true particle: picks reach x 140 to 240, y 140 to 140" in said
    assert "the truth x 10 to 60" in said
    assert "near any true particle" not in "\n".join(judge(truth, truth, diameters_A=DIAMETERS, spacing_A=10.0).lines())
    empty = write(tmp_path / "empty" / "t1.csv")
    assert "note: t1.csv holds no picks" in judge(empty, truth, diameters_A=DIAMETERS, spacing_A=10.0).lines()
