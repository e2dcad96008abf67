"""A project laid out as copick 1.31 lays it out; benchmarks/copick_proof.py has copick itself do it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from etpick.cli import main
from etpick.errors import InputError, OutputError
from etpick.io.copick_project import is_copick_project, read_copick_project
from etpick.io.picks import read_picks, write_picks
from etpick.io.project import load_project
from etpick.io.tomograms import find_tomograms
from etpick.types import FloatArray, Particles

zarr = pytest.importorskip("zarr", reason="zarr is not installed: pip install 'etpick[zarr]'")

GOLDEN = Path(__file__).parent / "golden" / "copick_config.json"
SHAPE = (8, 12, 16)


def write_tomogram(runs: Path, run: str, kind: str = "wbp", spacing_A: float = 10.0) -> Path:
    path = runs / run / f"VoxelSpacing{spacing_A:.3f}" / f"{kind}.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    group.create_array("0", shape=SHAPE, chunks=SHAPE, dtype="f4")[:] = 1
    axes = [{"name": n, "type": "space", "unit": "angstrom"} for n in "zyx"]
    scale = [{"type": "scale", "scale": [spacing_A] * 3}]
    images = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}], "version": "0.4"}]
    group.attrs.update({"multiscales": images})
    return path


def write_places(runs: Path, run: str, name: str, places_vx: FloatArray, who: str = "jane_7") -> Path:
    user, session = who.split("_")
    points = [{"location": dict(zip("xyz", (10 * place[::-1]).tolist(), strict=True))} for place in places_vx]
    path = runs / run / "Picks" / f"{who}_{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"pickable_object_name": name, "user_id": user, "session_id": session, "points": points})
    )
    return path


PLACES = {run: np.array([[1.5, 2.25, n + 1.0], [4.0, 9.0, 12.5]]) for n, run in enumerate(("TS_1", "TS_2"))}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(GOLDEN.read_text().replace("local://ROOT", f"local://{tmp_path}/overlay"))
    for run, places in PLACES.items():
        write_tomogram(tmp_path / "overlay" / "ExperimentRuns", run)
        write_places(tmp_path / "overlay" / "ExperimentRuns", run, "ribosome", places)
    return path


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def changed(config: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    content = json.loads(config.read_text())
    change(content)
    config.write_text(json.dumps(content))
    return config


def test_a_project_is_made_of_the_runs_with_the_diameters_that_copick_tells(tmp_path: Path, config: Path) -> None:
    write_places(tmp_path / "overlay" / "ExperimentRuns", "TS_1", "membrane", PLACES["TS_1"])  # no particle
    result = command("init", config, "--out", tmp_path / "project.toml")
    assert result.exit_code == 0, result.output
    assert "TS_1, wbp.zarr: 2 ribosome" in result.output
    dataset = load_project(tmp_path / "project.toml")
    assert [(c.name, c.diameter_A) for c in dataset.classes] == [("ribosome", 280.0)]
    for item in dataset.items:
        np.testing.assert_allclose(item.particles.positions, PLACES[item.tomogram.name])
        assert (item.tomogram.spacing_A, item.tomogram.shape) == (10.0, SHAPE)


def test_a_diameter_given_goes_before_that_of_copick(tmp_path: Path, config: Path) -> None:
    assert command("init", config, "--out", tmp_path / "p.toml", "--diameter", "ribosome=250").exit_code == 0
    assert load_project(tmp_path / "p.toml").classes[0].diameter_A == 250


def test_picks_without_any_diameter_are_refused(tmp_path: Path, config: Path) -> None:
    changed(config, lambda content: content["pickable_objects"][0].update(radius=None))
    result = command("init", config, "--out", tmp_path / "p.toml")
    assert result.exit_code == 1 and "add --diameter ribosome=Å" in result.output


def test_tomograms_below_a_static_root_go_with_picks_of_the_overlay(tmp_path: Path, config: Path) -> None:
    static = tmp_path / "static" / "ExperimentRuns"
    only_there = write_tomogram(static, "TS_3")
    write_tomogram(static, "TS_1")  # hidden by that of the overlay
    changed(config, lambda content: content.update(static_root=f"file://{tmp_path}/static"))
    write_places(tmp_path / "overlay" / "ExperimentRuns", "TS_3", "ribosome", PLACES["TS_1"])
    project = read_copick_project(config)
    overlay = tmp_path / "overlay" / "ExperimentRuns"
    inside = Path("VoxelSpacing10.000") / "wbp.zarr"
    assert project.runs == ["TS_1", "TS_2", "TS_3"]
    assert project.tomograms() == [overlay / "TS_1" / inside, overlay / "TS_2" / inside, only_there]
    assert command("init", config, "--out", tmp_path / "p.toml").exit_code == 0
    assert [item.tomogram.name for item in load_project(tmp_path / "p.toml").items] == project.runs


def test_of_several_kinds_of_tomograms_one_must_be_named(tmp_path: Path, config: Path) -> None:
    runs = tmp_path / "overlay" / "ExperimentRuns"
    denoised = write_tomogram(runs, "TS_2", "denoised")
    write_tomogram(runs, "TS_2", "wbp", 20.0)
    write_tomogram(runs, "TS_2", "wbp_unet_features")  # what a network made of it
    with pytest.raises(InputError, match=r"of 3 kinds: .*--copick-tomograms, denoised@10 or wbp@10 or wbp@20, or name"):
        find_tomograms([config])
    assert find_tomograms([config], "denoised") == [denoised]
    for kind in ("wbp@10", "wbp@10.000"):
        assert [path.parent.parent.name for path in find_tomograms([config], kind)] == ["TS_1", "TS_2"]
    with pytest.raises(InputError, match="no configuration of one was named"):
        find_tomograms([denoised], "wbp@10")
    with pytest.raises(InputError, match="has no tomograms wbp@7"):
        find_tomograms([config], "wbp@7")


def test_of_several_users_one_must_be_named(tmp_path: Path, config: Path) -> None:
    runs = tmp_path / "overlay" / "ExperimentRuns"
    write_places(runs, "TS_2", "ribosome", PLACES["TS_2"][:1], "tom_0")
    result = command("init", config, "--out", tmp_path / "p.toml")
    assert result.exit_code == 1 and "ribosome of several users or sessions" in result.output
    wrong = command("init", config, "--out", tmp_path / "p.toml", "--copick-picks", "jan/7")
    assert wrong.exit_code == 1 and "no picks of jan/7, but of jane/7, tom/0" in wrong.output
    assert command("init", config, "--out", tmp_path / "p.toml", "--copick-picks", "jane/7").exit_code == 0
    assert [len(item.particles) for item in load_project(tmp_path / "p.toml").items] == [2, 2]
    named = [runs / "TS_2" / "VoxelSpacing10.000" / "wbp.zarr", "--diameter", "ribosome=280"]
    done = command("init", *named, "--out", tmp_path / "q.toml", "--copick-picks", "tom/*")
    assert done.exit_code == 0, done.output
    assert [len(item.particles) for item in load_project(tmp_path / "q.toml").items] == [1]


def test_picks_are_written_into_the_runs(tmp_path: Path, config: Path) -> None:
    for run, places in PLACES.items():
        picks = Particles(places, np.array(["ribosome", "proteasome"]), np.array([0.9, 0.4]), spacing_A=10.0)
        write_picks(tmp_path / "picks" / f"{run}.csv", picks)
    sources = sorted((tmp_path / "picks").iterdir())
    result = command("convert", *sources, config)
    assert result.exit_code == 0, result.output
    for run, places in PLACES.items():
        folder = tmp_path / "overlay" / "ExperimentRuns" / run / "Picks"
        for n, name in enumerate(("ribosome", "proteasome")):
            read = read_picks(folder / f"etpick_0_{name}.json", spacing_A=10.0)
            np.testing.assert_allclose(read.positions, places[[n]])
        assert json.loads((folder / "etpick_0_ribosome.json").read_text())["run_name"] == run
        assert (folder / "jane_7_ribosome.json").is_file()
    again = command("convert", *sources, config)
    assert again.exit_code == 1 and "--overwrite" in again.output
    fewer = command("convert", *sources, config, "--overwrite", "--only", "ribosome")
    assert fewer.exit_code == 0 and "note: etpick_0_proteasome.json of before stay as they were" in fewer.output


def test_etpicks_own_picks_are_no_labels_and_those_of_several_people_are_told(tmp_path: Path, config: Path) -> None:
    runs = tmp_path / "overlay" / "ExperimentRuns"
    write_places(runs, "TS_1", "ribosome", PLACES["TS_1"][:1], "etpick_0")
    write_tomogram(runs, "TS_3")
    write_places(runs, "TS_3", "ribosome", PLACES["TS_1"], "tom_0")
    result = command("init", config, "--out", tmp_path / "p.toml")
    assert result.exit_code == 0 and "note: picks of jane/7, tom/0" in result.output
    assert [len(item.particles) for item in load_project(tmp_path / "p.toml").items] == [2, 2, 2]
    own = command("init", config, "--out", tmp_path / "q.toml", "--copick-picks", "etpick/0")
    assert "left out, no picks beside it: TS_2" in own.output
    assert [len(item.particles) for item in load_project(tmp_path / "q.toml").items] == [1]


def test_picks_that_cannot_be_read_are_not_passed_over(tmp_path: Path, config: Path) -> None:
    (tmp_path / "overlay" / "ExperimentRuns" / "TS_2" / "Picks" / "jane_7_ribosome.json").write_text("{")
    result = command("init", config, "--out", tmp_path / "p.toml")
    assert result.exit_code == 1 and "jane_7_ribosome.json holds no picks" in result.output


@pytest.mark.parametrize(("name", "run", "message"), [
    ("ribosome", "TS_9", "has no run TS_9: it has TS_1, TS_2"),
    ("virus", "TS_2", "has no particles called virus: it has ribosome, proteasome"),
])  # fmt: skip
def test_nothing_is_written_where_copick_would_pass_over_it(
    tmp_path: Path, config: Path, name: str, run: str, message: str
) -> None:
    for tomogram, cls in (("TS_1", "ribosome"), (run, name)):
        picks = Particles(PLACES["TS_1"], np.array([cls] * 2), spacing_A=10.0)
        write_picks(tmp_path / "picks" / f"{tomogram}.csv", picks)
    result = command("convert", *sorted((tmp_path / "picks").iterdir()), config)
    assert result.exit_code == 1 and message in result.output
    assert not list((tmp_path / "overlay").rglob("etpick_0_*"))


@pytest.mark.parametrize(("change", "message"), [
    (lambda content: content.update(overlay_root="s3://bucket/x"), "keeps its files at s3://bucket/x: .*copick sync"),
    (lambda content: content.update(config_type="cryoet_data_portal"), "of the cryoet_data_portal: .*copick sync"),
    (lambda content: content.pop("overlay_root"), "is no configuration of a copick project: overlay_root"),
    (lambda content: content.update(overlay_root="simplecache::s3://b/x"), "keeps its files at simplecache::s3"),
    (lambda content: content["pickable_objects"][0].update(radius="big"), "pickable_objects 0 radius"),
])  # fmt: skip
def test_what_cannot_be_read_is_named(config: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_copick_project(changed(config, change))


def test_only_a_configuration_is_one(tmp_path: Path, config: Path) -> None:
    assert is_copick_project(config)
    assert not is_copick_project(tmp_path / "none.json")
    assert not is_copick_project(next((tmp_path / "overlay").rglob("jane_7_ribosome.json")))


def test_an_empty_project_says_where_it_looked(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(GOLDEN.read_text().replace("ROOT", str(tmp_path / "nothing")))
    with pytest.raises(InputError, match=r"has no tomogram: looked for RUN/VoxelSpacing\*/\*\.zarr in .*nothing"):
        find_tomograms([config])
    with pytest.raises(OutputError, match="has no run TS_1: it has none"):
        read_copick_project(config).refuse_unknown("TS_1", [])
