"""AdamW itself beside programs: it is torch's, and never mistaken for a program."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from search_spaces.lion.programs import adamw
from search_spaces.lion.refine.subjects import AdamWSetting, form_of, in_words, name_of, optimizers, statements


def test_a_setting_steps_as_torchs_adamw_does() -> None:
    settings = [AdamWSetting(0.01), AdamWSetting(0.02, 0.3, 0.8, 0.95)]
    ours = optimizers([form_of(s) for s in settings], None)
    rng = np.random.Generator(np.random.Philox(1))
    start, gradients = rng.normal(size=6).astype(np.float32), rng.normal(size=(20, 6)).astype(np.float32)
    weights = np.stack([start, start])
    slots = [np.zeros_like(weights), np.zeros_like(weights)]
    for number, gradient in enumerate(gradients):
        ours.step(number, weights, np.stack([gradient, gradient]), slots, 1.0, np.array([0, 6]))
    for row, s in zip(weights, settings, strict=True):
        parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
        theirs = torch.optim.AdamW([parameter], lr=s.lr, weight_decay=s.weight_decay, betas=(s.beta1, s.beta2))
        for gradient in gradients:
            parameter.grad = torch.from_numpy(gradient)
            theirs.step()
        np.testing.assert_allclose(row, parameter.detach().numpy(), rtol=2e-5, atol=1e-6)


def test_rows_that_are_taken_keep_their_constants() -> None:
    made = optimizers([AdamWSetting(0.01), AdamWSetting(0.02, 0.3, 0.8, 0.95)], None).take(np.array([1]))
    alone = optimizers([AdamWSetting(0.02, 0.3, 0.8, 0.95)], None)
    found = []
    for optimizer in (made, alone):
        weights, gradient = np.ones((1, 3), np.float32), np.full((1, 3), 0.5, np.float32)
        slots = [np.zeros_like(weights), np.zeros_like(weights)]
        optimizer.step(0, weights, gradient, slots, 0.5, np.array([0, 3]))
        optimizer.step(1, weights, gradient, slots, 0.5, np.array([0, 3]))
        found.append(weights)
    np.testing.assert_array_equal(*found)


def test_names_tell_settings_and_programs_apart() -> None:
    settings = [
        AdamWSetting(0.01),
        AdamWSetting(0.01, 0.1),
        AdamWSetting(0.01, beta1=0.8),
        AdamWSetting(0.01, beta2=0.9),
    ]
    names = [name_of(subject) for subject in (*settings, adamw(0.01))]
    assert len(set(names)) == 5
    assert name_of(AdamWSetting(0.01)) == names[0]


@pytest.mark.parametrize(("subject", "count"), [(adamw(), 9), (AdamWSetting(0.01), None)])
def test_a_setting_has_words_but_no_statements(subject: object, count: int | None) -> None:
    assert statements(subject) == count  # type: ignore[arg-type]
    assert "0.01" in in_words(subject)  # type: ignore[arg-type]
