import json
from pathlib import Path

import numpy as np
import pytest

from etpick.desktop.looks import DEFAULT_DIAMETER_A, classes_near, classes_of_model, looks_of, with_diameters
from etpick.errors import InputError
from etpick.types import ParticleClass, Particles


def test_a_project_file_beside_the_picks_tells_diameters_and_colours(picks: Path, project: Path) -> None:
    assert classes_near(picks) == (
        ParticleClass("proteasome", 150, "#00ff00"),
        ParticleClass("ribosome", 280, "#0000ff"),
    )


def test_a_model_in_a_folder_beside_tells_them_too_and_others_files_do_not(tmp_path: Path) -> None:
    picks = tmp_path / "picks" / "t.csv"
    picks.parent.mkdir()
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "model.json").write_text("[1, 2]")
    assert classes_near(picks) == ()
    (tmp_path / "model").mkdir()
    entry = {"name": "ribosome", "diameter_A": 280.0, "color": "#123456", "threshold": 0.5}
    (tmp_path / "model" / "model.json").write_text(json.dumps({"classes": [entry]}))
    assert classes_near(picks) == (ParticleClass("ribosome", 280, "#123456"),)
    assert classes_of_model(tmp_path / "model") == classes_near(picks)
    with pytest.raises(InputError, match="is not a model"):
        classes_of_model(tmp_path / "theirs")


def test_two_models_that_differ_tell_nothing(tmp_path: Path) -> None:
    for name, diameter_A in (("a", 100.0), ("b", 200.0)):
        (tmp_path / name).mkdir()
        entry = {"name": "x", "diameter_A": diameter_A, "color": "#123456"}
        (tmp_path / name / "model.json").write_text(json.dumps({"classes": [entry]}))
    assert classes_near(tmp_path / "t.csv") == ()


def test_a_model_of_other_particles_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    entry = {"name": "capsid", "diameter_A": 600.0, "color": "#123456"}
    (tmp_path / "other" / "model.json").write_text(json.dumps({"classes": [entry]}))
    picks = tmp_path / "picks" / "t.csv"
    assert classes_near(picks, ["ribosome"]) == ()
    assert classes_near(picks, ["particle"]) == classes_near(picks)
    assert classes_near(picks, ["ribosome", "capsid"]) == (ParticleClass("capsid", 600, "#123456"),)


def test_classes_that_nothing_tells_get_the_default_and_a_colour_of_their_own() -> None:
    known = (ParticleClass("b", 100, "#e41a1c"),)
    looks, unknown = looks_of(Particles(np.zeros((3, 3)), np.array(["a", "b", "c"])), known)
    assert unknown == ["a", "c"] and looks["b"] == known[0] and looks["a"].diameter_A == DEFAULT_DIAMETER_A
    assert len({look.color for look in looks.values()}) == 3
    assert with_diameters(known, {"b": 50.0, "z": 60.0})[0] == ParticleClass("b", 50.0, "#e41a1c")
    assert [entry.name for entry in with_diameters(known, {"z": 60.0})] == ["b", "z"]
