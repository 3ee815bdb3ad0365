"""The classifier of a run: the checkpoint's own, or a linear probe fitted to training features."""

from functools import cached_property

from torch import nn

from sslcli import assemble
from sslcli.data.sources.base import need_labels
from sslcli.errors import UsageError
from sslcli.evaluate.classifier import need_classifier
from sslcli.evaluate.linear import Probe, fit_linear
from sslcli.evaluate.metrics import check_two_classes
from sslcli.workflows.probes import features_of
from sslcli.workflows.run import Run


class Classified:
    """A classifier on a run's encoder; a checkpoint that has none gets `linear_eval`'s probe.

    Args:
        run: Checkpoint, data and encoder.

    Attributes:
        classes: Names of the classes that it tells apart, in its order.

    Raises:
        SslError: If the checkpoint's classifier is not linear, or there are no two classes.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        checkpoint = run.checkpoint
        has_own = bool(checkpoint.tensors("classifier."))
        self._own = need_classifier(checkpoint) if has_own else None
        if self._own:
            self.classes, count = run.classes, self._own.out_features
        else:
            need_labels(run.splits.train)
            self.classes = tuple(run.splits.train.class_names)
            count = len(self.classes)
        if count < 2:
            what = "a classifier of one class is never wrong"
            raise UsageError(what, str(checkpoint.path), "take one of two classes or more")
        self.count = count

    @cached_property
    def network(self) -> nn.Sequential:
        """What maps normalised images [B, 3, S, S] to logits [B, C], in evaluation mode."""
        encoder = self._encoder
        last = self._own or _linear(self._probe)
        return nn.Sequential(encoder, last.to(self.run.device)).eval().requires_grad_(False)

    @property
    def protocol(self) -> tuple[str, ...]:
        """How a probe was made, in a line; empty for the checkpoint's own classifier."""
        return () if self._own else (self._probe.protocol,)

    @cached_property
    def _encoder(self) -> nn.Module:
        run, name = self.run, features_of(self.run)
        if self._own or name == run.config.evaluation.features:
            return run.encoder
        run.listener.note(f"features: {name}")
        return assemble.load_read_out(run.checkpoint, name, run.device)

    @cached_property
    def _probe(self) -> Probe:
        run = self.run
        run.listener.note("the checkpoint has no classifier: a linear probe is fitted to it")
        features, labels = run.labelled_features(run.splits.train, self._encoder)
        check_two_classes("training", labels)
        bar, seed = run.listener.bar("fitting"), run.config.seed
        return fit_linear(features, labels, self.count, seed=seed, progress=bar)


def _linear(probe: Probe) -> nn.Linear:
    layer = nn.Linear(probe.weight.shape[1], len(probe.bias))
    layer.load_state_dict({"weight": probe.weight, "bias": probe.bias})
    return layer
