"""The contract tests of a search space: a pytest class that every space's own tests derive from.

    class TestLion(SpaceContract):
        @pytest.fixture(scope="class")
        @classmethod
        def space(cls):
            return Lion(LionOptions(steps=5))

Each method of `SearchSpace` is held to what `evo/space.py` promises. Give small options: the evaluator runs on a
handful of genomes, several times.
"""

from __future__ import annotations

import itertools
import json
import math
import pickle
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from evo.seeds import Streams, replicate_seed
from evo.space import BaseSpace, Figure, Observation, Preparation, Request, Rung, Variation
from evo.testing.compare import Space, arrangements, bits, close, has_crossover, python, recipe, text


class SpaceContract:
    """Derive from it, override the fixture `space`, and every promise of the contract is tested.

    Attributes:
        n_genomes: how many genomes the tests draw.
        n_evaluated: how many of them are evaluated; keep it small where evaluation is dear.
        exports: False for a space that writes no module.
        export_without: top-level modules of the project that the exported module must do without; they are made
            impossible to import before it is loaded.
    """

    n_genomes: ClassVar[int] = 24
    n_evaluated: ClassVar[int] = 5
    exports: ClassVar[bool] = True
    export_without: ClassVar[tuple[str, ...]] = ("evo", "search_spaces", "proxies", "kernels")

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> Space:
        """The space under test, with options that make it quick."""
        raise NotImplementedError(f"{cls.__name__} must override the fixture `space`")

    @pytest.fixture(scope="class")
    @classmethod
    def prepared(cls, space: Space, tmp_path_factory: pytest.TempPathFactory) -> Any:
        """What `prepare` returns when its work runs in this process."""
        return space.prepare(
            Preparation(
                tmp_path_factory.mktemp("prepared"),
                lambda function, items: [function(item) for item in items],
                lambda done, total, what: None,
            )
        )

    @pytest.fixture(scope="class")
    @classmethod
    def genomes(cls, space: Space) -> list[Any]:
        """Seed genomes, samples, and chains of mutants and crossings of them."""
        streams, drawn = Streams(20), list(space.seeds())[: cls.n_genomes // 2]
        for i in range(cls.n_genomes - len(drawn)):
            if i % 3 == 0:
                drawn.append(space.sample(streams(i, "sample")))
            elif i % 3 == 2 and has_crossover(space) and len(drawn) > 1:
                drawn.append(space.crossover(drawn[-1], drawn[-2], streams(i, "crossover")).genome)
            else:
                drawn.append(space.mutate(drawn[-1], streams(i, "mutate")).genome)
        return drawn

    @pytest.fixture(scope="class")
    @classmethod
    def evaluated(cls, space: Space, genomes: list[Any]) -> list[Any]:
        """The genomes that the evaluator is asked about: those that can be valid at all."""
        valid = [g for g in genomes if space.canonical(g) is not None]
        assert valid, "no genome drawn has a canonical key: `sample` or `mutate` makes invalid genomes alone"
        return valid[: cls.n_evaluated]

    # What the space declares.

    def test_declarations_are_complete(self, space: Space) -> None:
        assert space.name
        assert space.name == space.name.lower()
        names = [o.name for o in space.objectives]
        assert names
        assert len(set(names)) == len(names)
        assert not space.objectives[0].cost, "hurdles and targets read the first objective: it must be observed"
        assert all(o.direction in ("minimise", "maximise") for o in space.objectives)
        rungs = [r.name for r in space.rungs]
        assert rungs
        assert len(set(rungs)) == len(rungs)
        assert all(r.replicates >= 1 and (r.hurdle is None or 0 <= r.hurdle < 1) for r in space.rungs)

    def test_options_round_trip_through_json_and_reject_unknown_keys(self, space: Space) -> None:
        from pydantic import TypeAdapter, ValidationError

        adapter = TypeAdapter(type(space.options))
        assert adapter.validate_python(json.loads(json.dumps(asdict(space.options)))) == space.options
        with pytest.raises(ValidationError):
            adapter.validate_python({"no_such_option": 1})

    def test_namespace_is_a_mapping_of_strings_that_options_fix(self, space: Space) -> None:
        namespace = space.namespace()
        assert isinstance(namespace, Mapping)
        assert all(isinstance(k, str) and isinstance(v, str) for k, v in namespace.items())
        assert dict(type(space)(space.options).namespace()) == dict(namespace)

    # Genomes are values.

    def test_genomes_round_trip_through_json_text(self, space: Space, genomes: list[Any]) -> None:
        for genome in genomes:
            written = text(space, genome)
            back = space.decode(json.loads(written))
            assert back == genome
            assert type(back) is type(genome)
            assert text(space, back) == written
            assert space.canonical(back) == space.canonical(genome)

    def test_genomes_are_hashable(self, space: Space, genomes: list[Any]) -> None:
        """A hashable genome is an immutable one, as far as Python can tell."""
        for genome in genomes:
            hash(genome)

    def test_costs_are_json_numbers_for_the_cost_objectives(self, space: Space, genomes: list[Any]) -> None:
        for genome in genomes:
            costs = space.costs(genome)
            assert json.loads(json.dumps(dict(costs), allow_nan=False)) == dict(costs)
            assert all(isinstance(v, int | float) for v in costs.values())
            missing = {o.name for o in space.objectives if o.cost} - set(costs)
            assert not missing, f"no value for the cost objective {missing}"

    def test_describe_and_summary_are_text(self, space: Space, genomes: list[Any]) -> None:
        for genome in genomes:
            assert isinstance(space.describe(genome), str)
            assert space.describe(genome).strip()
            summary = space.summary(genome)
            assert isinstance(summary, str)
            assert summary.strip()
            assert "\n" not in summary

    # Variation.

    def test_sample_is_pure(self, space: Space) -> None:
        for i in range(self.n_genomes):
            once, again = (space.sample(Streams(7)(i, "sample")) for _ in range(2))
            assert once == again
            self.check_member(space, once)

    def test_samples_differ(self, space: Space) -> None:
        drawn = {text(space, space.sample(Streams(7)(i, "sample"))) for i in range(self.n_genomes)}
        assert len(drawn) > 1, "every sample is the same: `sample` does not use its generator"

    def test_mutate_is_pure_and_stays_in_the_space(self, space: Space, genomes: list[Any]) -> None:
        for i, genome in enumerate(genomes):
            self.check_variation(space, partial(space.mutate, genome), (genome,), i)

    def test_mutants_differ(self, space: Space, genomes: list[Any]) -> None:
        mutants = [space.mutate(g, Streams(9)(i, "mutate")).genome for i, g in enumerate(genomes)]
        assert any(m != g for m, g in zip(mutants, genomes, strict=True)), "no mutation changed its genome"

    def test_crossover_is_pure_and_stays_in_the_space(self, space: Space, genomes: list[Any]) -> None:
        if not has_crossover(space):
            pytest.skip("the space has no crossover")
        for i, (a, b) in enumerate(itertools.pairwise(genomes)):
            self.check_variation(space, partial(space.crossover, a, b), (a, b), i)

    def test_no_method_draws_from_a_global_generator(self, space: Space, genomes: list[Any]) -> None:
        def draws(seed: int) -> list[str]:
            np.random.seed(seed)  # noqa: NPY002 - the global generator is what must not matter
            random.seed(seed)
            rng = Streams(3)
            return [text(space, space.sample(rng(i, "sample"))) for i in range(4)] + [
                text(space, space.mutate(g, rng(i, "mutate")).genome) for i, g in enumerate(genomes[:4])
            ]

        assert draws(1) == draws(2)

    # Identity.

    def test_canonical_is_bytes_or_none(self, space: Space, genomes: list[Any]) -> None:
        for genome in genomes:
            key = space.canonical(genome)
            assert key is None or (isinstance(key, bytes) and key)
            assert space.canonical(genome) == key

    def test_canonical_is_the_same_in_another_process(self, space: Space, genomes: list[Any]) -> None:
        """Under another hash seed: a set or a dict of strings that leaks its order into the key shows here."""
        code = (
            "import json, sys; from pydantic import TypeAdapter; import importlib\n"
            "given = json.load(sys.stdin); cls = getattr(importlib.import_module(given['module']), given['name'])\n"
            "space = cls(TypeAdapter(cls.Options).validate_python(given['options']))\n"
            "keys = [space.canonical(space.decode(g)) for g in given['genomes']]\n"
            "json.dump([None if k is None else k.hex() for k in keys], sys.stdout)"
        )
        here = [None if (k := space.canonical(g)) is None else k.hex() for g in genomes]
        for hash_seed in ("1", "2"):
            assert json.loads(python(code, stdin=recipe(space, genomes), PYTHONHASHSEED=hash_seed)) == here

    def equivalents(self, space: Space, genomes: list[Any]) -> list[tuple[Any, Any]]:
        """Pairs of genomes with one canonical key. Override to add pairs that are written differently."""
        first: dict[bytes, Any] = {}
        pairs = []
        for genome in genomes:
            key = space.canonical(genome)
            if key is not None:
                pairs.append((first.setdefault(key, genome), space.decode(json.loads(text(space, genome)))))
        return pairs

    def test_equal_canonical_keys_mean_equal_fingerprints(self, space: Space, genomes: list[Any]) -> None:
        pairs = self.equivalents(space, genomes)
        assert all(space.canonical(a) == space.canonical(b) is not None for a, b in pairs)
        left = space.fingerprint([a for a, _ in pairs])
        right = space.fingerprint([b for _, b in pairs])
        assert (left is None) == (right is None)
        if left is not None:
            for i, (a, b) in enumerate(pairs):
                assert close(left, right, i), f"one key, two behaviours:\n{space.describe(a)}\n--\n{space.describe(b)}"

    def test_fingerprints_have_the_stated_shapes(self, space: Space, genomes: list[Any]) -> None:
        prints = space.fingerprint(genomes)
        if prints is None:
            return
        assert prints.values.dtype == np.float64
        assert prints.values.ndim == 2
        assert len(prints.values) == len(genomes)
        columns = prints.values.shape[1]
        assert np.shape(prints.bits) in ((), (columns,))
        assert prints.valid is None or np.shape(prints.valid) == (len(genomes),)
        assert prints.groups is None or np.shape(prints.groups) == (columns,)
        assert np.all((np.asarray(prints.bits) >= 0) & (np.asarray(prints.bits) <= 52))

    def test_a_fingerprint_does_not_depend_on_its_batch(self, space: Space, genomes: list[Any]) -> None:
        whole = space.fingerprint(genomes)
        if whole is None:
            return
        backwards = space.fingerprint(genomes[::-1])
        assert np.array_equal(backwards.values[::-1], whole.values, equal_nan=True)
        for i, genome in enumerate(genomes):
            alone = space.fingerprint([genome])
            assert np.array_equal(alone.values[0], whole.values[i], equal_nan=True)
            if whole.valid is not None:
                assert bool(alone.valid[0]) == bool(whole.valid[i])

    # Evaluation.

    def requests(self, genomes: Sequence[Any], rung: Rung, salt: int = 0) -> list[Request]:
        """One request a genome, with the seeds that the engine would give."""
        seeds = tuple(replicate_seed(rung.name, r, salt) for r in range(rung.replicates))
        return [Request(i, genome, rung.name, seeds) for i, genome in enumerate(genomes)]

    def test_an_evaluator_gives_one_observation_a_seed(self, space: Space, prepared: Any, evaluated: list[Any]) -> None:
        evaluator, width = space.evaluator(prepared), sum(not o.cost for o in space.objectives)
        for rung in space.rungs:
            requests = self.requests(evaluated, rung)
            answers = evaluator.evaluate(requests)
            assert [len(a) for a in answers] == [len(r.seeds) for r in requests]
            for observation in (o for answer in answers for o in answer):
                assert isinstance(observation, Observation)
                assert observation.status in ("ok", "invalid", "failed")
                if observation.status == "ok":
                    assert len(observation.values) == width
                    assert all(isinstance(v, float) for v in observation.values)
                json.dumps(observation.extra)
        lengths = {len(o.behaviour) for a in answers for o in a if o.behaviour is not None}
        assert len(lengths) <= 1, f"behaviour descriptors of lengths {lengths}"

    def test_two_seeds_give_two_observations(self, space: Space, prepared: Any, evaluated: list[Any]) -> None:
        """Each observation belongs to its own seed: asked for together or alone, it is the same."""
        rung, evaluator = space.rungs[0], space.evaluator(prepared)
        first, second = (replicate_seed(rung.name, r) for r in (0, 1))
        both = evaluator.evaluate([Request(0, evaluated[0], rung.name, (first, second))])[0]
        alone = [evaluator.evaluate([Request(0, evaluated[0], rung.name, (s,))])[0][0] for s in (first, second)]
        assert [bits(o) for o in both] == [bits(o) for o in alone]

    def test_evaluation_does_not_depend_on_who_shares_the_call(
        self, space: Space, prepared: Any, evaluated: list[Any]
    ) -> None:
        """Permuted, split and padded, on one evaluator and on a fresh one: equal to the bit."""
        for rung in space.rungs:
            requests = self.requests(evaluated, rung)
            evaluator = space.evaluator(prepared)
            expected = [[bits(o) for o in answer] for answer in evaluator.evaluate(requests)]
            for name, variant in arrangements(requests).items():
                got: dict[int, Any] = {}
                for call in variant:
                    for request, answer in zip(call, evaluator.evaluate(call), strict=True):
                        got[request.id] = [bits(o) for o in answer]
                assert [got[r.id] for r in requests] == expected, f"rung {rung.name}, {name}"
            fresh = space.evaluator(prepared).evaluate(requests)
            assert [[bits(o) for o in answer] for answer in fresh] == expected, f"rung {rung.name}, a fresh evaluator"

    def test_an_evaluator_pickles(self, space: Space, prepared: Any, evaluated: list[Any]) -> None:
        evaluator = space.evaluator(pickle.loads(pickle.dumps(prepared)))
        copy = pickle.loads(pickle.dumps(evaluator))
        requests = self.requests(evaluated[:2], space.rungs[0])
        expected = [[bits(o) for o in a] for a in evaluator.evaluate(requests)]
        assert [[bits(o) for o in a] for a in copy.evaluate(requests)] == expected

    def test_seed_genomes_evaluate_to_numbers(self, space: Space, prepared: Any) -> None:
        seeds = list(space.seeds())
        if not seeds:
            pytest.skip("the space has no seed genomes")
        evaluator = space.evaluator(prepared)
        for rung in space.rungs:
            for seed, answer in zip(seeds, evaluator.evaluate(self.requests(seeds, rung)), strict=True):
                for observation in answer:
                    assert observation.status == "ok", f"{space.summary(seed)}: {observation.message}"
                    assert not any(math.isnan(v) for v in observation.values)

    # What people get.

    def test_export_imports_without_this_project(self, space: Space, evaluated: list[Any], tmp_path: Path) -> None:
        if not self.exports:
            pytest.skip("the space exports nothing")
        origin = {"run": "contract", "candidate": 0}
        written = space.export(evaluated[0], tmp_path / "out" / "found.py", origin)
        assert written.is_file()
        code = (
            "import importlib.util, sys\n"
            "class Block:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            f"        if name.split('.')[0] in {self.export_without!r}: raise ImportError('blocked: ' + name)\n"
            "sys.meta_path.insert(0, Block())\n"
            f"spec = importlib.util.spec_from_file_location('found', {str(written)!r})\n"
            "module = importlib.util.module_from_spec(spec); sys.modules['found'] = module\n"
            "spec.loader.exec_module(module); print('imported')"
        )
        assert python(code, cwd=tmp_path) == "imported"

    def test_a_genome_can_be_shown_without_torch_or_ray(self, space: Space, genomes: list[Any]) -> None:
        """`evo show` must answer at once, so importing and describing may not pull in what evaluates."""
        code = (
            "import importlib, json, sys\n"
            "given = json.load(sys.stdin); cls = getattr(importlib.import_module(given['module']), given['name'])\n"
            "assert not {'torch', 'ray'} & set(sys.modules), 'import'\n"
            "space = cls() if given['plain'] else None\n"
            "assert not {'torch', 'ray'} & set(sys.modules), 'construction'\n"
            "for g in given['genomes'] if space else ():\n"
            "    genome = space.decode(g); space.describe(genome); space.summary(genome); space.costs(genome)\n"
            "print(sorted({'torch', 'ray'} & set(sys.modules)))"
        )
        given = {**recipe(space, genomes[:3]), "plain": space.options == type(space).Options()}
        if not given["plain"]:  # options are JSON, but pydantic itself is not to be imported here
            code = code.replace("cls() if given['plain'] else None", "cls(cls.Options(**given['options']))")
        assert python(code, stdin=given) == "[]"

    def test_figures_are_figures(self, space: Space) -> None:
        """Without a run there may be none; a class that overrides `figures` tests it on a run of its own."""
        if type(space).figures is BaseSpace.figures:
            assert all(isinstance(f, Figure) for f in space.figures(None))

    # What the tests above share.

    def check_member(self, space: Space, genome: Any) -> None:
        """Override to add what makes a genome valid in this space."""
        key = space.canonical(genome)
        assert key is None or isinstance(key, bytes)
        assert space.decode(json.loads(text(space, genome))) == genome

    def check_variation(
        self, space: Space, vary: Callable[[np.random.Generator], Variation], parents: Sequence[Any], i: int
    ) -> None:
        """A variation names its operator, gives a member, repeats itself, and leaves its parents alone."""
        before = [text(space, p) for p in parents]
        once, again = (vary(Streams(8)(i, "vary")) for _ in range(2))
        assert isinstance(once, Variation)
        assert isinstance(once.operator, str)
        assert once.operator
        assert once == again, "the same generator state gave two results"
        assert [text(space, p) for p in parents] == before, "a parent was changed in place"
        self.check_member(space, once.genome)
