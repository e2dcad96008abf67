"""The doctor: what is there is told with its version, what is missing with what it is for."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from etpick import doctor
from etpick.cli import main
from etpick.doctor import EXTRAS, examine, optional_extras, program, required_packages, works

ROOT = Path(__file__).parents[1]


def by_topic(findings):
    return {finding.topic: finding for finding in findings}


def test_a_machine_that_runs_these_tests_is_fit_for_etpick(tmp_path):
    findings = by_topic(examine(tmp_path))
    assert works(list(findings.values()))
    assert findings["PyTorch"].found == torch.__version__
    assert findings["threads"].found.startswith(str(torch.get_num_threads()))
    assert str(tmp_path) in findings["disk"].found
    assert {"RELION", "Chromium", "SLURM", "memory", "processor"} <= set(findings)


def test_a_missing_package_is_named_and_etpick_cannot_work():
    found = required_packages(["numpy>=1.26", "no-such-package>=2", "other; extra == 'zarr'"])
    assert found.broken
    assert found.found == "missing: no-such-package"
    assert not works([found])


def test_a_missing_extra_says_what_it_is_for_and_how_to_get_it():
    requirements = ["numpy", 'click; extra == "docs"', "no-such-package; extra == 'zarr'"]
    docs, zarr = optional_extras(requirements)
    assert docs.found == "installed"
    assert "pip install" not in docs.remark
    assert zarr.found == "without no-such-package"
    assert "OME-Zarr" in zarr.remark
    assert "pip install 'etpick[zarr]'" in zarr.remark
    assert works([docs, zarr])


def test_every_extra_is_explained():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) <= set(EXTRAS)


def test_another_program_is_asked_for_its_version(tmp_path, monkeypatch):
    path = tmp_path / "relion_refine"
    path.write_text("#!/bin/sh\necho RELION version: 3.1.3\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert program("RELION", "relion_refine", "averages").found == "3.1.3"
    monkeypatch.setenv("PATH", "")
    missing = program("RELION", "relion_refine", "averages")
    assert missing.remark == "optional: averages"
    assert not missing.broken


def test_a_pytorch_that_does_not_work_is_told_not_raised(tmp_path):
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.12: cannot open shared object file')\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from etpick.cli import main; main(['doctor', '--json'])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    answer = json.loads(run.stdout)
    assert run.returncode == 1, run.stderr
    assert not answer["works"]
    assert "libcudart" in by_topic([doctor.Finding(**f) for f in answer["findings"]])["PyTorch"].found


def test_the_command_shows_one_table_and_speaks_json():
    shown = CliRunner().invoke(main, ["doctor"])
    assert shown.exit_code == 0, shown.output
    assert "etpick works here" in shown.output
    told = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).output)
    assert told["works"] is True
    assert all(finding["topic"] in shown.output for finding in told["findings"])


@pytest.mark.parametrize(
    ("cpu", "faster"),
    [
        ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, True),
        ({"avx512_bf16": True, "cpu_name": "Intel Xeon"}, False),
        ({"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, True),
        ({}, False),
    ],
)
def test_bfloat16_is_told_as_picking_uses_it(monkeypatch, cpu, faster):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu, raising=False)
    assert ("computes in bfloat16" in by_topic(examine())["processor"].remark) is faster
