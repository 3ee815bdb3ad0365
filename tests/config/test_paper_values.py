"""Values of presets, each beside the source that it was read from."""

from pathlib import Path
from typing import Any

import pytest

from sslcli.config.presets import list_presets, resolve
from sslcli.engine.schedule import lr_factor

SOLO = "solo-learn, scripts/pretrain/cifar, whose torchvision ResNet has no zero scales"
HAIKU = "byol/utils/networks.py: haiku's blocks, scale_init=jnp.zeros"
ZERO_INIT = {
    "byol/imagenet": (True, HAIKU),
    "directpred/imagenet": (True, HAIKU),
    "directcopy/imagenet": (True, HAIKU),
    "simclr/imagenet": (True, "google-research/simclr, resnet.py:480"),
    "simclr/cifar10": (True, "google-research/simclr, resnet.py:395"),
    "simclr-v2/imagenet": (True, "google-research/simclr, resnet.py:480"),
    "simclr-v2/cifar10": (True, "google-research/simclr, resnet.py:395"),
    "simsiam/imagenet": (True, "facebookresearch/simsiam, builder.py"),
    "simsiam/cifar10": (True, "arXiv:2011.10566, appendices A and D"),
    "moco-v3/imagenet-resnet50": (True, "facebookresearch/moco-v3, main_moco.py"),
    "moco-v1/imagenet": (False, "facebookresearch/moco, main_moco.py: torchvision's default"),
    "moco-v2/imagenet": (False, "facebookresearch/moco, main_moco.py: torchvision's default"),
    "swav/imagenet": (False, "facebookresearch/swav, src/resnet50.py: the default"),
    "dino/imagenet-resnet50": (False, "facebookresearch/dino, main_dino.py: torchvision's default"),
    "supcon/cifar10": (False, "HobbitLong/SupContrast, networks/resnet_big.py: the default"),
    "byol/cifar10": (False, SOLO),
    "moco-v3/cifar10": (False, SOLO),
    "dino/cifar10": (False, SOLO),
    "swav/cifar10": (False, SOLO),
    "directpred/cifar10": (False, "facebookresearch/luckmatters: torchvision's default"),
    "directcopy/cifar10": (False, "as directpred/cifar10"),
}
CIFAR = (0.2023, 0.1994, 0.2010)
STATISTICS = {
    "supcon/cifar10": ((0.4914, 0.4822, 0.4465), CIFAR, "SupContrast, main_supcon.py:134"),
    "moco-v1/cifar10": ((0.4914, 0.4822, 0.4465), CIFAR, "moco, moco_cifar10_demo.ipynb"),
    "moco-v2/cifar10": (
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        "lightly, transforms/utils.py",
    ),
    "swav/imagenet": (
        (0.485, 0.456, 0.406),
        (0.228, 0.224, 0.225),
        "swav, src/multicropdataset.py",
    ),
    "swav/imagenet-256": (
        (0.485, 0.456, 0.406),
        (0.228, 0.224, 0.225),
        "swav, src/multicropdataset.py",
    ),
}


@pytest.mark.parametrize("name", ZERO_INIT)
def test_residual_branches_begin_at_zero_where_the_source_says_so(name: str):
    expected, source = ZERO_INIT[name]
    assert resolve(name).config.encoder.zero_init_residual is expected, source


@pytest.mark.parametrize("name", STATISTICS)
def test_images_are_normalised_as_in_the_source(name: str):
    mean, std, source = STATISTICS[name]
    data = resolve(name).config.data
    assert (data.mean, data.std) == (mean, std), source


