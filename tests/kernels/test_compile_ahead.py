"""The Triton kernels are accepted by the compiler for a real device, not only by the interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.kernels.conftest import HAS_TRITON


@pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")
def test_the_kernels_compile_for_an_h100(tmp_path):
    code = "import json\nfrom kernels.programs.triton_path import compile_ahead\nprint(json.dumps(compile_ahead(90)))"
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert all(size["binary"] > 1000 for size in json.loads(done.stdout).values())
