"""Show a resolved config and what it will cost, for `--dry-run`."""

from typing import TYPE_CHECKING

from sslcli.cli.show import Show

if TYPE_CHECKING:
    from sslcli.engine.loop import Training


def show_estimate(training: "Training", show: Show) -> None:
    """Print the config as TOML, and the estimate as a table or in the JSON object."""
    from dataclasses import asdict

    from sslcli.config.presets import config_hash, to_toml
    from sslcli.engine.cost import estimate

    cost = estimate(training)
    images = training.config.train.batch_size * cost.steps
    total = cost.flops_per_image * images
    show.data(to_toml(training.config))
    rows = [
        ("optimiser steps", f"{cost.steps:,}"),
        ("images seen", f"{images:,}"),
        ("trainable parameters", f"{cost.parameters:,}"),
        ("encoder parameters", f"{cost.encoder_parameters:,}"),
        ("GFLOP per image, all views", f"{cost.flops_per_image / 1e9:.3f}"),
        ("PFLOP in all", f"{total / 1e15:.3f}"),
        ("weights, gradients, moments", f"{cost.weights_bytes / 2**20:.1f} MiB"),
        ("activations of a micro-batch", f"{cost.activation_bytes / 2**20:.1f} MiB"),
    ]
    show.table("What it will cost", ("quantity", "estimate"), rows)
    show.result(
        dry_run=True,
        config=training.config.model_dump(mode="json"),
        config_hash=config_hash(training.config),
        estimate=asdict(cost),
    )
