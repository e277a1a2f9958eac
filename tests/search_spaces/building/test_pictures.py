"""Images as networks take them: normalised, mirrored, shifted."""

from __future__ import annotations

import numpy as np
import torch

from search_spaces.building.pictures import DEVIATION, MEAN, distorted, normalised


def test_pixels_are_normalised():
    pixels = np.array([[[0, 255]]], np.uint8)
    expected = torch.tensor([[[[-MEAN / DEVIATION, (1 - MEAN) / DEVIATION]]]])
    torch.testing.assert_close(normalised(pixels), expected)


def test_distortions_mirror_and_move_whole_images():
    image = torch.arange(25.0).reshape(1, 1, 5, 5)
    seen = {
        tuple(distorted(image, 1, True, torch.Generator().manual_seed(seed))[0, 0, 1:-1, 1:-1].flatten().tolist())
        for seed in range(200)
    }
    centre = [image[0, 0, 1 + r : 4 + r, 1 + c : 4 + c] for r in (-1, 0, 1) for c in (-1, 0, 1)]
    expected = {tuple(x.flatten().tolist()) for part in centre for x in (part, part.flip(1))}
    assert seen == expected


def test_without_shift_images_are_mirrored_or_left():
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    many = distorted(image.repeat(50, 1, 1, 1), 0, True, torch.Generator().manual_seed(0))
    left = [torch.equal(one, image[0]) for one in many]
    mirrored = [torch.equal(one, image[0].flip(2)) for one in many]
    assert all(a != b for a, b in zip(left, mirrored, strict=True))
    assert 10 < sum(left) < 40
    assert torch.equal(distorted(image, 0, False, torch.Generator()), image)
