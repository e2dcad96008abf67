import json
import shutil

import pytest
import torch

from etpick.checkpoint import Model, load_model, make_network, save_model
from etpick.config import recipe
from etpick.decision import Decision
from etpick.errors import ModelError
from etpick.ops.calibrate import Calibration
from etpick.types import ParticleClass


@pytest.fixture
def folder(tmp_path):
    config = recipe("fast")
    classes = (ParticleClass("ribosome", 280.0, "#112233"), ParticleClass("proteasome", 150.0))
    decision = Decision(classes, 10.0, Calibration(1.5, (0.1, -0.2)), (0.4, 0.6))
    weights = make_network(config, 2).state_dict()
    save_model(Model(config, decision, weights, {"steps": 3}, {}, ({"step": 1},)), tmp_path / "m")
    return tmp_path / "m"


def test_everything_returns(folder):
    model = load_model(folder)
    assert model.decision.classes[0] == ParticleClass("ribosome", 280.0, "#112233")
    assert model.decision.calibration == Calibration(1.5, (0.1, -0.2))
    assert model.decision.thresholds == (0.4, 0.6)
    assert (model.trained_on, model.history) == ({"steps": 3}, ({"step": 1},))
    assert "network fast" in model.lines()[0]


def test_a_model_holds_no_pickle(folder):
    assert sorted(p.name for p in folder.iterdir()) == ["history.json", "model.json", "weights.safetensors"]
    assert not any(p.read_bytes()[:2] in (b"\x80\x02", b"PK") for p in folder.iterdir())


def damage_weights(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def change(**entries):
    def edit(folder):
        path = folder / "model.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    return edit


DAMAGE = [
    (lambda f: shutil.rmtree(f), "there is no such folder"),
    (lambda f: (f / "model.json").unlink(), "it holds no model.json"),
    (lambda f: (f / "model.json").write_text("{"), "cannot be read"),
    (damage_weights, "is damaged"),
    (lambda f: (f / "weights.safetensors").unlink(), "is damaged"),
    (change(format=99), "model format 99"),
    (change(classes=[{"name": "x"}]), "is damaged"),
]


@pytest.mark.parametrize(("harm", "sentence"), DAMAGE, ids=[s for _, s in DAMAGE])
def test_a_damaged_model_is_named(folder, harm, sentence):
    harm(folder)
    with pytest.raises(ModelError, match=sentence):
        load_model(folder)


def test_weights_of_another_network_are_refused(folder):
    change(classes=[{"name": "a", "diameter_A": 100.0, "color": "#000000", "threshold": 0.5}] * 5)(folder)
    with pytest.raises(ModelError, match="do not fit"):
        load_model(folder).network(torch.device("cpu"))
