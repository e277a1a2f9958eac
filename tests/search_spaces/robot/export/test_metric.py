"""An exported metric stands alone and computes, for every metric, what the package computes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from array import array

import pytest

from evo.errors import UsageError
from proxies.network import METRICS, score
from search_spaces.robot.export.metric import metric_source
from search_spaces.robot.export.probe import probe_batch, probe_model
from search_spaces.robot.export.slicing import Library, undefined
from search_spaces.robot.stored import Scale, StoredPool

NAMES = tuple(METRICS)
ALONE = """
import importlib.util, json, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("evo", "search_spaces", "proxies", "kernels", "scipy"):
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
found = {}
for path in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("m", path)
    module = importlib.util.module_from_spec(spec); sys.modules["m"] = module
    spec.loader.exec_module(module)
    module.self_test()
    model, batch = module.probe_model(), module.probe_batch()
    found[path] = [module.metrics(model, batch, seed=3), module.score(model, batch, seed=3)]
print(json.dumps(found))
"""


def pool(names, **scale) -> StoredPool:
    scales = tuple(Scale(**{"log": None, "low": -1.0, "high": 3.0, **scale}) for _ in names)
    columns = tuple(array("d", [0.0, 1.0]) for _ in names)
    return StoredPool("cells on images", ("a", "b"), tuple(names), columns, scales, {}, "digest")


def source(names, weights=None, **scale):
    return metric_source(pool(names, **scale), weights or [0.5] * len(names), 0, "64 images", "", {"run": "r"})


def test_each_metric_alone_and_all_together_are_the_packages(tmp_path):
    """In one process without our packages: imports take longer than what is tested."""
    files = {name: tmp_path / f"{name}.py" for name in NAMES}
    for name, path in files.items():
        path.write_text(source([name]))
    everything = tmp_path / "all_metrics.py"
    everything.write_text(source(NAMES))
    paths = [str(path) for path in (*files.values(), everything)]
    done = subprocess.run([sys.executable, "-c", ALONE, *paths], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = score(probe_model(), probe_batch(), seed=3)
    for name, path in files.items():
        assert found[str(path)][0] == {name: pytest.approx(expected[name], rel=1e-9, nan_ok=True)}
    values, total = found[str(everything)]
    assert values == {name: pytest.approx(value, rel=1e-9, nan_ok=True) for name, value in expected.items()}
    terms = [0.5 * (value + 1.0) / 4.0 for value in expected.values() if math.isfinite(value)]
    assert total == pytest.approx(sum(terms), rel=1e-9)


@pytest.mark.parametrize("names", [["params"], ["snip"], list(NAMES)], ids=["params", "snip", "all"])
def test_nothing_is_left_undefined(names):
    assert undefined(source(names)) == set()


def test_what_a_metric_does_not_need_is_not_in_it():
    text = source(["params", "l2_norm"])
    assert "class Watching" not in text
    assert "def zen" not in source(["snip"])
    assert len(text) < len(source(["snip"])) < len(source(NAMES))


def test_weights_of_zero_leave_a_metric_out():
    text = source(["params", "snip"], [0.0, -0.25])
    assert '"params"' not in text
    assert '"snip": -0.25' in text


@pytest.mark.parametrize(
    "scale", [{"log": 2.0}, {"ranks": (1.0, 2.0, 2.0, 5.0), "low": 1.0, "high": 4.0}, {"low": 1.0, "high": 1.0}]
)
def test_scales_are_those_of_the_pool(scale):
    import numpy as np

    from search_spaces.robot.scales import scaled

    module: dict = {"__name__": "exported"}
    sys.modules["exported"] = type(sys)("exported")
    exec(compile(source(["params"], **scale), "exported", "exec"), module)
    for value in (-7.5, 0.0, 2.0, 3.0, 1e9, math.nan, math.inf):
        expected = scaled(np.array([value]), pool(["params"], **scale).scales[0])[0]
        assert module["scaled"](value, module["SCALES"]["params"]) == expected


def test_what_cannot_be_exported_is_an_error():
    with pytest.raises(UsageError, match="all weights are 0"):
        source(["snip"], [0.0])
    with pytest.raises(UsageError, match="bananas cannot be computed here"):
        source(["bananas"])


def test_two_definitions_of_one_name_are_an_error():
    library = Library()
    library.add("proxies.network.flops")
    with pytest.raises(Exception, match="both define Flops"):
        library.add("proxies.network.flops")
