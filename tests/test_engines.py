"""Every way of computing gives the picks that PyTorch gives; what cannot be had is said in a sentence."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from balls import QUICK, balls, dataset
from etpick import quantising
from etpick.checkpoint import load_model, save_model
from etpick.config import recipe
from etpick.engine import TorchEngine, computes_in_bfloat16
from etpick.errors import EtpickError
from etpick.evaluation.metrics import evaluate
from etpick.nn.networks import FastNet, PaperNet, fold_normalisation
from etpick.overview import info
from etpick.picking import Picker
from etpick.training import train_model

pytest.importorskip("nncf", reason="NNCF and OpenVINO are not installed: pip install 'etpick[cpu]'")

from etpick.compiled import OpenVinoEngine, graph_of

CPU = torch.device("cpu")
_PRECISION = "bfloat16" if computes_in_bfloat16(CPU) else "float32"
PYTORCH, OPENVINO = (f"{program} on cpu, {_PRECISION}" for program in ("PyTorch", "OpenVINO"))


@pytest.fixture(scope="module", autouse=True)
def _few_tiles():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etpick.quantising._TILES", 2)
        patch.setattr("etpick.engines.has_amx", lambda: False)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model trained where copies are made."""
    path = tmp_path_factory.mktemp("engines") / "model"
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etpick.training.can_quantise", lambda: True)
        # of 80 steps at a higher rate rounding decided whether a copy was good enough
        train_model(dataset(), recipe(**QUICK, steps=250), path, on_progress=lambda p: said.append(p.message))
    assert any(line.startswith("int8 copy: F1") for line in said)
    return path


def picked(folder, **options):
    tomogram, _ = balls(9)
    return Picker(load_model(folder), **options)(tomogram)


def nearest(picks, others):
    gaps = np.linalg.norm(picks.positions[:, None] - others.positions[None], axis=-1)
    return gaps.min(axis=1), others.scores[gaps.argmin(axis=1)]


def test_openvino_gives_the_picks_of_pytorch(folder):
    plain, other = picked(folder, engine="torch"), picked(folder, engine="openvino")
    assert (plain.engine, other.engine) == (PYTORCH, OPENVINO)
    assert len(plain.picks) == len(other.picks) > 5
    gaps, scores = nearest(plain.picks, other.picks)
    assert gaps.max() < 0.1
    assert scores == pytest.approx(plain.picks.scores, abs=1e-2)


def test_the_int8_copy_made_in_training_finds_the_same_particles(folder):
    plain, int8 = picked(folder, engine="torch"), picked(folder)  # by itself, since it is there
    assert int8.engine == "OpenVINO on cpu, int8"
    agreement = evaluate([int8.picks], [plain.picks], load_model(folder).classes, [10.0]).localisation
    assert agreement.f1 > 0.9
    record = quantising.read_int8(load_model(folder), folder)
    assert record.accepted
    assert record.judged_by == "validation"
    assert record.tiles_of == ("balls0", "balls1")


def test_with_amx_the_int8_copy_is_used_only_when_asked_for(folder, monkeypatch):
    monkeypatch.setattr("etpick.engines.has_amx", lambda: True)
    monkeypatch.setattr("etpick.engines._LARGE_VX", 0)
    assert picked(folder).engine == OPENVINO
    assert picked(folder, engine="int8").engine == "OpenVINO on cpu, int8"


@pytest.mark.parametrize("kind", [FastNet, PaperNet])
def test_a_graph_computes_what_its_network_computes(kind):
    torch.manual_seed(0)
    network = kind(3) if kind is FastNet else kind(3, tile_size=32)
    for _ in range(2):
        network(torch.randn(2, 1, 32, 32, 32))
    network = fold_normalisation(network)
    image = torch.randn(32, 32, 32, generator=torch.Generator().manual_seed(0))
    for mine, theirs in zip(
        OpenVinoEngine(graph_of(network), network)(image), TorchEngine(network, CPU)(image), strict=True
    ):
        assert mine.dtype == theirs.dtype
        assert mine == pytest.approx(theirs, abs=2e-3)


