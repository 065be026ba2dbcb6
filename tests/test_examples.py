"""The examples run as they stand, in a process of their own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_a_model_is_shipped(tmp_path):
    asked = [sys.executable, str(EXAMPLES / "ship.py"), str(tmp_path)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    out = done.stdout
    dense, pruned, tuned = map(
        float, re.search(r"([\d.]+) % dense, ([\d.]+) % pruned, ([\d.]+) % fine-", out).groups()
    )
    assert pruned < tuned
    assert tuned > dense - 3
    assert f"loaded: top-1 {tuned:.2f} %" in out  # in another process, to the number
    assert re.search(r"sparse (is [\d.]+ times as fast as|and) torch", out)
    assert (tmp_path / "model.prunery").stat().st_size < 40_000
    shipped = (tmp_path / "model.onnx").is_file()
    assert shipped != ("pip install 'prunery[export]'" in out)
