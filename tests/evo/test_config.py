"""Configuration: layers, strictness, messages, durations, what a resume may change."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evo.config import (
    Budget,
    Config,
    StrategySettings,
    changed_keys,
    defining_changes,
    json_schema,
    load_config,
    override_config,
    parse_budget,
    parse_duration,
    to_yaml,
)
from evo.errors import ConfigError, UnknownSpaceError, UsageError
from tests.evo.cli.fake_run import SPEC, Rules


@dataclass(frozen=True)
class Inner:
    """Nested options that do not forbid unknown keys themselves."""

    depth: int = 2


@dataclass(frozen=True)
class NestedOptions:
    inner: Inner = field(default_factory=Inner)
    tasks: tuple[str, ...] = ("a",)
    rate: float = 0.1

    def __post_init__(self) -> None:
        if self.rate > 1:
            raise ConfigError("rate is a share", "use a number up to 1")


class Nested(Rules):
    """A space with nested options."""

    Options = NestedOptions


NESTED = "tests.evo.test_config:Nested"


def written(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text)
    return path


def test_space_defaults_lie_over_the_models_and_under_the_file(tmp_path: Path) -> None:
    assert load_config(SPEC).budget.evaluations == 3000
    path = written(tmp_path, f"space: {SPEC}\nbudget: {{evaluations: 10}}\n")
    config = load_config(path, ["seed=7"])
    assert (config.budget.evaluations, config.budget.stall, config.loop.block, config.seed) == (10, 20_000, 16, 7)


def test_options_of_space_and_strategy_are_spelled_out() -> None:
    config = load_config(SPEC)
    assert config.options == {"tasks": ["digits_mlp"], "width": 16}
    assert config.strategy.options["population"] > 0


def test_a_mapping_may_hold_models_whose_defaults_stay_defaults() -> None:
    config = load_config({"space": SPEC, "budget": Budget(wall=60), "strategy": StrategySettings(name="random")})
    assert (config.budget.wall, config.budget.evaluations, config.strategy.name) == (60.0, 3000, "random")


def test_another_strategy_does_not_inherit_the_options_of_the_layer_below(tmp_path: Path) -> None:
    path = written(tmp_path, f"space: {SPEC}\nstrategy: {{name: regularized, options: {{population: 7}}}}\n")
    assert load_config(path).strategy.options["population"] == 7
    assert "population" not in load_config(path, ["strategy.name=random"]).strategy.options


def test_resolved_yaml_reads_back_equal() -> None:
    config = load_config(SPEC, ["budget.wall=2h", "strategy.restart.after=10", "executor.workers=3"])
    assert load_config(yaml.safe_load(to_yaml(config))) == config


@pytest.mark.parametrize(
    ("text", "path", "hint"),
    [
        ("bugdet: {}", "bugdet", "did you mean budget?"),
        ("budget: {evalutions: 3}", "budget.evalutions", "did you mean budget.evaluations?"),
        ("options: {widht: 3}", "options.widht", "did you mean options.width?"),
        (
            "strategy: {options: {popluation: 3}}",
            "strategy.options.popluation",
            "did you mean strategy.options.population?",
        ),
        ("strategy: {restart: {too: seed}}", "strategy.restart.too", "did you mean strategy.restart.to?"),
        ("workers: 3", "workers", "did you mean executor.workers?"),
        ("identity: {zzz: 3}", "identity.zzz", "known keys of identity: structural, functional, forget, audit, cache"),
    ],
)
def test_unknown_keys_are_named_with_file_line_and_what_was_meant(
    tmp_path: Path, text: str, path: str, hint: str
) -> None:
    file = written(tmp_path, f"space: {SPEC}\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert f"{path}: unknown key ({file}, line 2)" in caught.value.message
    assert caught.value.hint == hint
    assert caught.value.exit_code == 2


def test_unknown_keys_of_nested_options_are_errors_though_their_dataclass_allows_them() -> None:
    assert load_config(NESTED, ["options.inner.depth=3"]).options["inner"] == {"depth": 3}
    with pytest.raises(ConfigError, match=r"options\.inner\.deep: unknown key"):
        load_config(NESTED, ["options.inner.deep=3"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("loop.chunk=two", "loop.chunk: must be a whole number; got the text 'two'"),
        ("loop.chunk='64'", "must be a whole number; got the text '64'"),
        ("loop.chunk=0", "loop.chunk: must be at least 1; got 0"),
        ("loop.chunk=1.5", "must be a whole number"),
        ("loop.mode=fast", "must be one of 'deterministic' or 'throughput'"),
        ("loop=3", "loop: must be a mapping of keys to values; got 3"),
        ("seed=-1", "seed: must be at least 0; got -1"),
        ("seed=true", "seed: must be a whole number; got true"),
        ("identity.audit=2", "identity.audit: must be at most 1"),
        ("identity.structural=1", "must be true or false"),
        ("executor.workers=some", "must be a whole number or 'auto'"),
        ("executor.timeout_s=.inf", "must be a finite number"),
        ("budget.wall=2x", "expected seconds or a duration like 90s, 20m, 2h; got '2x'"),
        ("budget.wall=-3", "must be above zero"),
        ("budget={evaluations: null, stall: null}", "nothing would end the run"),
        ("name=latest", '"latest"'),
        ("name=../x", "must be a name"),
        ("options.tasks=3", "options.tasks: must be a list; got 3"),
        ("options.width=x", "options.width: must be a whole number"),
        ("options=3", "options: must be a mapping"),
        ("strategy.name=regualrized", "there is no strategy 'regualrized'"),
        ("strategy.options.population=0", "population is 0"),
        ("loop.span=1000", "span 1000 is above lag 256"),
    ],
)
def test_wrong_values_are_said_in_plain_words_with_path_and_place(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(SPEC, [override])
    assert words in caught.value.message
    assert "pydantic" not in str(caught.value)
    assert f"--set {override}" in caught.value.message


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, f"space: {SPEC}\nbugdet: {{}}\nloop: {{chunk: 0}}\noptions: {{width: x, depht: 1}}\n")
    with pytest.raises(ConfigError, match="4 problems") as caught:
        load_config(file)
    for words in ("bugdet", "loop.chunk", "options.width", "options.depht", "line 4"):
        assert words in caught.value.message


def test_options_that_check_themselves_keep_their_hint() -> None:
    with pytest.raises(ConfigError, match="rate is a share") as caught:
        load_config(NESTED, ["options.rate=2"])
    assert caught.value.hint == "use a number up to 1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("space: [", "not valid YAML"),
        ("- a\n- b", "holds no mapping"),
        ("space: a\nseed: 1\nseed: 2", "seed is given twice"),
        ("seed: 1", "space is missing"),
        ("space: 3", "must be a space's name"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, text))
    assert words in caught.value.message
    assert "run.yaml" in caught.value.message


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    written(tmp_path, "space: a")
    with pytest.raises(ConfigError, match="no configuration file") as caught:
        load_config(tmp_path / "runs.yaml")
    assert "run.yaml" in caught.value.hint


def test_an_unknown_space_is_its_own_error() -> None:
    with pytest.raises(UnknownSpaceError):
        load_config("no-such-space")


def test_numbers_as_people_write_them() -> None:
    config = load_config(SPEC, ["budget.evaluations=1e4", "strategy.restart.tolerance=1e-3"])
    assert config.budget.evaluations == 10_000
    assert config.strategy.restart is not None
    assert config.strategy.restart.tolerance == 0.001


def test_plus_adds_to_the_layers_below_and_to_defaults() -> None:
    config = load_config(SPEC, ["budget.evaluations=+500", "budget.wall=1h", "budget.wall=+30m", "budget.stall=+1"])
    assert (config.budget.evaluations, config.budget.wall, config.budget.stall) == (3500, 5400.0, 20_001)
    assert override_config(config, ["budget.evaluations=+500"]).budget.evaluations == 4000


def test_plus_needs_a_number_to_add_to() -> None:
    with pytest.raises(ConfigError, match=r"budget\.proposals has no value") as caught:
        load_config(SPEC, ["budget.proposals=+5"])
    assert "budget.proposals=5" in caught.value.hint
    with pytest.raises(ConfigError, match="is 'deterministic', no number"):
        override_config(load_config(SPEC), ["loop.mode=+5"])


@pytest.mark.parametrize("override", ["seed", "=3", "a..b=3"])
def test_an_override_is_key_equals_value(override: str) -> None:
    with pytest.raises(UsageError, match="key=value"):
        load_config(SPEC, [override])


def test_span_is_filled_in_within_the_lag() -> None:
    assert load_config(SPEC, ["loop.block=8"]).loop.span == 32
    assert load_config(SPEC, ["loop.lag=20"]).loop.span == 20


def test_a_resume_may_change_cost_and_end_but_not_the_search() -> None:
    old = load_config(SPEC)
    free = override_config(
        old, ["budget.evaluations=+1", "executor.workers=1", "report.seeds=2", "loop.snapshot_every=8"]
    )
    assert len(changed_keys(old, free)) == 4
    assert defining_changes(old, free) == {}
    other = override_config(free, ["seed=5", "strategy.options.population=9", "loop.lag=300"])
    assert set(defining_changes(old, other)) == {"seed", "strategy.options.population", "loop.lag"}
    assert defining_changes(old, other)["seed"] == (0, 5)


def test_configurations_are_frozen() -> None:
    config = load_config(SPEC)
    with pytest.raises(Exception, match="frozen"):
        config.seed = 3  # type: ignore[misc]


def test_the_schema_describes_every_key() -> None:
    schema = json_schema()
    sections = [schema, *schema["$defs"].values()]
    missing = [
        (section.get("title"), name)
        for section in sections
        for name, entry in section["properties"].items()
        if "description" not in entry and "$ref" not in entry
    ]
    assert missing == []
    assert schema["additionalProperties"] is False


@given(st.floats(min_value=0.01, max_value=1e7))
def test_a_number_of_seconds_is_itself(seconds: float) -> None:
    assert parse_duration(seconds) == seconds
    assert parse_duration(repr(seconds)) == seconds


@given(st.integers(0, 100), st.integers(0, 59), st.integers(1, 59))
def test_parts_of_a_duration_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{hours}h{minutes}m {seconds}s") == 3600 * hours + 60 * minutes + seconds


@pytest.mark.parametrize("bad", ["", "2x", "h", "2h!", "0", "-1s", True, None, [1], "inf", "nan"])
def test_what_is_no_duration_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(bad)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("2h", {"wall": 7200.0}),
        ("5000evals", {"evaluations": 5000}),
        ("1e6proposals", {"proposals": 1_000_000}),
        ("20m, 1 evaluation", {"wall": 1200.0, "evaluations": 1}),
    ],
)
def test_budget_flags(text: str, keys: dict[str, float]) -> None:
    assert parse_budget(text) == keys


@pytest.mark.parametrize("text", ["5000", "many", "0evals", "1.5evals", "2h,,3evals"])
def test_budget_flags_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--budget"):
        parse_budget(text)


def test_config_is_complete_without_a_file() -> None:
    assert Config(space="lion").executor.kind == "ray"
