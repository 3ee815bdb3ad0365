import pickle

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from sslcli.config.pixels import Pixels
from sslcli.config.views import ViewConfig
from sslcli.data.images import threads
from sslcli.data.images.draws import Samples, draw, draw_boxes
from sslcli.data.images.views import Views

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
PIXELS = Pixels(32, MEAN, STD)
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "probability": 0.8}
GLOBAL = ViewConfig(
    count=2,
    size=32,
    crop_scale=(0.2, 1.0),
    flip=0.5,
    jitter=JITTER,
    grayscale=0.2,
    blur={"probability": 0.5, "sigma": (0.1, 2.0)},
    solarize={"probability": 0.2, "threshold": 0.5},
)
LOCAL = ViewConfig(
    count=3, size=18, crop_scale=(0.05, 0.4), interpolation="bicubic", flip=0.5, jitter=JITTER
)
MOCO_V1 = ViewConfig(
    count=1,
    size=32,
    crop_scale=(0.2, 1.0),
    jitter=JITTER | {"hue": 0.4, "probability": 1.0},
    grayscale=0.5,
    flip=0.5,
    order=("crop", "grayscale", "jitter", "flip"),
)
AUTOAUGMENT = ViewConfig(
    count=1,
    size=32,
    crop_scale=(0.2, 1.0),
    flip=0.5,
    autoaugment="v0",
    order=("crop", "flip", "autoaugment"),
)
OTHER_FORMS = GLOBAL.model_copy(
    update={
        "blur": GLOBAL.blur.model_copy(update={"form": "pillow"}),
        "jitter": GLOBAL.jitter.model_copy(update={"form": "tensorflow", "add_brightness": True}),
    }
)
JEM = ViewConfig(count=1, size=32, crop_scale=(1, 1), crop_ratio=(1, 1), pad=4, flip=0.5)
FULL_CROP = ViewConfig(count=2, size=40, crop_scale=(0.2, 1.0), flip=0.5)
ROWS = torch.tensor([3, 1000, 41, 0, 77, 5])


def images(count=6, height=32, width=32):
    torch.manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)


def replay(pixels, config, draws, box, n):
    """Do to one image with torchvision what sample n of a view drew."""

    def jitter(picture):
        functions = ("brightness", "contrast", "saturation", "hue")
        for operation in draws.order[n].tolist():
            adjust = getattr(reference, f"adjust_{functions[operation]}")
            picture = adjust(picture, draws.factors[n, operation].item())
        return picture

    def crop(picture):
        size, mode = config.size, InterpolationMode(config.interpolation)
        picture = reference.crop(picture, *box)
        across = reference.resize(picture, [picture.shape[1], size], mode).clamp(0, 1)
        picture = reference.resize(across, [size, size], mode).clamp(0, 1)
        if config.pad == 0:
            return picture
        down, right = (draws.shift[n] + config.pad).tolist()
        picture = reference.pad(picture, [config.pad], padding_mode="reflect")
        return reference.crop(picture, down, right, size, size)

    steps = {
        "crop": crop,
        "jitter": lambda x: jitter(x) if draws.jitter[n] else x,
        "grayscale": lambda x: reference.rgb_to_grayscale(x, 3) if draws.grayscale[n] else x,
        "blur": lambda x: (
            reference.gaussian_blur(x, [3, 3], [draws.sigma[n].item()] * 2) if draws.blur[n] else x
        ),
        "solarize": lambda x: reference.solarize(x, 0.5) if draws.solarize[n] else x,
        "flip": lambda x: reference.horizontal_flip(x) if draws.flip[n] else x,
    }
    picture = pixels.float() / 255
    for operation in config.order:
        picture = steps[operation](picture)
    return reference.normalize(picture, MEAN, STD)


@pytest.mark.parametrize(
    "config", [GLOBAL, LOCAL, MOCO_V1, JEM], ids=["global", "local", "moco-v1", "jem"]
)
def test_views_equal_torchvision_with_the_same_parameters(config):
    pixels, rows = images(16, 36, 32), torch.arange(16)
    views = Views([config], PIXELS, seed=7)(pixels, rows, epoch=4)
    for view, made in enumerate(views):
        numbers = Samples(7, 4, rows, torch.full_like(rows, view)).numbers()
        draws, boxes = draw(config, numbers), draw_boxes(config, numbers, 36, 32)
        for n in range(16):
            expected = replay(pixels[n], config, draws, boxes[n].tolist(), n)
            torch.testing.assert_close(made[n], expected, atol=5e-5, rtol=0)  # 1e-5 over std


