"""Hidden layers of a pre-training head that fine-tuning keeps: as descriptions and as modules."""

from collections.abc import Iterator, Sequence

from torch import nn

from sslcli.config.methods.labelled import HeadLayer


def head_layers(width: int, head: Sequence[HeadLayer]) -> Iterator[nn.Module]:
    """Yield the fresh layers that descriptions stand for, above `width` features."""
    for layer in head:
        yield nn.Linear(width, layer.width, bias=layer.bias)
        if layer.norm:
            yield nn.BatchNorm1d(layer.width, affine=layer.norm_affine)
        yield nn.ReLU(inplace=True) if layer.activation == "relu" else nn.GELU()
        width = layer.width


def first_layers(projector: nn.Module, count: int) -> tuple[tuple[HeadLayer, ...], nn.Sequential]:
    """Return the first hidden layers of a projection head, described and as modules.

    Args:
        projector: Linear layers, each but the last followed by BatchNorm or not, and an activation.
        count: Hidden layers.

    Raises:
        ValueError: If there are fewer.
    """
    layers = list(projector.children())
    ends = [index for index, layer in enumerate(layers) if isinstance(layer, nn.ReLU | nn.GELU)]
    if not 0 < count <= len(ends):
        has = f"{len(ends)} hidden layer{'s' * (len(ends) > 1)}" if ends else "no hidden layer"
        raise ValueError(f"it has {has}")
    kept, start, head = layers[: ends[count - 1] + 1], 0, []
    for end in ends[:count]:
        head.append(_described(layers[start : end + 1]))
        start = end + 1
    return tuple(head), nn.Sequential(*kept)


def _described(layers: Sequence[nn.Module]) -> HeadLayer:
    """Describe one hidden layer: Linear, BatchNorm or nothing, activation."""
    linear, *norms, activation = layers
    if not isinstance(linear, nn.Linear) or len(norms) > 1:
        raise ValueError("it has layers of another kind than Linear, BatchNorm, ReLU and GELU")
    if norms and not isinstance(norms[0], nn.BatchNorm1d):
        raise ValueError(f"it has a {type(norms[0]).__name__}, which fine-tuning does not rebuild")
    return HeadLayer(
        width=linear.out_features,
        bias=linear.bias is not None,
        norm=bool(norms),
        norm_affine=not norms or bool(norms[0].affine),
        activation="gelu" if isinstance(activation, nn.GELU) else "relu",
    )
