"""A classifier made of sentences on an encoder of images: what `zero_shot_eval` keeps."""

from collections.abc import Mapping

from torch import Tensor, nn

from sslcli.config.methods.captions import ZeroShotConfig
from sslcli.data.batch import Batch
from sslcli.losses.precision import at_least_float32
from sslcli.methods.base import Method, Output, Progress, feature_dim
from sslcli.methods.captions import projection
from sslcli.methods.classifier import labels_of, train_top1
from sslcli.nn.read_out import HeadFeatures
from sslcli.nn.unit_length import UnitLength


class ZeroShot(Method):
    """An encoder, its projection to unit vectors, and a linear layer whose rows are classes.

    Args:
        config: Width of the projection and number of classes.
        encoder: Of images.
    """

    def __init__(self, config: ZeroShotConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.image_projection: nn.Module = nn.Identity()
        width = feature_dim(encoder)
        if config.dim:
            self.image_projection, width = projection(width, config.dim), config.dim
        self.classifier = nn.Linear(width, config.num_classes)

    @property
    def projector(self) -> nn.Module:
        """The projection, and unit length: what the classifier stands on."""
        return nn.Sequential(self.image_projection, UnitLength())

    def towers(self) -> Mapping[str, nn.Module]:
        """Return the encoder with its projection."""
        return {"image": HeadFeatures(self.encoder, self.projector)}

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the cross-entropy of the classes in nats."""
        logits: Tensor = at_least_float32(self.classifier(self.towers()["image"](batch.views[0])))
        labels = labels_of(batch)
        loss = nn.functional.cross_entropy(logits, labels)
        return Output(loss, {"train_top1": train_top1(logits, labels)})
