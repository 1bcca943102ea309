"""Jobs of `deeprig run`: their cards, states and scripts, and what is said of them."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click import unstyle
from click.testing import CliRunner

from deeprig.errors import DeeprigError
from deeprig_cli.run import report
from deeprig_cli.run.command import asked, run
from tasks import driver_absent
from tests.unit.box_scripts import loaded

GPUS = [["0", "GPU-aaaa1111", "RTX 3090"], ["1", "GPU-bbbb2222", "RTX 3090"]]


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The choice of cards, on a box with two of them and nothing at work."""
    with loaded("jobs.gpus") as module:
        answers: dict[str, list[list[str]]] = {"--query-gpu=index,uuid,name": GPUS}
        monkeypatch.setattr(module, "query", lambda what: answers.get(what, []))
        module.answers = answers  # type: ignore[attr-defined]
        yield module


def chosen(cards: ModuleType, *wanted: str, taken: dict[str, str] | None = None) -> list[str]:
    return [card.number for card in cards.choose(list(wanted), taken or {})]


def refused(cards: ModuleType, *wanted: str, taken: dict[str, str] | None = None) -> str:
    with pytest.raises(SystemExit) as ended:
        cards.choose(list(wanted), taken or {})
    return str(ended.value.code)


def test_by_default_a_job_gets_the_cards_on_which_nothing_computes(cards: ModuleType) -> None:
    assert chosen(cards, "idle") == ["0", "1"]
    assert chosen(cards, "idle", taken={"GPU-aaaa1111": "train"}) == ["1"]
    compute = "--query-compute-apps=gpu_uuid,pid,process_name"
    cards.answers[compute] = [["GPU-bbbb2222", "812", "/home/ai/envs/base/bin/python"]]
    assert chosen(cards, "idle") == ["0"]
    said = refused(cards, "idle", taken={"GPU-aaaa1111": "train"})
    assert said == (
        "No GPU is idle: job train on GPU 0 (RTX 3090); python (process 812) on GPU 1 (RTX 3090). "
        "Name one with --gpu, or --gpu none."
    )


def test_a_named_card_is_given_also_while_something_computes_there(cards: ModuleType) -> None:
    assert chosen(cards, "1", "0", "1", taken={"GPU-bbbb2222": "train"}) == ["1", "0"]
    assert chosen(cards, "GPU-bbbb") == ["1"]
    assert chosen(cards, "all", taken={"GPU-bbbb2222": "train"}) == ["0", "1"]
    assert chosen(cards, "none") == []
    assert "There is no GPU '2' here; there are: 0 (GPU-aaaa1111)" in refused(cards, "2")
    assert "There is no GPU 'GPU-' here" in refused(cards, "GPU-")  # it fits both


def test_without_a_card_it_runs_unless_one_is_asked_for(cards: ModuleType) -> None:
    cards.answers.clear()
    assert chosen(cards, "idle") == []
    assert refused(cards, "all") == "There is no GPU here; leave out --gpu."
    assert refused(cards, "0") == "There is no GPU '0' here; there are: none."


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The jobs' records, in a home of this test's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with loaded("jobs.records") as module:
        module.ours()
        yield module


def begun(records: ModuleType, name: str, **values: Any) -> Any:
    job = records.Job(name)
    usual = {"command": "true", "gpus": [], "environment": "base", "notebook": None}
    job.begin({**usual, **values})
    return job


