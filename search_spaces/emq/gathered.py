"""What was gathered from a network, as a value and as a file: no torch here."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search_spaces.emq.samples import Layout, Samples


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """All that a search needs of a network.

    Attributes:
        samples: inputs of proxies.
        handmade: by name of a hand-made proxy, what each layer adds at each bit-width: (choices, layers) float64.
        convolutions: indices into `samples.layers`, in the order in which the model registers them.
    """

    samples: Samples
    handmade: Mapping[str, np.ndarray]
    convolutions: tuple[int, ...]


def write(path: Path, gathered: Gathered) -> None:
    """Write to an .npz file, whole or not at all."""
    samples = gathered.samples
    arrays: dict[str, np.ndarray] = {
        "layers": np.array(samples.layers),
        "choices": np.array(samples.choices, np.int64),
        "convolutions": np.array(gathered.convolutions, np.int64),
    }
    for kind, layout in samples.layouts.items():
        for part in ("rows", "columns", "width", "height"):
            arrays[f"layout/{kind}/{part}"] = getattr(layout, part)
    arrays |= {f"value/{word}": value for word, value in samples.values.items()}
    arrays |= {f"handmade/{name}": table for name, table in gathered.handmade.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(buffer.getvalue())
    partial.replace(path)


def read(path: Path) -> Gathered:
    """The inverse of `write`."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    kinds = {name.split("/")[1] for name in arrays if name.startswith("layout/")}
    layouts = {
        kind: Layout(*(arrays[f"layout/{kind}/{part}"] for part in ("rows", "columns", "width", "height")))
        for kind in sorted(kinds)
    }
    samples = Samples(
        tuple(str(name) for name in arrays["layers"]),
        tuple(int(b) for b in arrays["choices"]),
        layouts,
        {name.removeprefix("value/"): value for name, value in arrays.items() if name.startswith("value/")},
    )
    handmade = {name.removeprefix("handmade/"): v for name, v in arrays.items() if name.startswith("handmade/")}
    return Gathered(samples, handmade, tuple(int(i) for i in arrays["convolutions"]))
