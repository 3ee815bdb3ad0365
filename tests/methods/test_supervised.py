import math

import pytest
import torch
from tiny_energy import batch, progress, tiny_encoder
from torch import nn
from torch.nn import functional

from sslcli import assemble
from sslcli.config.methods.labelled import FinetuneConfig, LinearProbeConfig, SupervisedConfig
from sslcli.config.presets import list_presets, resolve
from sslcli.config.section import DataFacts
from sslcli.methods.base import HasProjector
from sslcli.methods.supervised import Finetune, LinearProbe, Supervised, first_layers
from sslcli.nn.heads import mlp


def method(**fields):
    config = SupervisedConfig(name="supervised", num_classes=4, **fields)
    return Supervised(config, tiny_encoder())


def test_the_loss_is_cross_entropy_of_the_first_view():
    supervised, one = method(), batch()
    output = supervised(one, progress())
    expected = functional.cross_entropy(supervised.logits(one.views[0]), one.labels)
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert output.chance == pytest.approx(math.log(4))


def test_noise_changes_every_forward():
    supervised, one = method(data_noise=0.1), batch()
    assert supervised(one, progress()).loss != supervised(one, progress()).loss


def test_encoder_and_classifier_both_learn():
    supervised = method()
    supervised(batch(), progress()).loss.backward()
    assert supervised.encoder.conv1.weight.grad.abs().sum() > 0
    assert supervised.classifier.weight.grad.abs().sum() > 0


def test_its_logits_are_also_a_density():
    supervised, one = method(), batch()
    with torch.no_grad():
        logits = supervised.logits(one.views[0])
        joint = supervised.log_density(one.views[0], one.labels)
    torch.testing.assert_close(joint, logits[torch.arange(6), one.labels])


def test_data_without_labels_is_refused():
    with pytest.raises(ValueError, match="no labels"):
        method()(batch(labelled=False), progress())


@pytest.mark.parametrize("norm", [True, False])
def test_first_layers_of_a_head_are_rebuilt_from_their_description(norm):
    projector = mlp([16, 12, 8, 4], hidden_norm=norm)
    head, kept = first_layers(projector, 2)
    assert [(layer.width, layer.bias, layer.norm) for layer in head] == [
        (12, not norm, norm), (8, not norm, norm)
    ]  # fmt: skip
    config = FinetuneConfig(name="finetune", num_classes=4, head=head)
    encoder = tiny_encoder()
    encoder.feature_dim = 16
    built = Finetune(config, encoder).classifier
    assert [str(layer) for layer in built[:-1]] == [str(layer) for layer in kept]
    assert built[-1].weight.shape == (4, 8)


@pytest.mark.parametrize("count", [0, 3])
def test_a_head_has_no_more_first_layers_than_hidden_ones(count):
    with pytest.raises(ValueError, match="2 hidden layers"):
        first_layers(mlp([16, 12, 8, 4]), count)


@pytest.mark.parametrize(
    ("kind", "section"),
    [
        (LinearProbe, LinearProbeConfig(name="linear-probe", num_classes=4, label_smoothing=0.2)),
        (Finetune, FinetuneConfig(name="finetune", num_classes=4, label_smoothing=0.2)),
    ],
)
def test_smooth_labels_share_some_of_their_weight_with_every_class(kind, section):
    torch.manual_seed(0)
    made, one = kind(section, tiny_encoder().eval()), batch()
    nn.init.normal_(made.classifier.weight)
    logs = made.classifier(made.encoder(one.views[0])).log_softmax(1)
    target = 0.8 * functional.one_hot(one.labels, 4) + 0.2 / 4
    expected = -(target * logs).sum(1).mean()
    assert made(one, progress()).loss.item() == pytest.approx(expected.item(), abs=1e-5)


# Hidden layers of the projection head in each method's preset for digits; None without a head.
HIDDEN = {
    "byol": 1, "dino": 2, "directcopy": 1, "directpred": 1, "exemplar-cnn": None, "hdge": None,
    "igebm": None, "instdisc": 0, "invaspread": 0, "jem": None, "jem-stable": None, "moco-v1": 0,
    "moco-v2": 1, "moco-v3": 1, "simclr": 1, "simclr-v2": 2, "simsiam": 1, "supcon": 1,
    "supervised": None, "swav": 1,
}  # fmt: skip


def test_every_method_with_a_preset_for_digits_says_what_its_head_is():
    names = {name.split("/")[0] for name in list_presets() if name.endswith("/digits")}
    assert names == HIDDEN.keys()


@pytest.mark.parametrize("method", HIDDEN)
def test_every_hidden_layer_of_every_head_can_be_kept(method):
    built = assemble.build_method(
        resolve(f"{method}/digits").config, facts=DataFacts(rows=48)
    ).eval()
    hidden = HIDDEN[method]
    assert isinstance(built, HasProjector) == (hidden is not None)
    if hidden is None:
        return
    with pytest.raises(ValueError, match=f"it has {hidden or 'no'} hidden layer"):
        first_layers(built.projector, hidden + 1)
    features = torch.randn(3, built.encoder.feature_dim)
    for count in range(1, hidden + 1):
        head, kept = first_layers(built.projector, count)
        config = FinetuneConfig(name="finetune", num_classes=4, head=head)
        own = Finetune(config, built.encoder).eval().classifier[:-1]
        own.load_state_dict(kept.state_dict())
        torch.testing.assert_close(own(features), kept(features))


def test_a_head_with_other_layers_is_refused():
    head = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="LayerNorm"):
        first_layers(head, 1)
