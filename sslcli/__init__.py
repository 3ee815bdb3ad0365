"""The Python door: every command as a function, loaded when it is first used.

    import sslcli

    run = sslcli.pretrain("simsiam", out="runs/scenes")
    print(sslcli.knn_eval(run).top1)

`import sslcli` imports no torch. Each function has the name and the options of its command.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslcli.errors import SslError as SslError
    from sslcli.workflows.attention import attention as attention
    from sslcli.workflows.bench import bench as bench
    from sslcli.workflows.calibrate import calibrate as calibrate
    from sslcli.workflows.distill import distill as distill
    from sslcli.workflows.embed import embed as embed
    from sslcli.workflows.export import export as export
    from sslcli.workflows.finetune import finetune as finetune
    from sslcli.workflows.import_weights import import_weights as import_weights
    from sslcli.workflows.knn_eval import knn_eval as knn_eval
    from sslcli.workflows.linear_eval import linear_eval as linear_eval
    from sslcli.workflows.map import map as map
    from sslcli.workflows.neighbours import neighbours as neighbours
    from sslcli.workflows.ood_detect import ood_detect as ood_detect
    from sslcli.workflows.pretrain import pretrain as pretrain
    from sslcli.workflows.retrieval_eval import retrieval_eval as retrieval_eval
    from sslcli.workflows.robust_eval import robust_eval as robust_eval
    from sslcli.workflows.run import Run as Run
    from sslcli.workflows.run import load as load
    from sslcli.workflows.sample_sgld import sample_sgld as sample_sgld
    from sslcli.workflows.sts_eval import sts_eval as sts_eval
    from sslcli.workflows.zero_shot_eval import zero_shot_eval as zero_shot_eval

__version__ = "0.1.0"
_MODULES = {  # where each public name is defined
    "Run": "workflows.run",
    "SslError": "errors",
    "attention": "workflows.attention",
    "bench": "workflows.bench",
    "calibrate": "workflows.calibrate",
    "distill": "workflows.distill",
    "embed": "workflows.embed",
    "export": "workflows.export",
    "finetune": "workflows.finetune",
    "import_weights": "workflows.import_weights",
    "knn_eval": "workflows.knn_eval",
    "linear_eval": "workflows.linear_eval",
    "load": "workflows.run",
    "map": "workflows.map",
    "neighbours": "workflows.neighbours",
    "ood_detect": "workflows.ood_detect",
    "pretrain": "workflows.pretrain",
    "retrieval_eval": "workflows.retrieval_eval",
    "robust_eval": "workflows.robust_eval",
    "sample_sgld": "workflows.sample_sgld",
    "zero_shot_eval": "workflows.zero_shot_eval",
    "sts_eval": "workflows.sts_eval",
}
__all__ = [
    "Run",
    "SslError",
    "__version__",
    "attention",
    "bench",
    "calibrate",
    "distill",
    "embed",
    "export",
    "finetune",
    "import_weights",
    "knn_eval",
    "linear_eval",
    "load",
    "map",
    "neighbours",
    "ood_detect",
    "pretrain",
    "retrieval_eval",
    "robust_eval",
    "sample_sgld",
    "sts_eval",
    "zero_shot_eval",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
