"""`etpick submit` on a SLURM cluster of one node, which the tests start for themselves."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from etpick.checkpoint import STATE, load_model
from etpick.cli import main
from etpick.cli.submit import _without_arguments
from etpick.cluster import Resources, Work, _parameters, minutes_of, resumed

SMALL = ("--cpus", 1, "--memory", 1)
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES State=UP
"""


def etpick(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def wait_until(true: Callable[[], object], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.3)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """SLURM's own programs, with this machine as the only node."""
    paths = f"{os.environ['PATH']}:/usr/sbin"
    if missing := [p for p in ("munged", "slurmctld", "slurmd", "srun") if shutil.which(p, path=paths) is None]:
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client munge")
    if os.geteuid() != 0:
        pytest.skip("SLURM's daemons need root here")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(256))
    key.chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    text = CONFIGURATION.format(folder=folder, host=host, ports=free_ports(2))
    (folder / "slurm.conf").write_text(text)
    files = {"socket": "munge.socket", "key-file": "munge.key", "log-file": "munge.log", "pid-file": "munge.pid",
             "seed-file": "munge.seed"}  # fmt: skip
    munged = ["munged", "--force", *(f"--{option}={folder}/{name}" for option, name in files.items())]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patch.setenv("PATH", paths)
        try:
            for command in (munged, ["slurmctld"], ["slurmd"]):
                subprocess.run(command, check=True, capture_output=True)
            wait_until(lambda: "idle" in subprocess.run(["sinfo", "-h"], capture_output=True, text=True).stdout)
            yield
        finally:
            for name in ("slurmd", "slurmctld", "munge"):
                if (file := folder / f"{name}.pid").exists():
                    os.kill(int(file.read_text()), signal.SIGTERM)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with three tomograms and a project of two of them."""
    monkeypatch.chdir(tmp_path)
    assert etpick("simulate", "t", "--count", 3, "--shape", 32, 64, 64, "--spacing", 20).exit_code == 0
    (tmp_path / "t" / "tomo_002.csv").unlink()
    classes = ("--diameter", "ribosome=280", "--diameter", "proteasome=150")
    assert etpick("init", "t", *classes).exit_code == 0
    return tmp_path


@pytest.mark.usefixtures("slurm")
def test_tomograms_are_shared_among_jobs(here: Path, untrained: Path) -> None:
    done = etpick("submit", *SMALL, "--jobs", 2, "--wait", "pick", untrained, "t", "--out", "picks")
    assert done.exit_code == 0, done.output
    assert "2 jobs submitted" in done.output and "2 of 2 ended" in done.output
    assert len(list((here / "picks").glob("tomo_00?.csv"))) == 3
    said = [file.read_text() for file in sorted((here / "slurm").glob("*_0_log.err"))]
    assert [[name in one for name in ("tomo_000", "tomo_001", "tomo_002")] for one in said] == [
        [True, False, True], [False, True, False],
    ]  # fmt: skip


@pytest.mark.usefixtures("slurm")
def test_a_training_that_is_stopped_goes_on_where_it_was(here: Path) -> None:
    tiny = ("--steps", 60, "--validations", 6, "--patch", 24, "--batch", 1, "--no-int8")
    said = etpick("submit", *SMALL, "train", "project.toml", "--out", "model", *tiny).output
    number = said.split()[1].rstrip(":")
    wait_until((here / "model" / "history.json").exists)  # after the first of six validations
    subprocess.run(["scancel", "--signal", "USR2", number], check=True)  # as submitit has SLURM do before the limit
    wait_until(lambda: "PENDING" in in_queue(number))
    assert (here / "model" / STATE).exists()
    subprocess.run(["scontrol", "update", f"JobId={number}", "StartTime=now+5"], check=True)  # else in two minutes
    wait_until(lambda: not in_queue(number))
    log = (here / "slurm" / f"{number}_0_log.err").read_text()
    assert "stopped after step" in log
    assert load_model(here / "model").trained_on["steps"] == 60
    assert not (here / "model" / STATE).exists()


def in_queue(number: str) -> str:
    return subprocess.run(["squeue", "-h", "-o", "%T", "-j", number], capture_output=True, text=True).stdout


@pytest.mark.usefixtures("slurm")
def test_what_a_failed_job_said_is_told(here: Path, untrained: Path) -> None:
    (here / "t" / "tomo_001.mrc").write_bytes(b"no tomogram")
    done = etpick("submit", *SMALL, "--wait", "pick", untrained, "t", "--out", "picks")
    assert done.exit_code == 1
    assert "1 of 1 jobs failed, the first of them" in done.output
    assert "1 of 3 tomograms were not picked: " in done.output and "tomo_001.mrc" in done.output
    refused = etpick("submit", *SMALL, "--partition", "nowhere", "pick", untrained, "t", "--out", "more")
    assert refused.exit_code == 1 and "SLURM refused the job" in refused.output and "partition" in refused.output


@pytest.mark.parametrize(("command", "message"), [
    (["pick", "model", "t", "--edge", "far"], "'far' is not a valid float"),
    (["pikc"], "'pikc' is no command of etpick that runs on a cluster"),
    (["serve", "project.toml"], "'serve' is no command of etpick that runs on a cluster"),
    (["--jobs", "2", "train", "p.toml", "--out", "m"], "--jobs shares the tomograms of pick: train is one job"),
    (["--time", "soon", "doctor"], "'soon' is no time: give minutes, H:MM:SS or D-HH:MM:SS"),
    (["--time", "0", "doctor"], "'0' is no time"),
    (["--slurm", "=em", "doctor"], "'=em' is not NAME=VALUE"),
    (["--jobs", "2", "pick", "model", "t", "--share", "1/4"], "leave out --share"),
])  # fmt: skip
def test_what_is_wrong_is_told_before_anything_is_submitted(
    command: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("model", "t", "project.toml", "p.toml"):
        Path(name).touch()
    done = etpick("submit", *command)
    assert done.exit_code == 2 and message in done.output
    missing = etpick("submit", "train", "nowhere.toml", "--out", "m")
    assert missing.exit_code == 1 and "no project nowhere.toml: nothing is there" in missing.output


def test_what_a_job_is_given_is_what_was_asked_for_and_slurms_own_options_go_first() -> None:
    more: dict[str, str | bool] = {"cpus-per-task": "8", "exclusive": True}
    given = _parameters([["pick"]], Resources(minutes=6, gpus=2, after="7", more=more))
    assert given["slurm_signal_delay_s"] == 120  # a third of the time, not more than five minutes
    assert given["gpus_per_node"] == 2 and given["mem_gb"] == 16
    assert given["slurm_srun_args"] == ["--cpus-per-task=8"]
    asked = {"requeue": True, "dependency": "afterok:7", "kill_on_invalid_dep": "yes"}
    assert given["slurm_additional_parameters"] == asked | {"cpus_per_task": "8", "exclusive": True}
    assert "mem_gb" not in _parameters([["pick"]], Resources(more={"mem-per-cpu": "4G"}))


def test_the_options_of_a_command_are_told_from_what_it_is_about() -> None:
    words = ("model", "a.mrc", "--out", "b.mrc", "--gold", "c.mrc", "--edge=50", "--device", "cpu")
    options = ["--out", "b.mrc", "--gold", "--edge=50", "--device", "cpu"]
    assert _without_arguments(main.commands["pick"], words) == options


def test_a_command_that_was_done_when_told_to_stop_is_not_begun_again(tmp_path: Path) -> None:
    ends_well = ["sh", "-c", "trap 'exit 0' INT; echo; while :; do sleep 0.05; done"]
    for command, left in ((ends_well, []), (["sh", "-c", "echo; exec sleep 60"], ["doctor"])):
        work = Work(["doctor"], tmp_path)
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline()
            work._process = process
            assert work.checkpoint().function.arguments == left
    Work([], None)()  # does nothing


def test_a_job_whose_node_is_taken_waits_to_be_ended_instead_of_failing(here: Path) -> None:
    """SLURM puts back a job that it ends, and not one that fails on being told."""
    tiny = ["train", "project.toml", "--out", "model", "--steps", "5000", "--patch", "24", "--batch", "1", "--no-int8"]
    code = f"from etpick.cluster import Work; Work({tiny}, None)()"
    job = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert job.stderr is not None
    try:
        assert "working spacing" in job.stderr.readline()
        os.killpg(job.pid, signal.SIGTERM)  # as SLURM does, to the command as well
        assert any("stopped after step" in line for line in job.stderr)
        time.sleep(2)
        assert job.poll() is None
        assert (here / "model" / STATE).exists()
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.communicate()


def test_without_slurm_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = etpick("submit", "doctor")
    assert done.exit_code == 1 and "no SLURM here (no srun on PATH)" in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "minutes"), [("90", 90), ("1:30:00", 90), ("0:00:30", 1), ("2-12:00:00", 3600)])
def test_times_are_those_of_sbatch(text: str, minutes: int) -> None:
    assert minutes_of(text) == minutes


def test_a_command_goes_on_only_where_it_left_something(tmp_path: Path) -> None:
    train = ["train", "p.toml", "--out", str(tmp_path / "m"), "--overwrite"]
    assert resumed(train, tmp_path / "m") == train
    (tmp_path / "m").mkdir()
    assert resumed(train, tmp_path / "m") == train  # killed before its first state
    (tmp_path / "m" / STATE).touch()
    assert resumed(train, tmp_path / "m") == [*train[:-1], "--resume"]
    pick = ["pick", "m", "t", "--share", "1/2", "--resume"]
    assert resumed(pick, tmp_path) == pick
    anew = ["pick", "m", "t", "--overwrite"]
    assert resumed(anew, tmp_path) == anew  # else picks of before would be taken for its own
    assert resumed(["demo", "d"], tmp_path) == ["demo", "d"]


def test_shares_are_all_tomograms_once(here: Path, untrained: Path) -> None:
    names = []
    for share in ("1/4", "2/4", "3/4"):
        done = etpick("pick", untrained, "t", "--out", here / share.replace("/", "of"), "--share", share)
        assert done.exit_code == 0, done.output
        names += [path.stem for path in (here / share.replace("/", "of")).glob("*.csv")]
    assert sorted(names) == ["tomo_000", "tomo_001", "tomo_002"]
    assert "is in another share" in etpick("pick", untrained, "t", "--out", here / "n", "--share", "4/4").output
    wrong = etpick("pick", untrained, "t", "--share", "5/4")
    assert wrong.exit_code == 2 and "'5/4' is not K/N" in wrong.output
