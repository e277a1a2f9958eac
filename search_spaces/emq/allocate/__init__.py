"""Allocation as a command: a model, data, a budget and a proxy to bits, a quantized model and its measured accuracy."""

from search_spaces.emq.allocate.request import Request, request_of
from search_spaces.emq.allocate.session import allocate

__all__ = ["Request", "allocate", "request_of"]
