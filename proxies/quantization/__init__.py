"""Mixed-precision quantization: statistics, hand-made proxies, costs and a simulated quantizer, for any torch model.

score(model, {"conv1": 4, "fc": 8}, batch, proxy="hawq_v2")      # one configuration

statistics = gather(model, batch, seed=0)                         # once
scores(statistics, config_table(configs, statistics.names), "ompq")

small = quantized(model, bits, activation_bits=8, calibration=batch)
small = adaround(model, small, batch).model
small = finetune(small, images, labels).model
"""

from proxies.quantization.adaround import Reconstruction, Rounded, adaround
from proxies.quantization.bits import BitConfig, config_table, expand
from proxies.quantization.costs import (
    PLAIN,
    RELEASED,
    CostRule,
    all_giga_bops,
    giga_bops,
    size_mib,
    sizes_mib,
)
from proxies.quantization.finetune import Finetuned, finetune
from proxies.quantization.handmade import HANDMADE, AdditiveProxy
from proxies.quantization.hessian import Estimate, HessianOptions
from proxies.quantization.layers import LayerShape, layer_shapes, quantizable
from proxies.quantization.quantizer import FakeQuantizer, quantized, quantized_layers
from proxies.quantization.saliency import linear_cka
from proxies.quantization.scoring import score, scores
from proxies.quantization.statistics import GROUPS, LayerStatistics, Statistics, gather
from proxies.quantization.uniform import (
    ActivationScheme,
    Grid,
    WeightScheme,
    fit_activation,
    fit_weight,
    squared_error,
)

__all__ = [
    "GROUPS",
    "HANDMADE",
    "PLAIN",
    "RELEASED",
    "ActivationScheme",
    "AdditiveProxy",
    "BitConfig",
    "CostRule",
    "Estimate",
    "FakeQuantizer",
    "Finetuned",
    "Grid",
    "HessianOptions",
    "LayerShape",
    "LayerStatistics",
    "Reconstruction",
    "Rounded",
    "Statistics",
    "WeightScheme",
    "adaround",
    "all_giga_bops",
    "config_table",
    "expand",
    "finetune",
    "fit_activation",
    "fit_weight",
    "gather",
    "giga_bops",
    "layer_shapes",
    "linear_cka",
    "quantizable",
    "quantized",
    "quantized_layers",
    "score",
    "scores",
    "size_mib",
    "sizes_mib",
    "squared_error",
]
