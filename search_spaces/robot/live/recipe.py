"""What a worker must know to build, score and train an architecture: small, picklable, the same everywhere."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evo.codebase import files_below, numeric_backend, package_folders
from evo.errors import ConfigError, InvalidGenomeError
from evo.registry import import_roots_of
from search_spaces.robot.options import RobotOptions, ScheduleOptions

if TYPE_CHECKING:
    from search_spaces.robot.architectures.base import ArchitectureSpace
    from search_spaces.robot.benchmark.images import Images

VERSION = 1
"""Of what is scored and trained: raise it when equal options would give other values."""
BUILT_IN = ("nb201-small", "nb201", "tnb101-micro")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Options of a live run that its workers need, and where they find the user's modules.

    Attributes:
        architectures: name, or module:attr.
        arguments: JSON of that class's keyword arguments.
        source, side, train, validation, test: of `data.pictures`.
        schedule: of trainings.
        metric_batch, metric_seed: of metrics.
        identity: "class" or "architecture".
        roots: folders of the modules that the user named.
    """

    architectures: str
    arguments: str
    source: str
    side: int
    train: int | None
    validation: int | None
    test: int | None
    schedule: ScheduleOptions
    metric_batch: int
    metric_seed: int
    identity: str
    roots: tuple[str, ...]

    def space(self) -> ArchitectureSpace:
        """The architectures; made once a process."""
        return _space(self)

    def pictures(self) -> Images:
        """The images; read once a process."""
        return _pictures(self)

    def canonical(self, architecture: str) -> bytes | None:
        """Identity of an architecture's text; None where it is none of this space."""
        space = self.space()
        try:
            decoded = space.decode(architecture)
        except InvalidGenomeError:
            return None
        return architecture.encode() if self.identity == "architecture" else space.canonical(decoded)


def recipe_of(options: RobotOptions) -> Recipe:
    """The recipe of a live run's options."""
    named = [name for name in (options.architectures, options.images) if ":" in name]
    roots = dict.fromkeys(root for name in named for root in import_roots_of(name))
    return Recipe(
        options.architectures, json.dumps(dict(options.architecture_options), sort_keys=True), options.images,
        options.side, options.train, options.validation, options.test, options.schedule, options.metric_batch,
        options.metric_seed, options.identity, tuple(roots),
    )  # fmt: skip


def training_identity(recipe: Recipe) -> Mapping[str, str]:
    """What an architecture's accuracy depends on besides itself and the seed, but for the numeric backend."""
    pictures = recipe.pictures()
    return {
        "architectures": f"{recipe.architectures} {recipe.arguments} {_own_code(recipe.architectures)}".strip(),
        "images": f"{pictures.source} {pictures.digest}",
        "training": f"{json.dumps(asdict(recipe.schedule), sort_keys=True)} version {VERSION}",
    }


def scoring_identity(recipe: Recipe, metrics: tuple[str, ...], draw: int) -> str:
    """Hexadecimal digest of what the metrics of a pool's architectures depend on; the code that computes them too."""
    of = training_identity(recipe)
    what = {
        "of": of["architectures"], "images": of["images"], "draw": draw, "identity": recipe.identity,
        "batch": recipe.metric_batch, "seed": recipe.metric_seed,
        "metrics": metrics, "code": metrics_code(), "backend": dict(numeric_backend()), "version": VERSION,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=1)
def metrics_code() -> str:
    """Digest of the source of `proxies.network`."""
    found = importlib.util.find_spec("proxies.network")
    assert found is not None
    assert found.submodule_search_locations
    root = Path(next(iter(found.submodule_search_locations)))
    digest = hashlib.sha256()
    for path in files_below(root, code_only=True):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _own_code(spec: str) -> str:
    """Digest of a user's module or package, so that a changed class is not taken for the one that was scored."""
    if ":" not in spec:
        return ""
    digest = hashlib.sha256()
    for name, path in package_folders([spec.partition(":")[0]]).items():
        for file in files_below(path, code_only=True):
            label = name if file == path else f"{name}/{file.relative_to(path).as_posix()}"
            digest.update(f"{label}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@lru_cache(maxsize=4)
def _space(recipe: Recipe) -> ArchitectureSpace:
    from search_spaces.robot.architectures.base import architecture_space

    _reachable(recipe)
    arguments: dict[str, Any] = json.loads(recipe.arguments)
    if recipe.architectures in BUILT_IN:
        # made for the images: Fashion-MNIST is grey, the benchmark's own are not
        pictures = recipe.pictures()
        inputs = pictures.train.shape[1]
        classes = int(max(labels.max() for labels in (pictures.train_labels, pictures.validation_labels))) + 1
        arguments = {"inputs": inputs, "classes": classes, **arguments}
    return architecture_space(recipe.architectures, **arguments)


@lru_cache(maxsize=4)
def _pictures(recipe: Recipe) -> Images:
    from search_spaces.robot.live.data import pictures

    _reachable(recipe)
    return pictures(recipe.source, recipe.side, recipe.train, recipe.validation, recipe.test)


def _reachable(recipe: Recipe) -> None:
    """A worker that has not the folder of the user's modules on its path gets it."""
    missing = [root for root in recipe.roots if root not in sys.path]
    for root in missing:
        if not Path(root).is_dir():
            raise ConfigError(
                f"{recipe.architectures}, {recipe.source}: the folder {root} is not on this machine",
                "put the modules there, or install them on every machine",
            )
    sys.path[:0] = missing