def test_views_have_their_sizes_and_layout():
    views = Views([GLOBAL, LOCAL], PIXELS, seed=0)
    made = views(images(), ROWS, epoch=0)
    assert views.num_views == len(made) == 5
    assert [tuple(view.shape) for view in made] == [(6, 3, 32, 32)] * 2 + [(6, 3, 18, 18)] * 3
    assert all(view.dtype == torch.float32 for view in made)
    assert all(view.is_contiguous(memory_format=torch.channels_last) for view in made)


def test_a_sample_depends_on_its_row_and_not_on_its_batch(monkeypatch):
    views, pixels = Views([GLOBAL, LOCAL], PIXELS, seed=0), images()
    together = views(pixels, ROWS, epoch=3)
    pick = torch.tensor([4, 1])
    monkeypatch.setattr(threads, "_LEAST_VALUES", 1)
    monkeypatch.setattr(threads, "_MOST_VALUES", 1)  # pieces of one sample
    apart = views(pixels[pick], ROWS[pick], epoch=3)
    for whole, part in zip(together, apart, strict=True):
        torch.testing.assert_close(whole[pick], part, atol=1e-5, rtol=0)


def test_seed_epoch_row_and_view_each_change_a_view():
    pixels, views = images(1).expand(2, 3, 32, 32), Views([GLOBAL], PIXELS, seed=0)
    first, second = views(pixels, torch.tensor([0, 1]), epoch=0)
    others = [
        first[1],
        second[0],
        views(pixels, torch.tensor([0, 1]), epoch=1)[0][0],
        Views([GLOBAL], PIXELS, seed=1)(pixels, torch.tensor([0, 1]), epoch=0)[0][0],
    ]
    assert all((first[0] - other).abs().mean() > 0.1 for other in others)
    assert torch.equal(first, views(pixels, torch.tensor([0, 1]), epoch=0)[0])


@pytest.mark.parametrize("config", [FULL_CROP, FULL_CROP.model_copy(update={"size": 18})])
def test_cut_and_finish_equal_the_crop_on_the_device(config):
    pixels, views = images(6, 60, 50), Views([config], PIXELS, seed=2)
    cuts = [
        views.cut(image.permute(1, 2, 0).numpy(), row, epoch=1)
        for image, row in zip(pixels, ROWS.tolist(), strict=True)
    ]
    crops = [torch.stack([torch.from_numpy(c) for c in view]) for view in zip(*cuts, strict=True)]
    finished = views.finish([crop.permute(0, 3, 1, 2) for crop in crops], ROWS, epoch=1)
    for ours, expected in zip(finished, views(pixels, ROWS, epoch=1), strict=True):
        torch.testing.assert_close(ours, expected, atol=1.01 / 255 / min(STD), rtol=0)


def test_finish_numbers_the_views_of_all_groups():
    views = Views([FULL_CROP, GLOBAL], PIXELS, seed=0)
    crops = [torch.zeros(6, 3, size, size, dtype=torch.uint8) for size in (40, 40, 32, 32)]
    crops = [torch.randint_like(crop, 256) for crop in crops]
    alone = [Views([config], PIXELS, seed=0) for config in (FULL_CROP, GLOBAL)]
    made = views.finish(crops, ROWS, epoch=0)
    assert torch.equal(made[0], alone[0].finish(crops[:2], ROWS, epoch=0)[0])
    assert not torch.equal(made[2], alone[1].finish(crops[2:], ROWS, epoch=0)[0])


def test_views_never_read_back_from_an_accelerator():
    views = Views([OTHER_FORMS, LOCAL, MOCO_V1, AUTOAUGMENT, JEM], PIXELS, seed=0)
    with FakeTensorMode():
        rows = torch.zeros(6, dtype=torch.long, device="cuda")
        pixels = torch.zeros(6, 3, 32, 32, dtype=torch.uint8, device="cuda")
        crops = [pixels, pixels, *[pixels[:, :, :18, :18]] * 3, *[pixels] * 3]
        made = views(pixels, rows, epoch=0) + views.finish(crops, rows, epoch=0)
    sizes = [32, 32, 18, 18, 18, 32, 32, 32]
    assert [tuple(view.shape[2:]) for view in made] == [(size, size) for size in sizes] * 2
    assert all(view.device.type == "cuda" for view in made)


def test_views_travel_to_workers():
    views = Views([GLOBAL], PIXELS, seed=5)
    copied = pickle.loads(pickle.dumps(views))
    image = images(1, 50, 60)[0].permute(1, 2, 0).numpy()
    ours, theirs = views.cut(image, 9, epoch=2), copied.cut(image, 9, epoch=2)
    assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))
    assert [crop.shape for crop in ours] == [(32, 32, 3)] * 2
