"""The shared cache: what is published is found, by alias, in its namespace, up to the mark, and nothing else."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.equivalence import cache as cache_module
from evo.equivalence.cache import Added, Published, SharedCache
from evo.errors import DamagedRunError, RunLockedError, SchemaError, StorageFullError, UsageError
from evo.space import Observation

SPACE = {"space": "noop", "task": "digits", "backend": "torch 2"}
ROOT = Path(__file__).resolve().parents[3]


def alias(name):
    return str(name).encode().rjust(16, b".")


def function(names, value=1.0, seeds=(1,), rung="search", status="ok", genome=None):
    facts = [(rung, seed, Observation((value + seed,), status)) for seed in seeds]
    return Published([alias(name) for name in names], facts, genome)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "shared.db"


def opened(path, namespace=SPACE, mark=None):
    return SharedCache.open(path, namespace, mark)


def publish(path, *functions, namespace=SPACE):
    with opened(path, namespace) as cache:
        return cache.publish(functions)


def test_a_later_run_finds_what_an_earlier_one_published(path):
    fact = Observation((1.5, math.inf), "ok", (0.5, -1.0), {"loss": [1, 2]}, "", b"digest")
    publish(path, Published([alias("key"), alias("a")], [("full", 2**63 - 1, fact)]), function(["other"], seeds=(1, 3)))
    with opened(path) as cache:
        first, second, nothing = cache.find([[alias("new"), alias("a")], [alias("other")], [alias("none")]])
        assert nothing is None
        assert cache.observations(first, "full", (2**63 - 1,)) == [fact]
        assert cache.observations(first, "search", (2**63 - 1,)) == [None]
        assert cache.observations(second, "search", (3, 2, 1)) == [Observation((4.0,)), None, Observation((2.0,))]
        assert cache.find([[]]) == [None]
        assert len(cache) == 2


def test_nan_and_infinities_survive(path):
    values = (math.nan, -math.inf, -0.0, 5e-324)
    publish(path, Published([alias("key")], [("search", 1, Observation(values, "nan", None, None, "loss is NaN"))]))
    with opened(path) as cache:
        (found,) = cache.observations(cache.find([[alias("key")]])[0], "search", (1,))
    assert [value.hex() for value in found.values] == [value.hex() for value in values]
    assert (found.status, found.message, found.behaviour, found.extra) == ("nan", "loss is NaN", None, None)


@pytest.mark.parametrize("status", ["timeout", "quarantined", "failed"])
def test_what_may_be_the_machines_fault_is_not_kept(path, status):
    mixed = Published([alias("key")], [("search", 1, Observation((), status)), ("search", 2, Observation((2.0,)))])
    assert publish(path, mixed, function(["never"], status=status)) == Added(1, 1, 1)
    with opened(path) as cache:
        assert cache.find([[alias("never")]]) == [None]
        assert cache.observations(cache.find([[alias("key")]])[0], "search", (1, 2)) == [None, Observation((2.0,))]


@pytest.mark.parametrize("status", ["ok", "stopped", "invalid", "nan"])
def test_facts_about_a_function_are_kept(path, status):
    assert publish(path, function(["key"], status=status)) == Added(1, 1, 1)


def test_functions_without_aliases_or_without_facts_are_passed_over(path):
    assert publish(path, function([]), Published([alias("key")], [])) == Added(0, 0, 0)


def test_a_handle_sees_the_cache_as_it_stood_when_it_was_opened(path):
    publish(path, function(["one"], seeds=(1,)))
    with opened(path) as early:
        publish(path, function(["one", "uno"], seeds=(2,)), function(["two"]))
        assert early.publish([function(["three"])]) == Added(1, 1, 1)
        assert early.find([[alias("two")], [alias("three")], [alias("uno")]]) == [None] * 3
        (one,) = early.find([[alias("one")]])
        assert early.observations(one, "search", (1, 2)) == [Observation((2.0,)), None]
        assert len(early) == 1
        mark = early.mark
    with opened(path) as late, opened(path, mark=mark) as resumed:
        assert None not in late.find([[alias("two")], [alias("three")], [alias("uno")]])
        assert late.mark == mark + 2
        assert resumed.find([[alias("two")]]) == [None]
        assert resumed.observations(one, "search", (1, 2)) == [Observation((2.0,)), None]


def test_a_cache_that_ends_before_the_mark_was_replaced(path):
    publish(path, function(["one"]))
    with pytest.raises(DamagedRunError, match="ends at batch 1, but this run began with batch 2"):
        opened(path, mark=2)


@pytest.mark.parametrize("change", [{"task": "letters"}, {"backend": "torch 3"}, {"extra": ""}])
def test_namespaces_do_not_meet(path, change):
    publish(path, function(["key"]))
    assert publish(path, function(["key"], value=9.0), namespace={**SPACE, **change}) == Added(1, 1, 1)
    with opened(path) as mine, opened(path, {**SPACE, **change}) as other:
        one, two = mine.find([[alias("key")]])[0], other.find([[alias("key")]])[0]
        assert mine.observations(one, "search", (1,)) == [Observation((2.0,))]
        assert other.observations(two, "search", (1,)) == [Observation((10.0,))]
        assert len(mine) == len(other) == 1


def test_the_order_of_a_namespaces_entries_does_not_matter(path):
    publish(path, function(["key"]))
    with opened(path, dict(reversed(SPACE.items()))) as cache:
        assert cache.find([[alias("key")]]) != [None]


def test_another_version_of_the_digests_sees_nothing(path, monkeypatch):
    publish(path, function(["key"]))
    monkeypatch.setattr(cache_module, "DIGEST_VERSION", 10**6)
    with opened(path) as cache:
        assert cache.find([[alias("key")]]) == [None]


FUNCTION = st.tuples(st.sets(st.integers(0, 9), min_size=1, max_size=3), st.sets(st.integers(0, 3), min_size=1))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(FUNCTION, max_size=6), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_publishing_again_in_any_order_adds_nothing(tmp_path_factory, runs, random):
    path = tmp_path_factory.mktemp("cache") / "shared.db"
    runs = [[function(sorted(names), seeds=sorted(seeds)) for names, seeds in run] for run in runs]
    for run in runs:
        publish(path, *run)
    with opened(path) as cache:
        mark = cache.mark
        for run in runs:
            again = random.sample(run, len(run))
            assert cache.publish(again) == Added(0, 0, 0)
    with opened(path) as cache:
        assert cache.mark == mark
        for run in runs:
            for entry in run:
                (found,) = cache.find([entry.aliases])
                wanted = [seed for _, seed, _ in entry.observations]
                assert None not in cache.observations(found, "search", wanted)


def test_functions_that_share_an_alias_become_the_one_with_the_smallest_number(path):
    publish(path, function(["a", "b"]), function(["m"], seeds=(7,)))
    publish(path, function(["b", "m", "c"], seeds=(2,)))
    with opened(path) as cache:
        a, m, c, all_three = cache.find([[alias("a")], [alias("m")], [alias("c")], [alias(n) for n in "cma"]])
        assert a == c == all_three < m
        assert cache.observations(a, "search", (1, 2)) == [Observation((2.0,)), Observation((3.0,))]
        assert cache.observations(m, "search", (7,)) == [Observation((8.0,))]


def test_the_first_value_stays(path):
    publish(path, function(["a"], value=1.0))
    assert publish(path, function(["a"], value=5.0)) == Added(0, 0, 0)
    with opened(path) as cache:
        assert cache.observations(cache.find([[alias("a")]])[0], "search", (1,)) == [Observation((2.0,))]


def test_many_functions_are_published_in_portions_and_found_in_one_call(path, monkeypatch):
    monkeypatch.setattr(cache_module, "_PUBLISH_FUNCTIONS", 100)
    with opened(path) as cache:
        added = cache.publish(function([f"{i} key", f"{i} a", f"{i} b"], value=i) for i in range(1050))
        assert added == Added(1050, 3150, 1050)
    with opened(path) as cache:
        found = cache.find([[alias(f"{i} b"), alias(f"{i} unknown")] for i in range(1050)])
        assert len(set(found)) == 1050
        assert all(
            cache.observations(number, "search", (1,)) == [Observation((i + 1.0,))] for i, number in enumerate(found)
        )
        assert cache.mark == 11


def test_a_sample_gives_visible_functions_that_have_a_genome(path):
    publish(path, *[function([i], value=i, seeds=(1, 2), genome=f"[{i}]") for i in range(20)], function(["bare"]))
    publish(path, function(["elsewhere"], genome="[99]"), namespace={"space": "other"})
    with opened(path) as cache:
        publish(path, function(["later"], genome="[98]"))
        drawn = cache.sample(np.random.default_rng(0), 5)
        assert drawn == cache.sample(np.random.default_rng(0), 5)
        assert len({stored.function for stored in drawn}) == 5
        for stored in cache.sample(np.random.default_rng(1), 50):
            (found,) = cache.find([[alias(int(stored.genome[1:-1]))]])
            assert stored.function == found
            assert [(rung, seed) for rung, seed, _ in stored.observations] == [("search", 1), ("search", 2)]
        assert len(cache.sample(np.random.default_rng(1), 50)) == 20


def test_an_empty_cache_has_no_sample(path):
    with opened(path) as cache:
        assert cache.sample(np.random.default_rng(0), 3) == []


# ---------------------------------------------------------------------- what can go wrong


def test_a_file_that_is_no_database_is_damaged(path):
    path.parent.mkdir()
    path.write_bytes(b"this is a text, longer than the header of a database file would be, " * 20)
    with pytest.raises(DamagedRunError) as caught:
        opened(path)
    assert "delete the file" in caught.value.hint


def test_a_file_with_torn_pages_is_damaged(path):
    publish(path, *[function([i], seeds=range(30)) for i in range(100)])
    raw = bytearray(path.read_bytes())
    raw[4096:] = b"\xa5" * (len(raw) - 4096)
    path.write_bytes(raw)
    with pytest.raises(DamagedRunError), opened(path) as cache:
        cache.find([[alias(1)]])


def test_another_programs_database_is_refused_and_left_alone(path):
    path.parent.mkdir()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE mine (x)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(SchemaError, match="another program"):
        opened(path)
    assert path.read_bytes() == before


def test_another_version_of_the_tables_is_refused(path):
    publish(path, function(["a"]))
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version=999")
    database.close()
    with pytest.raises(SchemaError, match="schema version 999"):
        opened(path)


def test_a_place_that_cannot_be_written_is_a_wrong_request(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot create the folder"):
        opened(tmp_path / "file" / "cache.db")
    with pytest.raises(UsageError, match="for writing"):
        opened(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_write_permission_is_a_wrong_request(path):
    publish(path, function(["a"]))
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        with pytest.raises(UsageError):
            publish(path, function(["b"]))
    finally:
        path.parent.chmod(0o755)


def test_a_network_file_system_is_refused(path, monkeypatch):
    monkeypatch.setattr(cache_module, "file_system_of", lambda folder: "nfs4")
    with pytest.raises(UsageError, match="nfs4"):
        opened(path)


def test_a_full_disk_keeps_what_was_there_and_publishing_again_adds_the_rest(path, monkeypatch):
    monkeypatch.setattr(cache_module, "_PUBLISH_FUNCTIONS", 20)
    everything = [function([i], value=i, seeds=range(20)) for i in range(200)]
    with opened(path) as cache:
        cache._database.execute("PRAGMA max_page_count=40")
        with pytest.raises(StorageFullError) as caught:
            cache.publish(everything)
        assert "free some space" in caught.value.hint
        cache._database.execute("PRAGMA max_page_count=1000000")
    with opened(path) as cache:
        kept = len(cache)
        assert 0 < kept < 200
        assert cache.publish(everything).functions == 200 - kept
    with opened(path) as cache:
        assert None not in cache.find([[alias(i)] for i in range(200)])


def test_a_cache_held_by_another_process_is_a_typed_error(path, monkeypatch):
    publish(path, function(["a"]))
    monkeypatch.setattr(cache_module, "BUSY_TIMEOUT_S", 0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with opened(path) as cache:
        assert cache.find([[alias("a")]]) == [1], "readers do not wait for the writer"
        with pytest.raises(RunLockedError):
            cache.publish([function(["b"])])
        holder.execute("ROLLBACK")
        assert cache.publish([function(["b"])]) == Added(1, 1, 1)
    holder.close()


PUBLISHER = """
import sys
from evo.equivalence import cache as module
from evo.equivalence.cache import Published, SharedCache
from evo.space import Observation

