"""Tables from files: our own .npz, .csv for people and other tools, MQ-Bench-101's pickle."""

from __future__ import annotations

import csv
import io
import math
import os
from pathlib import Path

import numpy as np

from evo.options import did_you_mean
from search_spaces.building.files import replace
from search_spaces.emq.benchmark.errors import BenchmarkError, BenchmarkFileError
from search_spaces.emq.benchmark.files import read_arrays, write_arrays
from search_spaces.emq.benchmark.mqbench101 import read_mqbench101
from search_spaces.emq.benchmark.table import METHODS, Table, make_table

DATA = Path(__file__).parent / "data"
SHIPPED = ("resnet", "mobilenet")
BITS, ACCURACY = "bits:", "accuracy:"


def load(name_or_path: str | os.PathLike[str]) -> Table:
    """A table: one that comes with the package, or of a file.

    Args:
        name_or_path: "resnet" or "mobilenet"; or a file: .npz (`save`, `evo bench build`), .csv (see `read_csv`), or
            .pkl (MQ-Bench-101).

    Raises:
        BenchmarkError: no shipped table has this name.
        BenchmarkFileError: the file is missing or holds something else.
        DamagedBenchmarkError: its checksum is wrong.
    """
    text = os.fspath(name_or_path)
    if text in SHIPPED:
        return read_npz(DATA / f"{text}.npz")
    path = Path(text).expanduser()
    readers = {".npz": read_npz, ".csv": read_csv, ".pkl": read_mqbench101, ".pickle": read_mqbench101}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        hint = did_you_mean(text, SHIPPED) or f"shipped: {', '.join(SHIPPED)}; or a file: {', '.join(readers)}"
        raise BenchmarkError(f"no benchmark is called {text!r}", hint)
    if not path.is_file():
        raise BenchmarkFileError(f"there is no file {path}", "check the path; `evo bench build` writes tables")
    return reader(path)


def save(table: Table, path: str | os.PathLike[str]) -> None:
    """Write a table as .npz, or as .csv.

    Raises:
        BenchmarkError: another suffix.
    """
    path = Path(path)
    if path.suffix == ".npz":
        write_arrays(path, table.arrays(), table.meta())
    elif path.suffix == ".csv":
        replace(path, _csv_text(table).encode())
    else:
        raise BenchmarkError(f"a table cannot be written as {path.name}", "give a name that ends in .npz or .csv")


def read_npz(path: Path) -> Table:
    """The table of a file that `save` wrote; raises as `load`."""
    arrays, meta = read_arrays(path)
    checksum = meta.pop("checksum")
    try:
        value = meta.pop("float_accuracy")
        table = make_table(
            **meta | {"choices": tuple(meta["choices"])},
            **arrays | {"layers": tuple(arrays["layers"].tolist())},
            float_accuracy=math.nan if value is None else value,
        )
    except (KeyError, TypeError) as error:
        raise BenchmarkFileError(f"{path} holds no table: {error}", "give what `evo bench build` wrote") from error
    if table.checksum != checksum:
        raise BenchmarkFileError(f"{path} holds a table of another version", "build it again")
    return table


def read_csv(path: Path) -> Table:
    """A table from a text file of comma-separated values, one configuration a line.

    The first line names the columns: "bits:LAYER" for each layer, in forward order; "accuracy:SEED" for each
    calibration seed (or one "accuracy"), in [0, 1]; and, if wanted, "method" ("nearest" where it is left out). Lines
    before it that start with "#" may say "# key = value" for network, activation_bits, float_accuracy, parameters and
    macs (the latter two: numbers with spaces between them, one a layer).

    Raises:
        BenchmarkFileError: the text is not so, with the line that is not.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchmarkFileError(f"{path} cannot be read as text: {error}", _LAYOUT) from error
    known: dict[str, str] = {}
    start = 0
    for start, line in enumerate(lines):  # noqa: B007 - used below
        if not line.startswith("#"):
            break
        key, separator, value = line[1:].partition("=")
        if separator:
            known[key.strip()] = value.strip()
    records = list(csv.reader(lines[start:]))
    if len(records) < 2:
        raise BenchmarkFileError(f"{path} holds no configuration", _LAYOUT)
    header = [name.strip() for name in records[0]]
    layers = [name[len(BITS) :] for name in header if name.startswith(BITS)]
    seeds = [place for place, name in enumerate(header) if name == "accuracy" or name.startswith(ACCURACY)]
    strange = [n for n in header if not n.startswith((BITS, ACCURACY)) and n not in ("accuracy", "method")]
    if not layers or not seeds or strange or len(set(header)) != len(header):
        wrong = f"unknown or repeated columns {strange or header}" if layers and seeds else "no bits: or no accuracy:"
        raise BenchmarkFileError(f"{path}, line {start + 1}: {wrong}", _LAYOUT)
    columns = [place for place, name in enumerate(header) if name.startswith(BITS)]
    bits, accuracy, method = [], [], []
    for number, record in enumerate(records[1:], start + 2):
        if not record:
            continue
        try:
            if len(record) != len(header):
                raise ValueError(f"{len(record)} values for {len(header)} columns")
            bits.append([int(record[place]) for place in columns])
            accuracy.append([float(record[place]) for place in seeds])
            method.append(record[header.index("method")].strip() if "method" in header else METHODS[0])
        except ValueError as error:
            raise BenchmarkFileError(f"{path}, line {number}: {error}", _LAYOUT) from error
    try:
        return make_table(
            network=known.get("network", path.stem),
            layers=tuple(layers),
            choices=tuple(sorted({b for row in bits for b in row})),
            bits=np.array(bits, np.int64),
            accuracy=np.array(accuracy),
            method=np.array(method),
            activation_bits=int(known.get("activation_bits", 8)),
            parameters=_numbers(known.get("parameters"), len(layers)),
            macs=_numbers(known.get("macs"), len(layers)),
            float_accuracy=float(known.get("float_accuracy", "nan")),
            origin={"file": path.name},
        )
    except (ValueError, OverflowError) as error:
        message, hint = getattr(error, "message", str(error)), getattr(error, "hint", "") or _LAYOUT
        raise BenchmarkFileError(f"{path}: {message}", hint) from error


def _numbers(text: str | None, count: int) -> np.ndarray:
    return np.zeros(count, np.int64) if text is None else np.array([int(word) for word in text.split()], np.int64)


def _csv_text(table: Table) -> str:
    out = io.StringIO()
    known = {
        "network": table.network, "activation_bits": table.activation_bits, "float_accuracy": table.float_accuracy,
        "parameters": " ".join(map(str, table.parameters.tolist())), "macs": " ".join(map(str, table.macs.tolist())),
    }  # fmt: skip
    out.writelines(f"# {key} = {value}\n" for key, value in known.items())
    writer = csv.writer(out, lineterminator="\n")
    seeds = [f"{ACCURACY}{seed}" for seed in range(table.accuracy.shape[1])]
    writer.writerow([*(f"{BITS}{layer}" for layer in table.layers), *seeds, "method"])
    for bits, accuracy, method in zip(table.bits.tolist(), table.accuracy.tolist(), table.method.tolist(), strict=True):
        writer.writerow([*bits, *map(repr, accuracy), method])
    return out.getvalue()


_LAYOUT = (
    "columns bits:LAYER for each layer, accuracy:SEED (shares of 1) for each seed, and method; "
    "see search_spaces.emq.benchmark.read_csv"
)
