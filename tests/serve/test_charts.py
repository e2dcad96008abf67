import json

import numpy as np
import pytest

from etpick.serve import charts
from etpick.types import Particles


def scored(scores: list[float], names: list[str]) -> Particles:
    return Particles(np.zeros((len(scores), 3)), np.array(names, dtype=np.str_), np.array(scores))


def test_every_scored_pick_is_in_one_bar_of_its_class() -> None:
    picks = {"t1": scored([0.0, 0.019, 1.0, 0.51], ["a", "a", "b", "a"]), "t2": scored([0.5, np.nan], ["b", "b"])}
    figure = charts.histogram(picks, {"a": "#ff0000", "b": "#0000ff"}, 0.4, 0.01)
    counts = {bar["name"]: dict(zip(bar["x"], bar["y"], strict=True)) for bar in figure["data"]}
    assert sum(counts["a"].values()) == 3
    assert sum(counts["b"].values()) == 2  # one has no score
    assert counts["a"][0.01] == 2
    assert counts["b"][0.99] == 1
    line = figure["layout"]["shapes"][0]
    assert (line["x0"], line["editable"]) == (0.4, True)
    json.dumps(figure)  # what the browser is sent


def test_what_plotly_says_of_a_dragged_line() -> None:
    assert charts.dragged_to({"shapes[0].x0": 0.3, "shapes[0].x1": 0.3, "shapes[0].y0": 0}) == pytest.approx(0.3)
    assert charts.dragged_to({"shapes[0].x0": -0.2, "shapes[0].x1": -0.2}) == 0
    assert charts.dragged_to({"xaxis.range": [0, 1]}) is None


def test_curves_of_a_training_that_has_just_begun_and_of_one_that_validated() -> None:
    json.dumps(charts.training_curves((), (), 0))
    figure = charts.training_curves(((1, 2.0), (2, 1.5)), ((2, 0.8),), 4)
    assert figure["data"][0]["y"] == [2.0, 1.5]
    assert figure["data"][1]["x"] == [2]
    assert figure["layout"]["xaxis"]["range"] == [0, 4]
