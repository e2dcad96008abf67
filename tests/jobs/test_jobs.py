"""Jobs are processes with a folder: real trainings and pickings of seconds, stopped, killed and taken up again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from waiting import TINY, ended, wait_for

from etpick.checkpoint import load_model
from etpick.errors import InputError
from etpick.jobs import JobQueue, process, status
from etpick.jobs.record import PROCESS, new_job


def test_a_training_tells_how_it_goes_and_the_picking_behind_it_starts_when_it_is_done(
    queue: JobQueue, project: Path, tmp_path: Path
) -> None:
    model, picks = tmp_path / "model", tmp_path / "picks"
    training = queue.add("train", project=project, out=model, steps=6, **TINY)
    picking = queue.add("pick", model=model, tomograms=[project.parent / "t0.mrc"], out=picks, min_score=0.0)
    assert status(picking).state == "waiting"
    assert queue.position(picking) == 1
    known = wait_for(training, ended)
    assert (known.state, known.step, known.steps, known.share) == ("done", 6, 6, 1.0), known.sentence
    assert str(model) in known.sentence
    assert [step for step, _ in known.f1s] == [3, 6]
    assert known.losses[-1][0] == 6
    assert all(loss > 0 for _, loss in known.losses)
    assert any("working spacing" in message for message in known.messages)
    assert training.preview.read_bytes().startswith(b"\x89PNG")
    assert load_model(model).trained_on["steps"] == 6
    known = wait_for(picking, ended)  # nobody called `advance`: the training did when it ended
    assert known.state == "done", known.sentence
    (row,) = known.tomograms
    assert (row.name, row.state, row.share) == ("t0", "done", 1.0)
    assert row.picks == len((picks / "t0.csv").read_text().splitlines()) - 1


def test_a_stopped_training_keeps_its_state_and_goes_on(queue: JobQueue, project: Path, tmp_path: Path) -> None:
    """Started by a program that has gone, as a server does that is restarted."""
    model = tmp_path / "model"
    code = (
        "import sys; from etpick.jobs import JobQueue; "
        f"JobQueue(sys.argv[1]).add('train', project=sys.argv[2], out=sys.argv[3], steps=100000, **{TINY})"
    )
    subprocess.run([sys.executable, "-c", code, str(queue.folder), str(project), str(model)], check=True)
    (job,) = queue.jobs()
    known = wait_for(job, lambda s: s.step >= 2)
    assert known.state == "running"
    assert known.minutes_left is not None
    with pytest.raises(InputError, match="has not ended"):
        queue.remove(job)
    queue.stop(job)
    assert status(job).state in ("stopping", "stopped")
    known = wait_for(job, ended)
    assert known.state == "stopped"
    assert known.can_resume
    before = known.step
    queue.resume(job)
    known = wait_for(job, lambda s: s.step > before)
    assert known.state == "running"
    assert [s for s, _ in known.losses] == sorted({s for s, _ in known.losses})
    running = process.find(job)
    assert running is not None
    running.terminate()  # as a cluster does
    assert wait_for(job, ended).state == "stopped"


def test_a_killed_worker_is_a_failure_that_says_so_and_the_next_job_starts(
    queue: JobQueue, project: Path, tmp_path: Path
) -> None:
    first = queue.add("train", project=project, out=tmp_path / "a", steps=100000, **TINY)
    second = queue.add("train", project=tmp_path / "nowhere.toml", out=tmp_path / "b")
    third = queue.add("train", project=project, out=tmp_path / "c")
    queue.stop(third)
    assert status(third).state == "stopped"
    worker = wait_for(first, lambda s: s.state == "running" and process.find(s.job) is not None)
    os.kill(json.loads((first.folder / PROCESS).read_text())["pid"], signal.SIGKILL)
    known = wait_for(first, ended)
    assert worker.job == first
    assert known.state == "failed"
    assert "killed" in known.sentence
    assert not known.can_resume
    with pytest.raises(InputError, match="nothing to go on from"):
        queue.resume(first)
    assert queue.advance() == second
    known = wait_for(second, ended)
    assert known.state == "failed"
    assert "no project file" in known.sentence
    assert "Traceback" not in known.sentence + second.output
    assert status(third).state == "stopped"
    queue.remove(first)
    assert [job.name for job in queue.jobs()] == [second.name, third.name]


def test_another_program_with_the_number_of_a_dead_worker_is_not_taken_for_it(tmp_path: Path) -> None:
    job = new_job(tmp_path / "0001-train", "train", {"out": str(tmp_path / "model")})
    job.tell("queued")
    own = psutil.Process()
    (job.folder / PROCESS).write_text(json.dumps({"pid": own.pid, "began": own.create_time()}))
    assert process.find(job) == own
    (job.folder / PROCESS).write_text(json.dumps({"pid": own.pid, "began": own.create_time() - 60}))
    assert process.find(job) is None
    assert status(job).state == "failed"


def test_two_who_open_a_queue_see_the_same_and_start_a_job_once(queue: JobQueue, project: Path, tmp_path: Path) -> None:
    job = queue.add("train", project=tmp_path / "nowhere.toml", out=tmp_path / "model")
    again = JobQueue(queue.folder)
    assert [other.name for other in again.jobs()] == [job.name]
    assert again.advance() is None
    wait_for(job, ended)
    assert [e["event"] for e in job.events()].count("began") == 1
    with pytest.raises(InputError, match="no name"):
        again.job("../jobs")


def test_a_half_written_line_and_a_stray_file_do_no_harm(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    job = new_job(tmp_path / "0001-pick", "pick", {"tomograms": ["/a/t1.mrc", "/a/t2.mrc"], "out": "/b"})
    job.tell("queued")
    job.tell("began")
    job.tell("picked", name="t1", picks=7, remarks=[])
    with (job.folder / "progress.jsonl").open("a") as file:
        file.write('{"time": 1, "ev')
    (known,) = queue.statuses()
    assert [(t.name, t.state, t.picks) for t in known.tomograms] == [("t1", "done", 7), ("t2", "waiting", None)]
    assert known.share == 0.5
    assert time.time() - job.created < 60