def test_a_copy_of_other_weights_is_not_used(folder, tmp_path):
    model = load_model(folder)
    for name in ("int8.json", "int8.xml", "int8.bin"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    save_model(
        replace(model, weights={k: v + 0 if k != "head.bias" else v + 1 for k, v in model.weights.items()}), tmp_path
    )
    assert quantising.read_int8(load_model(tmp_path), tmp_path) is None
    assert picked(tmp_path).engine == PYTORCH  # so small a tomogram is not worth a new copy


def test_a_copy_is_made_on_first_use_for_a_large_tomogram_and_told_of(folder, tmp_path, monkeypatch):
    save_model(load_model(folder), tmp_path)
    monkeypatch.setattr("etpick.engines.WORTH_VX", 0)
    monkeypatch.setattr("etpick.quantising.ALLOWED_DISAGREEMENT", 0.2)  # of a dozen picks one may differ
    said = []
    first = picked(tmp_path, on_message=said.append)
    assert first.engine == "OpenVINO on cpu, int8"
    assert said[0] == "making an int8 copy of the network on tiles of balls9, once"
    assert "by agreement with float" in said[1]
    assert picked(tmp_path, on_message=said.append).picks.positions == pytest.approx(first.picks.positions)
    assert len(said) == 2


def test_convolutions_stay_in_float_until_the_picks_agree_and_a_bad_copy_is_never_used(folder, tmp_path, monkeypatch):
    save_model(load_model(folder), tmp_path)
    tried = []

    def never(model, engine, judged):
        tried.append(engine.name)
        return 1.0 if engine.name.startswith("PyTorch") else 0.5

    monkeypatch.setattr("etpick.quantising._f1", never)
    monkeypatch.setattr("etpick.quantising._RUNGS", (0, 2))
    monkeypatch.setattr("etpick.engines.WORTH_VX", 0)
    monkeypatch.setattr("etpick.engines._LARGE_VX", 0)
    assert picked(tmp_path).engine == OPENVINO
    assert len(tried) == len(quantising._RUNGS)
    record = quantising.read_int8(load_model(tmp_path), tmp_path)
    assert not record.accepted
    assert len(record.kept_float) == 2 * quantising._RUNGS[-1]
    assert not (tmp_path / "int8.xml").exists()
    with pytest.raises(
        EtpickError, match=r"F1 -0\.500 by agreement with float, 4 convolutions kept in float; not used"
    ):
        picked(tmp_path, engine="int8")


def test_convolutions_named_as_kept_are_not_quantised(folder):
    network = load_model(folder).network(CPU)
    convolutions = quantising._convolutions(graph_of(network))
    tiles = [np.random.default_rng(0).normal(size=(1, 1, 32, 32, 32)).astype(np.float32)]
    graph = quantising._quantised(graph_of(network), tiles, convolutions[:2])
    in_float = [op.get_friendly_name() for op in graph.get_ordered_ops() if has_float_weights(op)]
    assert in_float == list(convolutions[:2])


def has_float_weights(op):
    convolves = "Convolution" in op.get_type_name()
    return convolves and op.input_value(1).get_node().get_type_name() == "Constant"  # int8 ones are scaled first


def test_what_cannot_be_had_is_said(folder, tmp_path, monkeypatch):
    with pytest.raises(EtpickError, match="this model has none"):
        Picker(replace(load_model(folder), folder=None), engine="int8")(balls(9)[0])
    save_model(load_model(folder), tmp_path)
    monkeypatch.setattr("etpick.engines.can_quantise", lambda: False)
    with pytest.raises(EtpickError, match=r"no int8 copy, and to make one takes pip install 'etpick\[cpu\]'"):
        picked(tmp_path, engine="int8")
    monkeypatch.setattr("etpick.compiled.installed", lambda: False)
    with pytest.raises(EtpickError, match="OpenVINO is not installed"):
        picked(tmp_path, engine="openvino")
    monkeypatch.setattr("etpick.engines.installed", lambda: False)
    assert picked(tmp_path).engine == PYTORCH


def test_a_copy_is_judged_on_no_more_than_is_picked_in_minutes():
    class Sized:
        def __init__(self, edge):
            self.volume = np.broadcast_to(np.float32(0), (edge, edge, edge))

    large, small = Sized(1000), Sized(100)
    assert quantising.affordable([large, small]) == [large]
    assert quantising.affordable([small, small, large]) == [small, small]


def test_info_tells_of_the_copy(folder):
    assert any("int8 copy: F1" in line and "by validation" in line for line in info([folder]))


def test_telemetry_is_off(folder):
    code = (
        "import sys; from etpick.compiled import graph_of; from etpick.nn.networks import FastNet; "
        "graph_of(FastNet(1).eval()); import nncf; print(sys.modules['openvino_telemetry'])"
    )
    out = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split()[-1] == "None"
