"""Training-free metrics of network architectures, for any torch classifier and with no search around them.

score(model, (images, labels))                          # every metric, larger is better
score(model, (images, labels), ["snip", "naswot"])      # only what these need is computed
score_many((build(arch) for arch in archs), batch)      # {metric: (n,) float64}
METRICS["zico"].formula                                 # what it is, and whose
az_nas(score_many(models, batch, AZ_METRICS))           # AZ-NAS's rank sum over a pool
"""

from proxies.network.az import AZ_METRICS, az_nas
from proxies.network.registry import METRICS, NEEDS, Metric
from proxies.network.scoring import score, score_many
from proxies.network.settings import Batch, Settings

__all__ = ["AZ_METRICS", "METRICS", "NEEDS", "Batch", "Metric", "Settings", "az_nas", "score", "score_many"]
