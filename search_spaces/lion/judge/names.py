"""The held-out tasks by name: what a command line's help can list without importing torch."""

from __future__ import annotations

from collections.abc import Mapping

HELD_OUT: Mapping[str, str] = {
    "vit": "vision transformer, Fashion-MNIST",
    "characters": "character transformer, jargon text",
    "autoencoder": "dense autoencoder, Fashion-MNIST",
    "photographs": "coordinates to colours, two photographs",
    "tumours": "graph convolution, measurements of tumours",
}
"""Titles by name, in the order of tables: model and data."""
