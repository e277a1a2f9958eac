"""MQ-Bench-101's file: a pickle of {number: {"bit_cfg": "[...]", "acc": ...}}, read without executing anything.

425 configurations of ResNet-18 on ImageNet, published as a release asset of lliai/EMQ-series (v1.0). Its 18 entries
are ResNet-18's stem, its 16 block convolutions and its fc; the three downsampling convolutions take the bits of the
second convolution of their block (entries 6, 10 and 14), which `expand` spells out for torchvision's 21 layers.
"""

from __future__ import annotations

import ast
import io
import math
import pickle
import pickletools
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.emq.benchmark.errors import BenchmarkFileError
from search_spaces.emq.benchmark.table import Table, make_table

_BLOCKS = [f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2)]
RESNET18_ENTRIES = ("conv1", *(f"{block}.conv{number}" for block in _BLOCKS for number in (1, 2)), "fc")
"""The 18 entries by the names that torchvision's ResNet-18 gives those layers."""
RESNET18_GROUPS: Mapping[str, tuple[str, ...]] = {
    name: (name, name.replace("conv2", "downsample.0"))
    if name in ("layer2.0.conv2", "layer3.0.conv2", "layer4.0.conv2")
    else (name,)
    for name in RESNET18_ENTRIES
}
"""Entry to the layers that have its bits: for `proxies.quantization.expand` and `BitConfig.from_groups`."""
_HINT = "MQ-Bench-101 is {number: {'bit_cfg': '[...]', 'acc': number}}, of plain types alone"
_LONGEST = 16 * 2**20
_MOST_STEPS = 1_000_000
_NAMES = frozenset(("GLOBAL", "STACK_GLOBAL"))
_STEPS = """
PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT
STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS
PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET
"""
_PLAIN = frozenset(_STEPS.split())
"""What a pickle of dicts, lists, tuples, strings, numbers, bool and None consists of (`pickletools`)."""
_LONGEST_ROW = 2**16


class _PlainUnpickler(pickle.Unpickler):
    """Builds dict, list, tuple, str, int, float, bool and None; whatever names a class or a function is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to something outside of the file")


def _check_steps(content: bytes) -> None:
    """Refuse, before anything is built, what plain types do not need.

    The unpickler's own `find_class` is not asked about extension codes that something registered before, and a memo
    index of four bytes makes it allocate as many entries; neither gets that far.

    Raises:
        pickle.UnpicklingError, ValueError: it is refused, or no pickle.
    """
    for step, (code, argument, _) in enumerate(pickletools.genops(content)):
        if code.name in _NAMES:
            return  # loading ends at this step: `find_class` refuses every name, and says which
        if code.name not in _PLAIN:
            raise pickle.UnpicklingError(f"it has the step {code.name}, which plain types do not need")
        if step >= _MOST_STEPS:
            raise pickle.UnpicklingError(f"it has more than {_MOST_STEPS} steps")
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= int(argument) <= step:
            raise pickle.UnpicklingError(f"it remembers entry {argument} when it has made at most {step}")


def read_plain_pickle(path: Path) -> Any:
    """The content of a pickle that consists of plain types; nothing in it is executed or imported.

    Raises:
        BenchmarkFileError: it cannot be read, is longer than 16 MiB or a million steps, or asks for anything
            but plain types.
    """
    try:
        if path.stat().st_size > _LONGEST:
            raise BenchmarkFileError(f"{path} is longer than {_LONGEST} bytes", _HINT)
        content = path.read_bytes()
        _check_steps(content)
        return _PlainUnpickler(io.BytesIO(content)).load()
    except OSError as error:
        raise BenchmarkFileError(f"{path} cannot be read: {error.strerror or error}", "check the path") from error
    except BenchmarkFileError:
        raise
    # a crafted pickle makes the unpickler raise nearly anything: types that do not fit, lengths beyond memory
    except (Exception, RecursionError, MemoryError) as error:
        raise BenchmarkFileError(f"{path} is refused: {type(error).__name__}: {error}", _HINT) from error


def read_mqbench101(path: Path) -> Table:
    """The table of MQ-Bench-101's file: one accuracy a configuration; per cents become shares.

    Raises:
        BenchmarkFileError: the file is not so.
    """
    content = read_plain_pickle(path)
    if not isinstance(content, dict) or not content:
        raise BenchmarkFileError(f"{path} holds {type(content).__name__}, not a table of configurations", _HINT)
    bits, accuracy = [], []
    for key, entry in content.items():
        if not isinstance(entry, dict) or not {"bit_cfg", "acc"} <= set(entry):
            raise BenchmarkFileError(f"{path}, entry {_shown(key)}: no 'bit_cfg' or no 'acc'", _HINT)
        where = f"{path}, entry {_shown(key)}"
        bits.append(_row(entry["bit_cfg"], where))
        accuracy.append(_number(entry["acc"], where))
    lengths = {len(row) for row in bits}
    if len(lengths) > 1:
        raise BenchmarkFileError(f"{path}: configurations of {sorted(lengths)} entries", "one network has one length")
    n_layers = lengths.pop()
    named = n_layers == len(RESNET18_ENTRIES)
    table = np.array(bits, np.int64)
    scale = 100.0 if max(accuracy) > 1 else 1.0
    try:
        return make_table(
            network="resnet18" if named else path.stem,
            layers=RESNET18_ENTRIES if named else tuple(f"entry{i}" for i in range(n_layers)),
            choices=tuple(sorted(set(table.reshape(-1).tolist()))),
            bits=table,
            accuracy=np.array(accuracy)[:, None] / scale,
            # BRECQ's rounding is learned
            method=np.full(len(table), "adaround"),
            activation_bits=8,
            parameters=np.zeros(n_layers, np.int64),
            macs=np.zeros(n_layers, np.int64),
            float_accuracy=math.nan,
            origin={"file": path.name, "format": "MQ-Bench-101"},
        )
    except ValueError as error:
        raise BenchmarkFileError(f"{path}: {getattr(error, 'message', error)}", _HINT) from error


def _row(value: Any, where: str) -> list[int]:
    listed = value
    if isinstance(value, str) and len(value) < _LONGEST_ROW:
        try:
            listed = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise BenchmarkFileError(f"{where}: bits {_shown(value)} are no list of numbers", _HINT) from error
    whole = isinstance(listed, list | tuple) and all(isinstance(b, int) and not isinstance(b, bool) for b in listed)
    if not whole or not listed or not all(1 <= b <= 16 for b in listed):
        raise BenchmarkFileError(f"{where}: bits {_shown(value)} are no list of whole numbers from 1 to 16", _HINT)
    return list(listed)


def _number(value: Any, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 100:
        raise BenchmarkFileError(f"{where}: accuracy {_shown(value)} is no number from 0 to 100", _HINT)
    return float(value)


def _shown(value: Any) -> str:
    """A value in a message: cut short before it is spelled out, since a small file may hold a huge one."""
    try:
        return reprlib.repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return f"of type {type(value).__name__}"
