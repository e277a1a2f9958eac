"""The packages of the extra `[diffusion]`, imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from evo.errors import UsageError

INSTALL = "pip install 'evo-search[diffusion]'"


def diffusers() -> Any:
    """The package diffusers.

    Raises:
        UsageError: it is not installed.
    """
    return _imported("diffusers")


def torchmetrics() -> Any:
    """The package torchmetrics.

    Raises:
        UsageError: it is not installed.
    """
    return _imported("torchmetrics")


def safetensors() -> Any:
    """The package safetensors, with its module `torch`.

    Raises:
        UsageError: it is not installed.
    """
    _imported("safetensors.torch")
    return _imported("safetensors")


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"autodiffusion needs {name.split('.')[0]}, which cannot be imported: {error}", INSTALL
        ) from error
