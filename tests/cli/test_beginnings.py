"""The first seconds of a command: help, the version, Ctrl-C, the first line, and what is refused at once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cli_kit import prunery
from lab_kit import ONE_EPOCH, linux, raw

import prunery as package
from prunery.cli import app

COMMANDS = sorted(command.callback.__name__ for command in app.registered_commands)
LOST = """
import time
print("imported now", flush=True)
try:
    time.sleep(60)
except BaseException:  # as compiled modules do
    raise SystemError("something else") from None
"""


def started(folder, *args):
    """The command in a process of its own, with the modules of the folder before others."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", "prunery", *map(str, args)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        preexec_fn=_heeding_ctrl_c,
    )


def _heeding_ctrl_c():
    """Let SIGINT act as in a terminal; what runs in the background of a script ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def study(folder, **changes):
    """A small study's file in the folder."""
    (folder / "s.yaml").write_text(yaml.safe_dump(raw(task=ONE_EPOCH, seeds=1, **changes)))
    return "s.yaml"


def test_short_help_is_help(tmp_path):
    assert len(COMMANDS) > 10
    for command in ([], *([name] for name in COMMANDS)):
        short, long = (prunery(*command, flag, cwd=tmp_path) for flag in ("-h", "--help"))
        assert short == long
        assert (short[0], short[3]) == (0, False)


def test_the_version(tmp_path):
    assert prunery("--version", cwd=tmp_path) == (0, f"prunery {package.__version__}\n", "", False)


@pytest.mark.parametrize("module", ["typer", "torch"])
def test_ctrl_c_during_an_import_is_one_line(tmp_path, module):
    (tmp_path / f"{module}.py").write_text(LOST)
    process = started(tmp_path, "run", study(tmp_path), "--store", "s")
    while "imported now" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "stopped by Ctrl-C\n")


def test_ctrl_c_while_a_spec_is_made_is_one_line(tmp_path):
    text = "import time\ndef f():\n    print('made now', flush=True)\n    time.sleep(60)\n"
    (tmp_path / "s.py").write_text(text)
    process = started(tmp_path, "plan", "s.py:f")
    while "made now" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "stopped by Ctrl-C\n")


@linux
def test_a_run_says_something_within_two_seconds(tmp_path):
    process = started(tmp_path, "run", study(tmp_path), "--store", "s", "--workers", 1)
    line = process.stdout.readline()
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    ticks = sum(map(int, stat.rsplit(")", 1)[1].split()[11:13]))  # in user and kernel mode
    process.kill()
    process.communicate()
    assert line.startswith("study small: ")
    assert ticks / os.sysconf("SC_CLK_TCK") < 2, "seconds of the processor, whatever else it does"


@pytest.mark.parametrize("name", ["a.zip", "a.jsonl", "a.gz", "a"])
def test_an_archive_of_another_ending_is_refused_before_anything_is_read(tmp_path, name):
    status, out, errors, _ = prunery("archive", "nowhere", "-o", name, cwd=tmp_path)
    assert (status, out, os.listdir(tmp_path)) == (2, "", [])
    assert errors.startswith(f"error: an archive in {name}: its name does not end in .jsonl.gz.")