def test_the_state_is_what_can_be_seen_not_what_was_hoped(
    records: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begun(records, "train")
    assert job.state() == "starting"
    job.write("window.json", {"pid": os.getpid()})  # alive, and no window of a job
    assert job.state() == "lost"
    monkeypatch.setattr(
        records, "is_window", lambda pid, name: (pid, name) == (os.getpid(), "train")
    )
    assert job.state() == "starting"  # the login shell reads its files first
    job.begun.touch()
    assert job.state() == "running"
    monkeypatch.setattr(records, "boot", lambda: "another boot")
    assert job.state() == "lost"
    job.write("end.json", {"status": 3, "how": "failed", "at": job.read("job.json")["started"] + 9})
    said = job.to_json()
    assert (said["state"], said["status"], said["seconds"]) == ("failed", 3, 9.0)


def test_a_job_of_an_older_deeprig_says_nothing_of_its_beginning(
    records: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = begun(records, "train")
    record = job.read("job.json")
    del record["marks"]
    job.write("job.json", record)
    job.write("window.json", {"pid": os.getpid()})
    monkeypatch.setattr(records, "is_window", lambda pid, name: True)
    assert job.state() == "running"


@pytest.mark.parametrize("file", [".bash_profile", ".profile", None])
def test_a_command_that_never_began_is_told_with_the_files_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if file:
        (tmp_path / file).touch()
    with loaded("jobs.window") as window:
        said = window.never_began()
    assert said.startswith("the command never began: /etc/profile")
    assert (f"~/{file}" in said) is (file is not None)


def test_what_a_job_said_last_is_without_colours_and_empty_lines(records: ModuleType) -> None:
    job = begun(records, "train")
    assert job.last_words() == ""
    job.log.write_bytes(b"one\n\x1b[31mRuntimeError: CUDA out of memory\x1b[0m\n\n  \n")
    assert job.last_words() == "RuntimeError: CUDA out of memory"


def test_one_before_of_the_same_name_is_kept(records: ModuleType) -> None:
    for text in ("first", "second", "third"):
        begun(records, "train").log.write_text(text)
    assert [job.name for job in records.every()] == ["train"]
    kept = sorted(path.name for path in records.FOLDER.iterdir())
    assert kept == ["train", "train.before"]
    assert (records.FOLDER / "train.before/log").read_text() == "second"


def test_the_script_has_the_environment_and_the_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "envs/base/bin").mkdir(parents=True)
    with loaded("jobs.command") as command:
        assert command.environment(None) == "base"
        with pytest.raises(SystemExit) as ended:
            command.environment("torch")
        assert ended.value.code == "There is no environment 'torch' in ~/envs; there are: base."
        job = command.Job("train")
        job.begin({"environment": "base"})
        text = command.script(job, ["python", "a b.py"], "GPU-1,GPU-2", None)
        assert f"export PATH={tmp_path}/envs/base/bin:$PATH\n" in text
        assert "export CUDA_VISIBLE_DEVICES=GPU-1,GPU-2\n" in text
        assert text.endswith("python 'a b.py'\n")
        subprocess.run(["sh", "-c", text.partition("\n")[0]], check=True)
        assert job.begun.exists()  # before anything else of the command
        text = command.script(job, ["cd x && make"], None, None)
        assert text.endswith("\ncd x && make\n") and "CUDA_VISIBLE_DEVICES" not in text


def test_a_notebook_of_this_machine_goes_along_and_one_of_the_box_does_not(tmp_path: Path) -> None:
    here = tmp_path / "night.ipynb"
    here.write_text("{}")
    assert asked("n", (str(here),), ("idle",), None)["notebook"] == "{}"
    assert asked("n", ("there.ipynb",), ("idle",), None)["notebook"] is None
    assert asked("n", ("python", str(here)), ("idle",), None)["notebook"] is None


def test_a_notebook_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    here = tmp_path / "night.ipynb"
    here.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DeeprigError, match=r"night\.ipynb cannot be read: it is no text"):
        asked("n", (str(here),), ("idle",), None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Take one of: NAME -- COMMAND, --list, --follow NAME, --stop NAME."),
        (["rig1"], "Take one of"),
        (["rig1", "train"], "What shall train run? Write: HOST train -- COMMAND."),
        (["rig1", "train", "--list", "--", "true"], "Take one of"),
        (["rig1", "--follow", "a", "--stop", "b"], "Take one of"),
    ],
)
def test_what_is_asked_must_be_one_thing(words: list[str], said: str) -> None:
    done = CliRunner().invoke(run, words)
    assert (done.exit_code, said in done.output) == (2, True), done.output


JOB = {
    "host": "rig1", "name": "train", "state": "running", "status": None, "started": 1,
    "ended": None, "seconds": 12000.0, "command": "python train.py", "environment": "base",
    "log": "/x/log", "gpus": [{"index": "0", "uuid": "GPU-1", "name": "RTX 3090"}],
    "notebook": None, "said": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"state": "done", "status": 0}, "train on rig1 is done after 3 h 20 min."),
        (
            {"state": "failed", "status": 1, "said": "CUDA out of memory"},
            'train on rig1 failed with status 1 after 3 h 20 min: "CUDA out of memory".',
        ),
        (
            {"state": "stopped", "notebook": "/home/ai/n.ipynb"},
            "train on rig1 was stopped after 3 h 20 min. Its outputs are in /home/ai/n.ipynb.",
        ),
        (
            {"state": "failed", "said": "the command never began: ..."},
            'train on rig1 failed after 3 h 20 min: "the command never began: ...".',
        ),
        ({"state": "lost"}, "train on rig1 was cut off: the box or its window went away"),
    ],
)
def test_the_end_of_a_job_is_a_sentence(changed: dict[str, Any], sentence: str) -> None:
    assert sentence in report.ended({**JOB, **changed})


def test_the_table_has_a_line_for_each_job() -> None:
    long = {**JOB, "name": "b", "gpus": [], "command": "x " * 100, "state": "failed", "status": 2}
    heads, first, second = unstyle(report.table([JOB, long])).splitlines()
    assert heads.split() == ["box", "job", "state", "for", "GPU", "command"]
    assert " ".join(first.split()) == "rig1 train running 3 h 20 min 0 python train.py"
    assert "failed (2)" in second and len(second) < 130


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (59, "59 s"), (60, "1 min"), (12000, "3 h 20 min"), (187200, "2 d 4 h")],
)
def test_a_span_of_time_is_said_in_two_units(seconds: float | None, words: str) -> None:
    assert report.span(seconds) == words


def test_jobs_are_work_and_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scope = "/user.slice/user-1000.slice/user@1000.service/app.slice/deeprig-job-train.scope"
    service = "/user.slice/user-1000.slice/user@1000.service/app.slice/deeprig-jobs.service"
    with loaded("lib.workload") as work:
        there = [
            work.Process(10, "bash", "ai", scope),
            work.Process(11, "python", "ai", scope),
            work.Process(12, "tmux: server", "ai", service),
            work.Process(13, "python3", "ai", service),
        ]
        monkeypatch.setattr(work, "cards", lambda pid: ["/dev/nvidia0"] if pid == 11 else [])
        assert work.jobs(there) == ["job train of ai"]
        assert work.on_a_card(there) == work.of_people(there, "") == []
        # Whoever takes the driver out asks for both.
        left = driver_absent.footprint(repository_stays=False)
        assert eval(left.work, {**vars(work), "there": there}) == ["job train of ai"]
