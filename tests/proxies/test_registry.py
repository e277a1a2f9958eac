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
