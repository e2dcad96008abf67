from pathlib import Path

import numpy as np

from etpick.comparing import compare
from etpick.io.picks import write_picks
from etpick.report.compared import comparison_report
from etpick.types import Particles


def test_scores_are_told_for_each_tomogram_apart(tmp_path: Path) -> None:
    positions = np.array([[10.0, 10, 10], [10, 40, 40], [30, 10, 40]])
    for number, scores in enumerate(([0.9, 0.8, 0.3], [0.5, 0.4, 0.2])):
        picks = Particles(positions, np.array("ball"), np.array(scores), spacing_A=10.0)
        write_picks(tmp_path / "a" / f"t{number}.csv", picks)
        write_picks(tmp_path / "b" / f"t{number}.csv", picks.select(slice(0, 2)))
    report = comparison_report(compare([tmp_path / "a", tmp_path / "b"], diameters_A={"ball": 100.0}), [])
    (table,) = next(section for section in report.sections if section.title == "Scores").tables
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert rows["t0, a"] == ["2", "0.850", "1", "0.300"]
    assert rows["t1, a"] == ["2", "0.450", "1", "0.200"]
    assert rows["t1, b"] == ["2", "0.450", "0", "–"]
