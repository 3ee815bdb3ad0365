import math

import pytest
import torch
from tiny_energy import batch, progress, tiny_encoder
from torch import nn
from torch.nn import functional

from sslcli import assemble
from sslcli.config.architectures import TransformerSize
from sslcli.config.encoder import EncoderConfig
from sslcli.config.methods.labelled import FinetuneConfig, LinearProbeConfig, SupervisedConfig
from sslcli.config.optimizers import SGDConfig
from sslcli.config.presets import list_presets, resolve
from sslcli.config.section import DataFacts
from sslcli.data.batch import Batch
from sslcli.engine.optim import build_optimizer
from sslcli.errors import ConfigError
from sslcli.methods.base import HasProjector
from sslcli.methods.classifier import whole_classifier
from sslcli.methods.head_layers import first_layers
from sslcli.methods.mixing import mix
from sslcli.methods.supervised import Finetune, LinearProbe, Supervised
from sslcli.nn.encoders import build_encoder
from sslcli.nn.heads import mlp
from sslcli.nn.read_out import read_out
from sslcli.nn.vit import VisionTransformer


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


def probe(rates=(), **fields):
    torch.manual_seed(3)
    config = LinearProbeConfig(name="linear-probe", num_classes=4, rates=rates, **fields)
    return LinearProbe(config, tiny_encoder().eval())


def test_a_probe_can_start_and_learn_as_amdims_does():
    plain, amdims = probe(), probe(init="uniform", logit_clip=2.0, logit_penalty=0.1)
    assert not plain.classifier.bias.any()
    bound = amdims.classifier.in_features**-0.5
    assert 0.8 * bound < amdims.classifier.weight.abs().max() <= bound
    assert amdims.classifier.bias.any()
    one = batch()
    logits = amdims.classifier(amdims.encoder(one.views[0]))
    expected = functional.cross_entropy(2 * torch.tanh(logits / 2), one.labels)
    expected = expected + 0.1 * logits.square().mean()
    torch.testing.assert_close(amdims(one, progress()).loss, expected)


def trained(probe, rate):
    settings = SGDConfig(
        name="sgd", base_lr=rate, lr_scaling="none", weight_decay=1e-3, momentum=0.9
    )
    optimizer, one = build_optimizer(probe.param_groups(), settings, 256), batch()
    for _ in range(5):
        optimizer.zero_grad()
        probe(one, progress()).loss.backward()
        optimizer.step()
    return probe


def test_classifiers_of_several_rates_learn_as_each_would_alone():
    rates = (0.1, 0.5, 0.02)
    together = trained(probe(rates), rates[0])
    assert list(together.classifiers) == ["classifier", "others.0", "others.1"]
    for rate, found in zip(rates, together.classifiers.values(), strict=True):
        alone = trained(probe(), rate).classifier
        assert torch.equal(found.weight, alone.weight)
        assert torch.equal(found.bias, alone.bias)


def test_the_log_has_the_sum_of_the_rates_losses_and_the_best_of_their_accuracies():
    several, one = trained(probe((0.1, 5.0)), 0.1), batch()
    output = several(one, progress())
    logits = [each(several.encoder(one.views[0])) for each in several.classifiers.values()]
    losses = [functional.cross_entropy(each, one.labels) for each in logits]
    torch.testing.assert_close(output.loss, sum(losses))
    hits = [(each.argmax(1) == one.labels).float().mean() for each in logits]
    assert output.metrics["train_top1"] == max(hits)
    assert output.chance == pytest.approx(2 * math.log(4))


def test_a_probe_stands_on_what_its_section_reads_out():
    encoder = VisionTransformer(TransformerSize(3, 16, 4), image_size=8, patch_size=2)
    encoder.reads = "image"
    config = LinearProbeConfig(name="linear-probe", num_classes=4, features="last-2+patches")
    made = LinearProbe(config, encoder).train()
    assert made.classifier.weight.shape == (4, 48)
    assert not encoder.training
    images = torch.randn(2, 3, 8, 8)
    expected = made.classifier(read_out(encoder, "last-2+patches")(images))
    assert torch.equal(whole_classifier(made)(images), expected)


def test_rates_of_fine_tuning_decay_towards_the_image():
    config = FinetuneConfig(name="finetune", num_classes=4, layer_decay=0.5, averaging=0.9)
    made = Finetune(config, tiny_encoder())
    scales = {name: group.lr_scale for group in made.param_groups() for name, _ in group.named}
    assert scales.keys() == {name for name, p in made.named_parameters() if p.requires_grad}
    assert scales["online.1.weight"] == 1
    assert scales["online.0.layer3.0.conv1.weight"] == 0.5
    assert scales["online.0.layer1.0.conv1.weight"] == 0.5**3
    assert scales["online.0.conv1.weight"] == 0.5**4


def test_the_classifier_may_have_a_rate_of_its_own_on_any_encoder():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    encoder.feature_dim = 5
    config = FinetuneConfig(name="finetune", num_classes=4, classifier_rate=20)
    below, top = Finetune(config, encoder).param_groups()
    assert (below.lr_scale, top.lr_scale) == (1, 20)
    assert [name for name, _ in top.named] == ["classifier.weight", "classifier.bias"]
    assert [name for name, _ in below.named] == ["encoder.1.weight", "encoder.1.bias"]


def test_rates_cannot_decay_over_a_network_without_depth():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    encoder.feature_dim = 5
    config = FinetuneConfig(name="finetune", num_classes=4, layer_decay=0.5)
    with pytest.raises(ConfigError, match="neither blocks nor stages"):
        Finetune(config, encoder).param_groups()


