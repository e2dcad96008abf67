"""What several end-to-end tests start from."""

from pathlib import Path

import pytest
import torch

from etpick.checkpoint import Model, make_network, save_model
from etpick.config import recipe
from etpick.decision import Decision
from etpick.ops.calibrate import identity
from etpick.types import ParticleClass

UNTRAINED_SPACING_A = 20.0


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model of two classes at 20 Å that was never trained and takes anything for a particle."""
    folder = tmp_path_factory.mktemp("untrained") / "model"
    torch.manual_seed(0)
    config, classes = recipe("fast"), (ParticleClass("ribosome", 280.0), ParticleClass("proteasome", 150.0))
    decision = Decision(classes, UNTRAINED_SPACING_A, identity(2), (0.4, 0.4))
    save_model(Model(config, decision, make_network(config, 2).state_dict()), folder)
    return folder
