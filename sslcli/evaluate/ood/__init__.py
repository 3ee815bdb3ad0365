"""Tell images like the training data from others, by scores that rise towards the inside.

"Inside" is the data that a model was made for, "outside" is everything else. Each score is a pure
function of features, logits and what was fitted on training data; `scores.SCORES` lists them.
"""

from sslcli.evaluate.ood.metrics import aupr_in, aupr_out, auroc, fpr_at_95
from sslcli.evaluate.ood.scores import SCORES, Score, named_score
from sslcli.evaluate.ood.seen import Known, Seen

__all__ = [
    "SCORES",
    "Known",
    "Score",
    "Seen",
    "aupr_in",
    "aupr_out",
    "auroc",
    "fpr_at_95",
    "named_score",
]
