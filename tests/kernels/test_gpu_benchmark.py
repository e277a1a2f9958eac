"""The GPU benchmark's own programs are what they are called, and a machine without a GPU is told so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import gpu
from tests.kernels import cases
from tests.kernels.running import run


def test_its_adamw_is_the_adamw_of_the_tests():
    state = cases.random_state(np.random.default_rng(0), 1)
    one, _ = run([gpu.lower(gpu.ADAMW)], state, 1.0, cases.SEGMENTS, "numpy")
    other, _ = run([cases.assemble(cases.ADAMW)], state, 1.0, cases.SEGMENTS, "numpy")
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", gpu.PROGRAMS)
def test_its_programs_run(backend, name):
    state = cases.random_state(np.random.default_rng(0), 2, dtype=np.float32)
    _, finite = run([gpu.lower(gpu.PROGRAMS[name][0])] * 2, state, 1.0, cases.SEGMENTS, backend)
    assert finite.shape == (2,)


def test_without_a_gpu_it_says_so(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert gpu.main([]) == 2
    assert "no GPU" in capsys.readouterr().out
