"""Let the code of a checkpoint's own method run."""

from sslcli.config.methods.registry import is_custom
from sslcli.errors import UsageError


def name_code_of(ckpt: str, method: str | None) -> None:
    """Let the code of a checkpoint's own method run, because the person says where it lies.

    Raises:
        UsageError: If the checkpoint's method is no such class.
        ConfigError: If the file cannot be read.
    """
    if method is None:
        return
    from sslcli.engine.checkpoint import load_checkpoint
    from sslcli.methods.custom import name_code

    name = load_checkpoint(ckpt).config.method.name
    if not is_custom(name) or method.rpartition(":")[2] != name.rpartition(":")[2]:
        hint = "name the file and the class that this checkpoint was trained with"
        raise UsageError(f"the checkpoint's method is {name}, not {method}", "--method", hint)
    name_code(method)
