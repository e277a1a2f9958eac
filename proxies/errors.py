"""The errors of the proxies: typed, with a hint, and independent of `evo` (proxies import torch, numpy and kernels)."""

from __future__ import annotations

from collections.abc import Iterable


class ProxyError(ValueError):
    """A proxy was asked for something that does not fit together.

    Args:
        message: what is wrong and where: what was expected, what was given.
        hint: what to do about it; empty where the message says it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[ProxyError], tuple[str, ...]]:
        return type(self), (self.message, self.hint)

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UnknownProxyError(ProxyError, LookupError):
    """No proxy answers to this name, or what answers is none."""


class UnsupportedModelError(ProxyError):
    """A model whose layers cannot be measured or quantized; the message names the layer."""


class MissingStatisticError(ProxyError, LookupError):
    """A proxy needs a statistic that was not gathered."""


class BitConfigError(ProxyError):
    """Bits that do not belong to the layers.

    Attributes:
        missing: layers without bits.
        unknown: names with bits that are no layer.
    """

    def __init__(self, message: str, hint: str = "", missing: Iterable[str] = (), unknown: Iterable[str] = ()) -> None:
        super().__init__(message, hint)
        self.missing = tuple(missing)
        self.unknown = tuple(unknown)

    def __reduce__(self) -> tuple[type[BitConfigError], tuple]:
        return type(self), (self.message, self.hint, self.missing, self.unknown)
