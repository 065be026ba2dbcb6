"""Running the command line in a process of its own."""

import os
import subprocess
import sys

from lab_kit import HERE

CALL = """
import sys
from prunery.cli import main
sys.argv = ["prunery", *sys.argv[1:]]
try:
    main()
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""


def prunery(*args, cwd):
    """The exit status, output, error output, and whether torch was imported."""
    path = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", CALL, *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "100", "PYTHONPATH": os.pathsep.join(path)},
    )
    *errors, torch = done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, "\n".join(errors), torch == "True"
