"""A call in a process of its own that is watched: what it raises, takes, writes elsewhere and runs."""

import faulthandler
import os
import random
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from prunery.errors import PruneryError

MOST_SECONDS, MOST_MB = 5.0, 512
_KILL_SECONDS = 60
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate")
_RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "os.fork", "os.forkpty")
_CODE = ("os", "posix", "subprocess", "builtins")


@dataclass(frozen=True)
class One:
    """One input to one reader, and how that ended: `problem` is "" where all is well."""

    reader: str
    what: str
    ended: str
    problem: str
    seconds: float
    megabytes: float


def watched(scratch, name, make, seed):
    """Return how a reader ended: `make(draw)` makes its input in a new folder, and returns what reads it."""
    scratch.mkdir()
    said, say = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(said)
        os._exit(_child(scratch, make, seed, say))
    os.close(say)
    began = time.monotonic()
    pid, status, used = 0, 0, None
    while not pid and time.monotonic() - began < _KILL_SECONDS:
        pid, status, used = os.wait4(child, os.WNOHANG)
        time.sleep(0.005)
    if not pid:
        os.kill(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
    with os.fdopen(said) as text:
        ended, _, problem = text.read().partition("\n")
    seconds, megabytes = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    if status:
        problem = problem or f"its process ended with {status}"
    if seconds > MOST_SECONDS or megabytes > MOST_MB:
        problem = problem or f"it took {seconds:.1f} s and {megabytes:.0f} MB"
    return One(name, f"seed {seed}", ended or "killed", problem.strip(), seconds, megabytes)


def _child(scratch, make, seed, say):
    """Make the input, then read it under watch; say how that ended."""
    os.chdir(scratch)
    faulthandler.disable()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    pages = int(Path("/proc/self/statm").read_text().split()[5]) if Path("/proc/self/statm").exists() else 0
    limit = pages * os.sysconf("SC_PAGE_SIZE") + (2 << 30)
    # so that a bomb does no harm here; not of addresses: what draws charts reserves more than there are
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    draw, seen = random.Random(seed), []
    try:
        read = make(draw)
        watching = _watch(str(scratch), seen)
        try:
            read()
            ended = "read"
        except PruneryError as error:
            ended = type(error).__name__
        watching.clear()
        problem = f"it did {seen[0]}" if seen or (scratch / "hacked").exists() else ""
    except BaseException:
        ended, problem = "raised", traceback.format_exc()[-1500:]
    os.write(say, f"{ended}\n{problem}".encode(errors="replace")[:4000])
    return 0


def _watch(scratch, seen):
    """Note what is written outside the scratch folder and what is run, until the list returned is emptied."""
    on = [True]

    def hook(event, args):
        if not on:
            return
        if event in _RUNS or (event == "pickle.find_class" and args[0] in _CODE):
            seen.append(f"{event} {args!r}"[:200])
        opened = event == "open" and isinstance(args[2], int) and args[2] & _WRITES
        if (opened or event in _CHANGES) and isinstance(args[0], str | os.PathLike):
            path = os.path.abspath(os.fspath(args[0]))
            if not path.startswith((scratch, "/dev/null", "/proc/self")):
                seen.append(f"{event} {path}")

    sys.addaudithook(hook)
    return on
