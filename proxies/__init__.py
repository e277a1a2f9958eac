"""Training-free metrics, usable with no search: `proxies.quantization` holds those of mixed-precision quantization.

A proxy is found by its name or by "module:attr" (proxies/registry.py):

    from proxies import load_proxy, proxy_names
    from proxies.quantization import score
    score(model, {"conv1": 4, "fc": 8}, batch, proxy="hawq_v2")
"""

from proxies.errors import BitConfigError, MissingStatisticError, ProxyError, UnknownProxyError, UnsupportedModelError
from proxies.registry import load_proxy, proxy_names

__all__ = [
    "BitConfigError",
    "MissingStatisticError",
    "ProxyError",
    "UnknownProxyError",
    "UnsupportedModelError",
    "load_proxy",
    "proxy_names",
]
