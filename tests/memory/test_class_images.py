import torch

from sslcli.memory.class_images import RIDGE, ClassImages


def test_draws_have_the_mean_and_covariance_of_the_class():
    torch.manual_seed(0)
    memory, images = ClassImages(3, 50, (1, 2, 2)), torch.rand(50, 1, 2, 2)
    memory.push(images, torch.full((50,), 1))
    labels = torch.full((100_000,), 1)
    draws = memory.draw(labels, torch.zeros(100_000, 1, 2, 2)).flatten(1)
    expected = torch.cov(images.flatten(1).T) + RIDGE * torch.eye(4)
    torch.testing.assert_close(draws.mean(dim=0), images.flatten(1).mean(dim=0), atol=5e-3, rtol=0)
    torch.testing.assert_close(torch.cov(draws.T), expected, atol=2e-3, rtol=0)


def test_classes_do_not_mix():
    memory = ClassImages(2, 4, (1, 1, 1))
    memory.push(torch.tensor([1.0, -1, 1, -1]).view(4, 1, 1, 1), torch.tensor([0, 1, 0, 1]))
    draws = memory.draw(torch.tensor([0, 1]), torch.zeros(2, 1, 1, 1)).flatten()
    assert draws[0] > 0.9
    assert draws[1] < -0.9


def test_a_class_of_fewer_than_two_images_is_drawn_otherwise():
    memory = ClassImages(2, 4, (1, 1, 1))
    memory.push(torch.ones(1, 1, 1, 1), torch.tensor([1]))
    otherwise = torch.full((2, 1, 1, 1), 7.0)
    assert torch.equal(memory.draw(torch.tensor([0, 1]), otherwise), otherwise)


def test_the_latest_images_of_a_class_stay():
    memory = ClassImages(2, 3, (1, 1, 1))
    for value in range(5):
        memory.push(torch.full((1, 1, 1, 1), float(value)), torch.tensor([0]))
    assert memory.images[:3].flatten().tolist() == [3, 4, 2]
    assert memory.counts.tolist() == [5, 0]


def test_several_of_a_class_in_one_batch_take_different_slots():
    memory = ClassImages(2, 4, (1, 1, 1))
    memory.push(torch.arange(5.0).view(5, 1, 1, 1), torch.tensor([0, 1, 0, 0, 1]))
    assert memory.images[:4].flatten().tolist() == [0, 2, 3, 0]
    assert memory.images[4:].flatten().tolist() == [1, 4, 0, 0]
