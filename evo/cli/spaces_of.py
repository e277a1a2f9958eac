"""The space of a stored run: to describe its genomes, or to say why it cannot be loaded here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evo.errors import EvoError
from evo.space import SearchSpace, decode_genome


def space_of(config: Mapping[str, Any], run: Path | None = None) -> SearchSpace[Any]:
    """The space that a resolved configuration names.

    Args:
        config: the configuration.
        run: the run's folder, beside which the space finds what it prepared.

    Raises:
        UnknownSpaceError, ConfigError: it is not installed here, or no longer takes these options.
    """
    from evo.registry import build_space

    space = build_space(str(config["space"]), config.get("options") or {})
    locate = getattr(space, "locate", None)
    if run is not None and locate is not None:
        locate(run.parent / ".prepared" / space.name)
    return space


class Describer:
    """Genomes in words. Where the space cannot be loaded, `problem` says why and genomes are shown as stored.

    Args:
        load: the stored genome of a candidate by id, for genomes that are stored as a parent and a link.
        run: the run's folder.
    """

    def __init__(self, config: Mapping[str, Any], load: Callable[[int], Any], run: Path | None = None) -> None:
        self._load = load
        self.problem = ""
        self.space: SearchSpace[Any] | None = None
        try:
            self.space = space_of(config, run)
        except EvoError as error:
            self.problem = error.message
        except Exception as error:  # a plug-in may raise anything; what is stored can be shown all the same
            self.problem = f"space {config.get('space')} cannot be built: {type(error).__name__}: {error}"

    def describe(self, genome: Any) -> str:
        """Several lines: source, where there is source."""
        if self.space is None:
            import json

            return json.dumps(genome, indent=1)
        return self.space.describe(decode_genome(self.space, genome, self._load))

    def summary(self, genome: Any) -> str:
        """One line."""
        if self.space is None:
            import json

            return json.dumps(genome)
        return self.space.summary(decode_genome(self.space, genome, self._load))
