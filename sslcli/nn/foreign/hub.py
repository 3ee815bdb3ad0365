"""Find a model of the Hugging Face hub: in its cache, or by fetching it when that is allowed."""

from pathlib import Path
from typing import Any

from sslcli.errors import CheckpointError, ResourceError
from sslcli.nn.foreign.files import INDEXES
from sslcli.nn.foreign.folder import CARD, CONFIG, PROCESSOR

PREFIX = "hf:"
WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", INDEXES[0])
_WORDS = ["tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt"]
_SENTENCES = ["modules.json", "sentence_bert_config.json", "1_Pooling/config.json"]
_WANTED = [*WEIGHTS, CONFIG, PROCESSOR, CARD, *_WORDS, *_SENTENCES]  # no pickle


def located(spec: str, *, download: bool) -> Path:
    """Return the file or folder on this machine that a path or a model of the hub names."""
    if spec.startswith(PREFIX):
        return local_folder(spec, download=download)
    return Path(spec).expanduser()


def local_folder(spec: str, *, download: bool) -> Path:
    """Return the folder of a model "hf:ORG/NAME" on this machine.

    Args:
        spec: The model; "hf:ORG/NAME@REVISION" for another revision than main.
        download: Fetch what is not in the cache; without, nothing reaches out.

    Raises:
        CheckpointError: If there is no such model, or it is not in the cache.
        ResourceError: If it cannot be fetched.
    """
    import huggingface_hub  # noqa: PLC0415  half a second, for such names alone
    from huggingface_hub import errors  # noqa: PLC0415

    name, _, revision = spec.removeprefix(PREFIX).partition("@")
    asked: dict[str, Any] = {"revision": revision or None, "allow_patterns": _WANTED}
    try:
        found = huggingface_hub.snapshot_download(name, local_files_only=not download, **asked)
    except errors.HFValidationError as error:
        raise CheckpointError(
            f"this is no name of a model: {error}", spec, "write hf:ORG/NAME"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        if download:
            raise _unreachable(spec, error) from error
        hint = "fetch it by `import_weights()` with `download`, or name a folder"
        what = "this model is not in the cache of the Hugging Face hub"
        raise CheckpointError(what, spec, hint) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        what = "the hub has no such model or revision, or it is a private one"
        raise CheckpointError(what, spec, "check the name; log in with `hf auth login`") from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise _unreachable(spec, error) from error
    return Path(found)


def _unreachable(spec: str, error: Exception) -> ResourceError:
    reason = str(error).strip().split("\n")[0][:200]
    what = f"the model cannot be fetched: {type(error).__name__}: {reason}"
    return ResourceError(what, spec, "check the network, or fetch it elsewhere and name its folder")