def test_the_average_of_the_weights_is_kept_and_the_trained_ones_move():
    torch.manual_seed(0)
    config = FinetuneConfig(name="finetune", num_classes=4, averaging=0.8)
    made, one = Finetune(config, tiny_encoder()).train(), batch()
    assert torch.equal(made.encoder.conv1.weight, made.online[0].conv1.weight)
    optimizer = torch.optim.SGD(made.param_groups()[0].named, 0.5)
    expected = {name: x.clone() for name, x in made.online.state_dict().items()}
    for _ in range(3):
        optimizer.zero_grad()
        made(one, progress()).loss.backward()
        optimizer.step()
        made.after_step(progress(), {})
        for name, now in made.online.state_dict().items():
            is_real = now.is_floating_point()
            expected[name] = 0.8 * expected[name] + 0.2 * now if is_real else now.clone()
    found = nn.Sequential(made.encoder, made.classifier).state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor)
    assert not torch.equal(made.encoder.conv1.weight, made.online[0].conv1.weight)
    made.encoder.reads = "image"
    assert whole_classifier(made)[0] is made.encoder


def test_a_kept_head_is_where_the_average_starts_too():
    head, kept = first_layers(mlp([16, 12, 4], hidden_norm=True), 1)
    encoder = tiny_encoder()
    encoder.feature_dim = 16
    config = FinetuneConfig(name="finetune", num_classes=4, head=head, averaging=0.5)
    made = Finetune(config, encoder)
    made.begin_with(kept)
    for classifier in (made.classifier, made.online[1]):
        assert torch.equal(classifier[0].weight, kept[0].weight)


@pytest.mark.parametrize("kind", ["supervised", "finetune"])
def test_mixed_images_are_scored_against_the_shares_of_their_classes(kind, monkeypatch):
    fields = {"name": kind, "num_classes": 4, "mixup": 0.8, "label_smoothing": 0.1}
    config = FinetuneConfig(**fields) if kind == "finetune" else SupervisedConfig(**fields)
    made = (Finetune if kind == "finetune" else Supervised)(config, tiny_encoder().eval())
    nn.init.normal_(made.classifier.weight)
    one = batch()
    torch.manual_seed(5)
    output = made.eval()(one, progress())
    torch.manual_seed(5)
    images, shares = mix(one.views[0], one.labels, config, 4)
    logs = made.classifier(made.encoder(images)).log_softmax(1)
    expected = -((0.9 * shares + 0.1 / 4) * logs).sum(1).mean()
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-5)


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


# Hidden layers of the projection head in each method's preset for digits, where it has a head.
HIDDEN = {
    "byol": 1, "clae": 1, "dino": 2, "directcopy": 1, "directpred": 1, "instdisc": 0,
    "invaspread": 0, "moco-v1": 0, "moco-v2": 1, "moco-v3": 1, "simclr": 1, "simclr-v2": 2,
    "simsiam": 1, "supcon": 1, "swav": 1,
}  # fmt: skip
NAMES = [name.removesuffix("/digits") for name in list_presets() if name.endswith("/digits")]


@pytest.mark.parametrize("method", NAMES)
def test_every_hidden_layer_of_every_head_can_be_kept(method):
    built = assemble.build_method(
        resolve(f"{method}/digits").config, facts=DataFacts(rows=48)
    ).eval()
    hidden = HIDDEN.get(method)
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


def cell_probe(**fields):
    torch.manual_seed(0)
    config = EncoderConfig(
        name="cpc-resnet8", width=4, stem="cifar", norm="layer", patch_size=4, patch_stride=2
    )
    fields = {"name": "linear-probe", "num_classes": 3, "per_cell": True} | fields
    return LinearProbe(LinearProbeConfig(**fields), build_encoder(config, 8))


def test_cells_are_classified_behind_batch_norm_and_their_logits_averaged():
    probe = cell_probe()
    images, labels = torch.randn(5, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1])
    output = probe.train()(Batch([images], torch.arange(5), labels), progress())
    grid = probe.encoder.grid(images)
    mean, var = grid.mean((0, 2, 3)), grid.var((0, 2, 3), unbiased=False)
    cells = (grid - mean[:, None, None]) / (var + 1e-5).sqrt()[:, None, None]
    logits = functional.conv2d(cells, probe.cells.conv.weight, probe.cells.conv.bias)
    expected = functional.cross_entropy(logits.mean((2, 3)), labels)
    torch.testing.assert_close(output.loss, expected)
    assert [group.named[0][0] for group in probe.param_groups()] == ["cells.conv.weight"]


def test_what_is_kept_of_a_cells_classifier_is_a_layer_on_their_mean():
    probe = cell_probe()
    probe.cells(torch.randn(6, 16, 3, 3))  # moves the running statistics
    probe.after_step(progress(), {})
    probe.cells.eval()
    images = torch.randn(4, 3, 8, 8)
    expected = probe.cells(probe.encoder.grid(images))
    torch.testing.assert_close(probe.classifier(probe.encoder(images)), expected)


@pytest.mark.parametrize("encoder", ["resnet8", "cpc-resnet8"])
def test_cells_need_an_encoder_whose_output_is_their_mean(encoder):
    if encoder == "resnet8":
        config = LinearProbeConfig(name="linear-probe", num_classes=3, per_cell=True)
        with pytest.raises(ConfigError, match="no cells"):
            LinearProbe(config, build_encoder(EncoderConfig(name="resnet8", width=4), 8))
        return
    with pytest.raises(ConfigError, match="no cells"):
        cell_probe(features="quadrants")
