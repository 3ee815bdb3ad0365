"""Maps keep neighbours, clusters find groups, and both are told by a number."""

import sys

import pytest
import torch

from sslcli.errors import UsageError
from sslcli.evaluate.projection import agreement, cluster, project, trustworthiness


def groups(count=40, dim=20, seed=0):
    """Return unit vectors around three far directions, and the direction of each."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return 5 * torch.eye(dim)[labels] + torch.randn(count, dim, generator=generator) / 4, labels


@pytest.mark.parametrize("by", ["pca", "tsne", "umap"])
def test_neighbours_on_the_map_are_of_one_group(by):
    if by == "umap":
        pytest.importorskip("numba")
    features, labels = groups()
    found = project(features, by, seed=1)
    assert found.shape == (40, 2)
    assert torch.equal(found, project(features, by, seed=1))
    distance = torch.cdist(found, found).fill_diagonal_(torch.inf)
    assert (labels[distance.argmin(dim=1)] == labels).double().mean() > 0.95
    assert trustworthiness(features, found) > 0.8
    assert trustworthiness(features, found[torch.randperm(40)]) < 0.7


def test_pca_of_unit_vectors_keeps_their_plane():
    angle = torch.linspace(0, 5, 30)
    circle = torch.stack([angle.cos(), torch.zeros(30), angle.sin()], dim=1)
    found = project(3 * circle, "pca")
    expected = torch.cdist(circle.double(), circle.double())
    found = torch.cdist(found.double(), found.double())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_clusters_are_groups_the_largest_first():
    features, labels = groups(50)
    kept = labels != 2
    kept[:20] = True  # 17, 17 and 6 or so
    found = cluster(features[kept], 3)
    assert agreement(found, labels[kept]) == pytest.approx(1)
    sizes = found.bincount()
    assert (sizes.diff() <= 0).all()
    assert agreement(torch.zeros(50, dtype=torch.int64), labels) == 0


@pytest.mark.parametrize("count", [0, 41])
def test_clusters_must_fit(count):
    with pytest.raises(UsageError, match="clusters") as caught:
        cluster(groups()[0], count)
    assert caught.value.hint == "choose 1 to 40"


def test_too_few_rows_are_no_map():
    with pytest.raises(UsageError, match="4 rows make no map"):
        project(groups(4)[0], "pca")
    assert project(groups(5)[0], "tsne").shape == (5, 2)


def test_umap_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UsageError, match="not installed") as caught:
        project(groups()[0], "umap")
    assert "sslcli[umap]" in caught.value.hint
