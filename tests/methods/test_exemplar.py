import math

import pytest
import torch
from torch import nn

from sslcli.config.methods.instance import ExemplarCNNConfig
from sslcli.data.batch import Batch
from sslcli.methods.base import Progress
from sslcli.methods.exemplar import ExemplarCNN

START = Progress(0, 10, 10)


class Flat(nn.Module):
    feature_dim = 12

    def forward(self, images):
        return images.flatten(1)


def method(instances):
    return ExemplarCNN(ExemplarCNNConfig(name="exemplar-cnn", num_instances=instances), Flat())


def test_a_guess_among_n_classes_costs_ln_n():
    guessing = method(8000)
    nn.init.zeros_(guessing.classifier.weight)
    nn.init.zeros_(guessing.classifier.bias)
    batch = Batch([torch.randn(4, 3, 2, 2)], torch.tensor([0, 7, 7999, 3]))
    output = guessing(batch, START)
    assert output.loss.item() == pytest.approx(8.987, abs=1e-3)
    assert output.chance == math.log(8000)


def test_each_row_is_a_class_of_its_own():
    separating = method(12)
    with torch.no_grad():
        separating.classifier.weight.copy_(100 * torch.eye(12))
        separating.classifier.bias.zero_()
    images = torch.eye(12)[[5, 2, 9]].view(3, 3, 2, 2)
    output = separating(Batch([images], torch.tensor([5, 2, 9])), START)
    assert output.loss.item() == pytest.approx(0.0, abs=1e-6)
    assert output.metrics["seed_top1"] == 1.0
