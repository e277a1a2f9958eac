"""The models of a run's configuration; what each key means stands below it, and in `evo validate --schema`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from evo.config.units import parse_duration

Seconds = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "examples": ["90s", "20m", "2h"]}]}
    ),
]


def _whole(value: Any) -> Any:
    """1e4 is how people write ten thousand, though YAML takes it for a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Count = Annotated[int, BeforeValidator(_whole), Field(ge=1)]
CountOrZero = Annotated[int, BeforeValidator(_whole), Field(ge=0)]
MODULE_OR_NAME = r"^[A-Za-z_][\w.-]*(:[A-Za-z_][\w.]*)?$"


class Section(BaseModel):
    """Frozen; unknown keys are errors; no coercion between types."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Restart(Section):
    """When a search has stalled, begin again from known genomes."""

    to: Literal["seed", "best"] = "best"
    """Where to begin again: the space's seed genomes, or the best found so far."""
    after: Count = 5000
    """Told results in a row without an improvement of the best."""
    tolerance: float = Field(default=0.0, ge=0.0)
    """An improvement counts if it is larger than this, in units of the first objective."""
    limit: CountOrZero = 3
    """How many restarts at most; 0: no limit."""


class StrategySettings(Section):
    """The algorithm that proposes candidates."""

    name: str = Field(default="regularized", pattern=MODULE_OR_NAME)
    """An installed strategy (random, regularized, truncation, nsga2, ...), or module:attr."""
    options: dict[str, Any] = {}
    """The strategy's own options."""
    restart: Restart | None = None
    """Restarts after a plateau; null: none."""


class Budget(Section):
    """What ends a run: whichever of these is reached first. At least one is set."""

    evaluations: Count | None = None
    """Functions distinct in this run that were evaluated (or imported from the shared cache)."""
    proposals: Count | None = None
    """Candidates proposed."""
    wall: Seconds | None = None
    """Seconds, or a duration like 90s, 20m, 2h; counted over all sessions of the run."""
    target: float | None = None
    """The run ends when the first objective reaches this value."""
    stall: Count | None = 20_000
    """Proposals in a row without a function new to the run: the space has run out; null: off."""

    @model_validator(mode="after")
    def _some_end(self) -> Budget:
        if not any(getattr(self, key) is not None for key in type(self).model_fields):
            raise ValueError(
                "nothing would end the run: set at least one of evaluations, proposals, wall, target, stall"
            )
        return self


class Loop(Section):
    """The order of things: what makes a run reproducible."""

    mode: Literal["deterministic", "throughput"] = "deterministic"
    """deterministic: results are told in id order, so that a journal depends on seed and settings alone.
    throughput: results are told as they arrive; the journal records the order."""
    chunk: Count = 64
    """Candidates asked for at once."""
    lag: Count = 256
    """Untold misses that remain when the next chunk is asked for: more keeps more workers busy, on older knowledge."""
    block: Count = 32
    """Candidates an evaluator gets at once, at most."""
    span: Count | None = None
    """Candidate ids after which an open block closes in any case; at most the lag. null: 4 blocks, at most the lag."""
    snapshot_every: Count = 4096
    """Candidates between two snapshots of the strategy's state; a resume replays from the last one."""

    @model_validator(mode="before")
    @classmethod
    def _fill_span(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("span") is None:
            block, lag = data.get("block", 32), data.get("lag", 256)
            if isinstance(block, int) and isinstance(lag, int):
                return {**data, "span": max(1, min(4 * block, lag))}
        return data

    @model_validator(mode="after")
    def _span_within_lag(self) -> Loop:
        if self.span is not None and self.span > self.lag:
            raise ValueError(
                f"span {self.span} is above lag {self.lag}: a block could wait for ever; lower span or raise lag"
            )
        return self


class Identity(Section):
    """How candidates that compute the same function are recognised."""

    structural: bool = True
    """Compare canonical forms."""
    functional: bool = True
    """Compare behaviour on probe inputs (where the space has a fingerprint)."""
    forget: CountOrZero = 0
    """Every k-th repeat of a function is evaluated afresh; 0: never."""
    audit: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the hits that are evaluated all the same and compared; never told to the strategy."""
    cache: str | None = None
    """Path of the cache shared by runs; null: none."""


class ExecutorSettings(Section):
    """Where evaluations run, and what each may use. Never changes a result."""

    kind: Literal["ray", "inline"] = "ray"
    """ray: worker processes, here or on a cluster. inline: in this process, with no protection from a bad candidate."""
    workers: Count | Literal["auto"] = "auto"
    """Worker processes; auto: one a CPU."""
    address: str | None = None
    """null: a local Ray is started. "auto" or host:port: a running cluster is joined."""
    timeout_s: float | None = Field(default=60.0, gt=0.0)
    """Seconds an evaluation may take; null: no limit."""
    memory_mb: Count | None = 4096
    """Megabytes a worker may allocate beyond what it holds when its evaluator is built; null: no limit."""
    threads: Count = 1
    """Threads of numeric libraries a worker."""
    attempts: Count = 2
    """How often a candidate that takes its worker down, alone, is tried before it is quarantined."""


class ReportSettings(Section):
    """The evaluation on held-out data at the end; never told to the strategy."""

    candidates: CountOrZero = 5
    """Finalists evaluated; 0: none."""
    seeds: Count = 5
    """Seeds for each."""
    confirm: CountOrZero = 0
    """Before that, the first so many lines of the leaderboard are evaluated again on fresh seeds, and what rises to
    their places in turn, until all of the first have been: a closing phase that no budget counts; 0: none."""
    confirm_seeds: Count = 8
    """Fresh seeds for each."""


class Config(Section):
    """A whole run."""

    space: str = Field(pattern=MODULE_OR_NAME)
    """The search space: an installed one's name (`evo spaces`), or module:attr."""
    options: dict[str, Any] = {}
    """The space's own options."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The run's name, which is its folder's; null: <space>-<date>-<time>-<4 hex>."""
    seed: int = Field(default=0, ge=0, lt=2**64)
    """Seed of every random stream of the search."""
    runs_dir: str = "runs"
    """Folder that runs land in."""
    strategy: StrategySettings = StrategySettings()
    budget: Budget = Budget()
    loop: Loop = Loop()
    identity: Identity = Identity()
    executor: ExecutorSettings = ExecutorSettings()
    report: ReportSettings = ReportSettings()

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str | None) -> str | None:
        if name == "latest":
            raise ValueError('a run cannot be named "latest": that means the run written to last')
        return name


def json_schema() -> dict[str, Any]:
    """JSON schema of a configuration file, for editors."""
    schema = Config.model_json_schema()
    schema["title"] = "evo run configuration"
    return schema