SIMCLR_CROP = (0.08, 1.0)
SCALE = "evaluation.linear.views.0.crop_scale"
STEPPED = "evaluation.linear.schedule.granularity"
VALUES = [
    ("cpc-v1/stl10", "encoder.stem_kernel", 5, "Resnet_Encoder.py of Greedy InfoMax"),
    ("cpc-v1/stl10", "encoder.norm", "none", "RS, README:32"),
    ("cpc-v1/stl10", "method.negatives", 16, "Greedy InfoMax, InfoNCE_Loss.py:52-114"),
    ("cpc-v1/stl10", "method.offsets", (2, 3, 4, 5, 6), "the same: five steps, one skipped"),
    ("cpc-v2/cifar10", "encoder.name", "cpc-wrn-28-2", "RS, README:36"),
    ("cpc-v2/cifar10", "views.0.pad", 2, "RS, README:36"),
    ("cpc-v2/imagenet", "method.offsets", (3,), "arXiv:1905.09272, appendix: ignore 2, predict 3"),
    ("cpc-v2/imagenet", "method.dim", 64, "the same: target_dim"),
    ("cpc-v2/imagenet", "method.scale", 0.1, "the same: emb_scale"),
    ("cmc/imagenet", "method.temperature", 0.07, "HobbitLong/CMC, train_CMC.py:69"),
    ("cmc/imagenet", "method.negatives", 16384, "train_CMC.py:67-70"),
    ("cmc/imagenet", "data.mean", (50.0, 6.025, -6.6895), "train_CMC.py"),
    ("cmc/imagenet", "schedule.milestones.0", "120 epochs", "util.py:9: beyond 120, from 1"),
    ("cmc/imagenet", "evaluation.linear.optimizer.base_lr", 30.0, "README:118, v2"),
    ("cmc/imagenet-alexnet", "evaluation.linear.optimizer.base_lr", 0.1, "README:118"),
    ("cmc/imagenet-alexnet", "evaluation.linear_features", "layer-5", "LinearModel.py"),
    ("cmc/imagenet-alexnet", "views.0.crop_scale", (0.2, 1.0), "train_CMC.py:95-97"),
    ("dino/imagenet", "evaluation.k", 20, "eval_knn.py"),
    ("dino/imagenet-resnet50", "evaluation.k", 20, "eval_knn.py"),
    ("dino/imagenet", "evaluation.linear_features", "last-4", "eval_linear.py: n_last_blocks"),
    ("dino/imagenet", "evaluation.features", "encoder", "eval_knn.py"),
    ("swav/imagenet-1percent", "evaluation.finetune.classifier_rate", 5 / 0.02, "swav, README"),
    ("swav/imagenet-10percent", "evaluation.finetune.optimizer.base_lr", 0.01, "swav, README"),
    ("instdisc/imagenet", "evaluation.features", "head", "lemniscate, test.py: the net's output"),
    ("invaspread/cifar10", "evaluation.features", "head", "demo_seen.py: the net's output"),
    ("simclr/cifar10", SCALE, SIMCLR_CROP, "google-research/simclr, data_util.py:322"),
    ("supcon/cifar10", SCALE, (0.2, 1.0), "SupContrast, main_ce.py:131"),
    ("supcon/cifar10", "train.drop_last", False, "main_supcon.py: DataLoader's default"),
    ("instdisc/cifar10", "train.drop_last", False, "lemniscate, cifar.py:65"),
    ("instdisc/imagenet", "train.drop_last", False, "lemniscate, main.py:132"),
    ("simsiam/imagenet", STEPPED, "epoch", "simsiam, main_lincls.py:491"),
    ("swav/imagenet", STEPPED, "epoch", "swav, eval_linear.py:213"),
    ("swav/imagenet", "method.freeze_prototypes.amount", 313, "swav_800ep_pretrain.sh"),
    ("swav/imagenet-256", "method.freeze_prototypes.amount", 5005, "swav_200ep_bs256_pretrain.sh"),
    ("supervised/cifar10", "method.data_noise", 0.03, "HDGE, train_wrn.py:298"),
    ("simclr-v2/imagenet", "optimizer.base_lr", 0.075 * 16, "simclr, README: at sqrt(256)"),
    ("amdim/cifar10", "encoder.name", "amdim-1024-3", "amdim-public, train.py:33-37"),
    ("amdim/cifar10-large", "train.batch_size", 480, "amdim-public, issue 3"),
    ("amdim/imagenet-128", "encoder.width", 192, "amdim-public, README: --ndf 192"),
    ("amdim/imagenet-128", "views.0.jitter.hue", 0.1, "datasets.py: TransformsImageNet128"),
    ("amdim/stl10", "data.resize", 70, "datasets.py: TransformsSTL10"),
    ("amdim/stl10", "views.0.shared", ("flip",), "datasets.py: flip_lr before both views"),
    ("amdim/cifar10", "views.0.pad_probability", 0.8, "datasets.py: img_jitter"),
]


@pytest.mark.parametrize(("name", "field", "value", "source"), VALUES)
def test_a_field_has_the_value_of_its_source(name: str, field: str, value: object, source: str):
    found: Any = resolve(name).config
    for part in field.split("."):
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    assert found == pytest.approx(value) if isinstance(value, float) else found == value, source


def test_every_igebm_with_classes_relabels_its_chains_and_cifars_have_the_authors_network():
    configs = {name: resolve(name).config for name in list_presets() if name.startswith("igebm/")}
    with_classes = [c.method for c in configs.values() if c.method.num_classes is not None]
    assert len(with_classes) >= 3
    assert {method.relabel for method in with_classes} == {1.0}, "ebm_code_release, train.py:255"
    for name in ("igebm/cifar10", "igebm/cifar10-unconditional"):
        assert configs[name].encoder.form == "openai", "ebm_code_release, models.py"


def test_invaspreads_rate_drops_to_a_tenth_a_twentieth_and_a_hundredth():
    for name in ("invaspread/cifar10", "invaspread/stl10"):
        schedule = resolve(name).config.schedule
        assert [str(m) for m in schedule.milestones] == ["120 epochs", "160 epochs", "200 epochs"]
        assert schedule.gamma == (0.1, 0.5, 0.2), "demo_seen.py"


def test_no_preset_gives_a_number_from_memory():
    files = sorted((Path(__file__).parents[2] / "presets").rglob("*.toml"))
    assert files
    assert [str(f) for f in files if "from memory" in f.read_text("utf-8").lower()] == []


def test_jems_images_are_padded_by_four_pixels_and_cropped():
    names = [name for name in list_presets() if name.startswith(("jem", "hdge", "supervised"))]
    names = [name for name in names if name.endswith(("/cifar10", "/cifar100", "/svhn"))]
    assert len(names) == 6
    for name in names:
        view = resolve(name).config.views[0]
        assert view.pad == 4, "JEM, train_wrn_ebm.py, and HDGE, utils.py: get_data"
        assert view.flip == (0.0 if name == "jem/svhn" else 0.5)


@pytest.mark.parametrize(
    ("name", "epochs", "drops"),
    [("amdim/cifar10", 300, (251, 281)), ("amdim/imagenet-128", 50, (31, 46))],
)
def test_amdims_rate_rises_for_500_updates_and_drops_behind_its_milestones(name, epochs, drops):
    schedule = resolve(name).config.schedule

    def factor(step: int) -> float:
        return lr_factor(schedule, step, epochs * 1000, 1000)

    for step in (0, 1, 250, 498):
        assert factor(step) == pytest.approx((step + 1) / 500), "task_self_supervised.py:61-64"
    assert factor(499) == factor(500) == 1
    for drop, after in zip(drops, (0.2, 0.04), strict=True):
        assert factor(drop * 1000 - 1) == pytest.approx(5 * after)
        assert factor(drop * 1000) == pytest.approx(after), ":109: stepped with the finished epoch"
