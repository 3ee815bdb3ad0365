import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from sslcli.errors import DataError, UsageError
from sslcli.evaluate.linear import Probe, evaluate_linear, fit_linear, predict_logits
from sslcli.evaluate.logistic import Solver


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, y = load_digits(return_X_y=True)
    features, labels = torch.from_numpy(x).float(), torch.from_numpy(y).long()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, test = order[:1200], order[1200:]
    return features[train], labels[train], features[test], labels[test]


def top1(probe: Probe, test: Tensor, labels: Tensor) -> float:
    return evaluate_linear(probe, test, labels).top1


def sklearn_fit(train: Tensor, labels: Tensor, l2: float) -> Pipeline:
    model = LogisticRegression(C=1 / (l2 * len(train)), max_iter=5000, tol=1e-7)
    return make_pipeline(StandardScaler(), model).fit(train, labels)


def test_accuracy_equals_sklearn():
    train, labels, test, right = digits()
    probe = fit_linear(train, labels, 10)
    expected = sklearn_fit(train, labels, probe.l2).score(test, right)
    assert top1(probe, test, right) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("solver", "tolerance"), [("lbfgs", 0.01), ("sgd", 0.1)])
def test_probabilities_equal_sklearn(solver: Solver, tolerance: float):
    train, labels, test, right = digits()
    probe = fit_linear(train, labels, 10, solver=solver, regularisers=[1e-2])
    model = sklearn_fit(train, labels, 1e-2)
    expected = torch.from_numpy(model.predict_proba(test)).float()
    found = predict_logits(probe, test).softmax(dim=1)
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)
    assert top1(probe, test, right) == pytest.approx(model.score(test, right), abs=0.005)


def test_sweep_reports_every_penalty_and_takes_the_best():
    train, labels, _, _ = digits()
    probe = fit_linear(train, labels, 10)
    assert len(probe.validation) == 7
    assert probe.validation[probe.l2] == max(probe.validation.values())
    assert "held-out training samples" in probe.protocol


def test_probe_is_a_function_of_the_seed():
    train, labels, _, _ = digits()
    first, again = (fit_linear(train[:300], labels[:300], 10, seed=3) for _ in range(2))
    assert torch.equal(first.weight, again.weight)
    assert first.validation == again.validation


def test_units_of_the_features_do_not_matter():
    train, labels, test, right = digits()
    scale, shift = torch.logspace(-3, 3, 64), torch.linspace(-5, 5, 64)
    plain = fit_linear(train, labels, 10)
    other = fit_linear((train + shift) * scale, labels, 10)
    assert top1(other, (test + shift) * scale, right) == pytest.approx(
        top1(plain, test, right), abs=0.01
    )


def test_few_labels_and_dead_features():
    train, labels, test, right = digits()
    rows = torch.cat([(labels == label).nonzero()[:3, 0] for label in range(10)])
    probe = fit_linear(train[rows], labels[rows], 10)
    assert top1(probe, test, right) > 0.6


def test_one_label_a_class_says_that_nothing_was_chosen():
    train, labels, test, right = digits()
    rows = torch.cat([(labels == label).nonzero()[:1, 0] for label in range(10)])
    probe = fit_linear(train[rows], labels[rows], 10)
    assert probe.validation == {}
    assert "not chosen" in probe.protocol
    assert top1(probe, test, right) > 0.4


def test_label_noise_is_survived_by_regularising():
    train, labels, test, right = digits()
    generator = torch.Generator().manual_seed(0)
    wrong = torch.rand(len(labels), generator=generator) < 0.3
    noisy = labels.where(~wrong, torch.randint(10, labels.shape, generator=generator))
    probe = fit_linear(train, noisy, 10)
    assert probe.l2 >= 1e-3
    assert top1(probe, test, right) > 0.88


def test_collapsed_features_give_the_most_common_class():
    features = torch.full((100, 8), 3.7) + 1e-7 * torch.randn(100, 8)
    labels = (torch.arange(100) < 30).long()
    assert top1(fit_linear(features, labels, 2), features, labels) == pytest.approx(0.7)


def test_classes_without_samples_are_never_predicted():
    train, labels, test, _ = digits()
    few = labels < 4
    probe = fit_linear(train[few], labels[few], 10)
    assert predict_logits(probe, test).argmax(dim=1).max() < 4


def test_bad_input_is_refused():
    train, labels, _, _ = digits()
    with pytest.raises(DataError, match="one class"):
        fit_linear(train, labels * 0, 10)
    with pytest.raises(DataError, match="empty"):
        fit_linear(train[:0], labels[:0], 10)
    with pytest.raises(UsageError, match="NaN"):
        fit_linear(train / 0, labels, 10)
    with pytest.raises(UsageError, match="positive"):
        fit_linear(train, labels, 10, regularisers=[0.0])
    with pytest.raises(ValueError, match="outside"):
        fit_linear(train, labels, 9)


def test_progress_counts_fits():
    train, labels, _, _ = digits()
    seen: list[tuple[int, int]] = []
    fit_linear(train, labels, 10, regularisers=[1.0, 0.1], progress=lambda *each: seen.append(each))
    assert seen == [(1, 3), (2, 3), (3, 3)]
