"""Proxies are found by name or by module:attr."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from proxies import UnknownProxyError, load_proxy, proxy_names
from proxies.errors import ProxyError
from proxies.quantization import HANDMADE, score
from tests.proxies.quantization.networks import images, small_net

BITS = {"conv1": 2, "conv2": 3, "fc": 4}


def count_bits(model, bits, batch):
    """A proxy as an exported module has it."""
    return sum(bits.values()) + len(batch)


def nothing(model, bits, batch):
    return float("nan")


NUMBER = 3


def test_every_built_in_name_is_the_proxy_of_that_name():
    assert {proxy.name for proxy in HANDMADE} <= set(proxy_names())
    for proxy in HANDMADE:
        assert load_proxy(proxy.name) is proxy


def test_a_function_of_a_module_is_a_proxy():
    assert score(small_net(), BITS, images(5), f"{__name__}:count_bits") == 14.0
    assert score(small_net(), BITS, images(5), count_bits) == 14.0
    with pytest.raises(ProxyError, match="nan"):
        score(small_net(), BITS, images(5), nothing)
    with pytest.raises(ProxyError, match="no bits for layer 'fc'"):
        score(small_net(), {"conv1": 2, "conv2": 3}, images(5), count_bits)


def test_an_installed_package_adds_names(monkeypatch):
    point = importlib.metadata.EntryPoint("mine", f"{__name__}:count_bits", "evo.proxies")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if group == "evo.proxies" else [])
    assert "mine" in proxy_names()
    assert load_proxy("mine") is count_bits


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("hawq_v3", "did you mean 'hawq_v2'"),
        ("zzz", "known: "),
        ("no.such.module:attr", "no.such"),
        (f"{__name__}:absent", "no attribute 'absent'"),
        (f"{__name__}:NUMBER", "no proxy"),
        (":x", "no proxy is called"),
    ],
)
def test_what_is_no_proxy_is_refused(spec, says):
    with pytest.raises(UnknownProxyError, match=says):
        load_proxy(spec)


def test_names_are_listed_without_torch():
    code = "import sys, proxies; proxies.proxy_names(); print([m for m in ('torch', 'numpy') if m in sys.modules])"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"


FILE = """
from dataclasses import dataclass

@dataclass
class Weights:
    value: float = 2.0

def table(model, batch, choices=(2, 3, 4, 8), layers=None):
    names = layers or ["conv1", "conv2", "fc"]
    return {name: {b: Weights().value * b for b in choices} for name in names}

def score(model, bits, batch):
    terms = table(model, batch, tuple(bits.values()), list(bits))
    return sum(terms[name][b] for name, b in bits.items())
"""


def test_a_file_is_a_proxy(tmp_path):
    path = tmp_path / "found one.py"
    path.write_text(FILE)
    proxy = load_proxy(str(path))
    assert (proxy.name, proxy.path) == ("found one", path)
    assert score(small_net(), BITS, images(5), str(path)) == proxy(None, BITS, None) == 18.0
    assert proxy.table(None, None, (2, 4), None)["fc"] == {2: 4.0, 4: 8.0}
    assert load_proxy(str(path)).score is proxy.score
    path.write_text(FILE.replace("2.0", "3.0"))
    assert load_proxy(str(path))(None, BITS, None) == 27.0


def test_files_of_one_name_are_different_proxies(tmp_path):
    for folder, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.py").write_text(f"def score(model, bits, batch):\n    return {value}\n")
    found = [load_proxy(str(tmp_path / folder / "same.py")) for folder in "ab"]
    assert [proxy(None, {}, None) for proxy in found] == [1.0, 2.0]
    assert found[0].table is None


def test_discovered_files_are_known_by_name(tmp_path, monkeypatch):
    (tmp_path / "best_of_all.py").write_text(FILE)
    (tmp_path / "_helper.py").write_text("raise RuntimeError")
    monkeypatch.setattr("proxies.registry.DISCOVERED", tmp_path)
    assert "best_of_all" in proxy_names()
    assert "_helper" not in proxy_names()
    assert load_proxy("best_of_all").name == "best_of_all"
    with pytest.raises(UnknownProxyError, match="did you mean 'best_of_all'"):
        load_proxy("best_of_al")


@pytest.mark.parametrize(
    ("source", "says"),
    [(None, "no file"), ("x = 1", "no function score"), ("1 / 0", "ZeroDivisionError"), ("def (", "SyntaxError"),
     ("def score(m, b, x): ...\ntable = 3", "no function score")],
)  # fmt: skip
def test_files_that_are_no_proxy_are_refused(tmp_path, source, says):
    path = tmp_path / "wrong.py"
    if source is not None:
        path.write_text(source)
    for _ in range(2):  # a failure leaves nothing behind
        with pytest.raises(UnknownProxyError, match=says):
            load_proxy(str(path))