path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
module._PUBLISH_FUNCTIONS = 10

def functions():
    for i in range(count):
        print(i, flush=True)
        aliases = [f"{name}{i}".encode().rjust(16, b"."), f"both{i}".encode().rjust(16, b".")]
        yield Published(aliases, [("search", seed, Observation((float(i),))) for seed in (1, ord(name))])

with SharedCache.open(path, {"space": "noop", "task": "digits", "backend": "torch 2"}) as cache:
    cache.publish(functions())
"""


def start_publisher(path, name, count):
    return subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(path), name, str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_two_processes_that_create_and_publish_at_once_lose_nothing_and_share_functions(path):
    publishers = [start_publisher(path, name, 300) for name in "xy"]
    for publisher in publishers:
        _, complaints = publisher.communicate(timeout=120)
        assert publisher.returncode == 0, complaints
    with opened(path) as cache:
        assert len(cache) == 300
        xs, ys, both = (cache.find([[alias(f"{name}{i}")] for i in range(300)]) for name in ("x", "y", "both"))
        assert xs == ys == both
        for i, number in enumerate(both):
            assert cache.observations(number, "search", (1, ord("x"), ord("y"))) == [Observation((float(i),))] * 3


def test_a_publisher_killed_at_any_moment_leaves_a_readable_cache_of_whole_functions(path):
    for attempt in range(3):
        publisher = start_publisher(path, "x", 10**6)
        for _ in range(30 + 17 * attempt):
            publisher.stdout.readline()
        time.sleep(0.013 * attempt)
        publisher.send_signal(signal.SIGKILL)
        publisher.communicate()
        with opened(path) as cache:
            n = len(cache)
            assert n % 10 == 0, "whole portions"
            assert n >= 20
            for i, (x, both) in enumerate(
                zip(*(cache.find([[alias(f"{name}{i}")] for i in range(n)]) for name in ("x", "both")), strict=True)
            ):
                assert x == both is not None
                assert cache.observations(x, "search", (1, ord("x"))) == [Observation((float(i),))] * 2
        database = sqlite3.connect(path)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
    assert publish(path, function(["after"])).functions == 1
