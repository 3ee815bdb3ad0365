import torch

from sslcli.nn.multi_crop import embed_views


def test_neighbours_of_one_size_run_as_one_batch_and_come_back_in_order():
    seen = []

    def encoder(images):
        seen.append(tuple(images.shape))
        return images.mean(dim=(2, 3))

    def head(features):
        seen.append(tuple(features.shape))
        return features * 2

    views = [torch.full((2, 3, size, size), float(n)) for n, size in enumerate([8, 8, 4, 4, 4])]
    outputs = embed_views(encoder, head, views)
    assert seen == [(4, 3, 8, 8), (6, 3, 4, 4), (10, 3)]
    assert [output.mean().item() for output in outputs] == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert all(output.shape == (2, 3) for output in outputs)
