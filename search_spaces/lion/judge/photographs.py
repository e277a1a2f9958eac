"""Places in scikit-learn's two sample photographs as random Fourier features, with the colours there."""

from __future__ import annotations

import functools
import importlib.resources
import io

import numpy as np

NAMES = ("china", "flower")
FEATURES = 64
FREQUENCIES = (6.0, 6.0, 0.5)
"""Standard deviations of the frequencies, in cycles over a photograph's width (x), its height (y), and from one
photograph to the other."""
VALIDATION = 2048
_SEED = 20230213


@functools.cache
def examples() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training features (n, 64) and colours (n, 3), then those of the 2,048 pixels held out for validation; float32.

    A place is (x, y, photograph), each in [0, 1]; its features are sine and cosine of 32 fixed random projections
    (Tancik et al. 2020, arXiv:2006.10739, section 5). Colours are in [0, 1]. Which pixels validate is drawn at random,
    once.
    """
    packed = importlib.resources.files("search_spaces.lion.judge.data").joinpath("photographs.npz").read_bytes()
    places, colours = [], []
    with np.load(io.BytesIO(packed)) as archive:
        for number, name in enumerate(NAMES):
            picture = archive[name]
            height, width = picture.shape[:2]
            y, x = np.meshgrid(np.arange(height) / (height - 1), np.arange(width) / (width - 1), indexing="ij")
            places.append(np.stack([x, y, np.full_like(x, number)], axis=-1).reshape(-1, 3))
            colours.append(picture.reshape(-1, 3) / 255.0)
    rng = np.random.Generator(np.random.Philox(_SEED))
    projections = rng.standard_normal((3, FEATURES // 2)) * np.array(FREQUENCIES)[:, None]
    angles = 2.0 * np.pi * (np.concatenate(places) @ projections)
    features = np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
    colour = np.concatenate(colours).astype(np.float32)
    order = rng.permutation(len(features))
    held, rest = order[:VALIDATION], order[VALIDATION:]
    return features[rest], colour[rest], features[held], colour[held]
