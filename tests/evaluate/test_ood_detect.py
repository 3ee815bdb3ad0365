from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sslcli.errors import UsageError
from sslcli.evaluate.calibration.calibrators import Temperature
from sslcli.evaluate.ood import SCORES, Known, Score, Seen, auroc, logits, named_score
from sslcli.evaluate.ood.bootstrap import Bootstrap
from sslcli.evaluate.ood.detect import fit_scores, measure, validation_rows

WIDTH, CLASSES = 24, 4
CENTRES = 3 * torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(9)).relu()


def linear() -> nn.Linear:
    """Return a classifier whose logits are minus half the squared distances to the centres."""
    layer = nn.Linear(WIDTH, CLASSES)
    layer.load_state_dict({"weight": CENTRES, "bias": -CENTRES.square().sum(1) / 2})
    return layer.requires_grad_(False)


def nothing(module: nn.Module) -> Tensor:
    raise AssertionError("only scores of the input run the network again")


def inside(count: int, seed: int, classifier: nn.Linear | None = None) -> Seen:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    features = CENTRES[labels] + torch.randn(count, WIDTH, generator=generator)
    seen = Seen(features, None, labels, nothing)
    return seen.with_features(features, classifier) if classifier else seen


def far(count: int, seed: int, classifier: nn.Linear | None = None) -> Seen:
    features = 2 * torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))
    seen = Seen(features, None, None, nothing)
    return seen.with_features(features, classifier) if classifier else seen


def knowing(classifier: nn.Linear | None) -> Known:
    train, validation = inside(400, 0, classifier), inside(60, 1, classifier)
    return Known(train, validation, nn.Identity(), classifier, (1.0, 1.0, 1.0))


OF_THE_INPUT = {"odin", "log-p", "mass", "refine", "refine-distance"}
FEATURE_SCORES = tuple(score for score in SCORES if score.name not in OF_THE_INPUT)


def test_every_feature_score_parts_clusters_from_noise():
    head = linear()
    fitted, left_out = fit_scores(FEATURE_SCORES, knowing(head), None, named=False)
    assert not left_out
    for each in fitted:
        scores = each.run(inside(200, 2, head)), each.run(far(200, 3, head))
        assert [score.dtype for score in scores] == [torch.float64] * 2
        assert auroc(*scores) > 0.75, each.score.name


def test_a_bare_encoder_has_the_scores_of_distances():
    fitted, left_out = fit_scores(SCORES, knowing(None), None, named=False)
    names = {"mahalanobis", "relative-mahalanobis", "knn"}
    assert {each.score.name for each in fitted} == names
    assert left_out.keys() == {score.name for score in SCORES} - names
    densities = OF_THE_INPUT - {"odin"}
    assert all("no density" in left_out[name] for name in densities)
    assert all("no linear classifier" in left_out[name] for name in left_out.keys() - densities)


def test_without_labels_neighbours_are_left():
    known = knowing(None)
    unlabelled = replace(known, train=replace(known.train, labels=None))
    fitted, left_out = fit_scores(SCORES, unlabelled, None, named=False)
    assert [each.score.name for each in fitted] == ["knn"]
    assert "no labels" in left_out["mahalanobis"]


def test_a_score_asked_for_by_name_must_apply():
    with pytest.raises(UsageError, match="energy does not apply"):
        fit_scores([named_score("energy")], knowing(None), None, named=True)
    with pytest.raises(UsageError, match="no score applies: energy"):
        fit_scores([named_score("energy")], knowing(None), None, named=False)


def test_a_score_that_fails_to_fit_is_left_out_unless_named():
    def fit(known):
        raise UsageError("nothing remains")
        yield

    broken = Score("broken", "never fits", fit)
    fitted, left_out = fit_scores([broken, named_score("knn")], knowing(None), None, named=False)
    assert left_out == {"broken": "nothing remains"}
    assert len(fitted) == 1
    with pytest.raises(UsageError, match="nothing remains"):
        fit_scores([broken], knowing(None), None, named=True)


def test_defaults_are_the_published_ones():
    wide = Known(far(1200, 0), far(5, 1), nn.Identity(), None, (1.0, 1.0, 1.0))
    ((found,), _) = fit_scores([named_score("knn")], wide, None, named=True)
    assert found.settings == {"k": 50}
    for name, settings in (
        ("react", {"percentile": 90}),
        ("ash", {"percentile": 90}),
        ("vim", {"dim": 12}),
    ):
        ((found,), _) = fit_scores([named_score(name)], knowing(linear()), None, named=True)
        assert (found.settings, found.tuned_auroc) == (settings, None)
    assert next(named_score("odin").fit(knowing(linear())))[0] == {
        "temperature": 1000.0, "epsilon": 0.0014,
    }  # fmt: skip


def test_a_stored_calibrator_corrects_scores_of_probabilities_alone():
    known = knowing(linear())
    told = replace(known, calibrator=Temperature(temperature=4.0))
    for score in FEATURE_SCORES:
        (plain,), (calibrated,) = (
            fit_scores([score], each, None, named=True)[0] for each in (known, told)
        )
        seen = inside(50, 2, known.classifier)
        same = torch.equal(plain.run(seen), calibrated.run(seen))
        assert same is not score.calibrated, score.name
    (entropy,), _ = fit_scores([named_score("entropy")], told, None, named=True)
    torch.testing.assert_close(entropy.run(seen), logits.entropy(seen.logits.double() / 4))


def choosing(*signs: float) -> Score:
    """Return a score whose settings multiply the sum of features."""

    def fit(known):
        for sign in signs:
            yield {"sign": sign}, lambda seen, sign=sign: sign * seen.features.double().sum(1)

    return Score("choosing", "a test's", fit)


def test_tuning_takes_the_best_on_validation_and_the_first_of_equals():
    known, pseudo = knowing(None), far(60, 4)
    ((found,), _) = fit_scores([choosing(-1.0, 1.0, 2.0)], known, pseudo, named=True)
    assert found.settings == {"sign": 1.0}
    assert found.tuned_auroc == auroc(found.run(known.validation), found.run(pseudo))
    ((default,), _) = fit_scores([choosing(-1.0, 1.0)], known, None, named=True)
    assert default.settings == {"sign": -1.0}


def test_validation_is_a_tenth_and_follows_the_seed():
    rows = validation_rows(1000, 0)
    assert len(rows) == 100
    assert sorted(set(rows.tolist())) == rows.tolist()
    assert rows.tolist() == validation_rows(1000, 0).tolist() != validation_rows(1000, 1).tolist()
    assert len(validation_rows(60_000, 0)) == 1000
    assert len(validation_rows(3, 0)) == 1


def test_measures_carry_numbers_intervals_and_sizes():
    own, other = torch.tensor([3.0, 2.0, 1.0]), torch.tensor([0.5, 2.5])
    (row,) = measure({"mine": (own, other)}, "there", Bootstrap(3, 2, 0))
    plain = row.as_dict()
    assert (plain["score"], plain["outside"], plain["n_inside"], plain["n_outside"]) == (
        "mine",
        "there",
        3,
        2,
    )
    assert plain["auroc"] == pytest.approx(4 / 6)
    low, high = plain["auroc_interval"]
    assert 0 <= low < 4 / 6 < high <= 1


def test_an_unknown_score_is_told_the_nearest_name():
    with pytest.raises(UsageError) as caught:
        named_score("mahalanobi")
    assert "did you mean mahalanobis?" in caught.value.hint
