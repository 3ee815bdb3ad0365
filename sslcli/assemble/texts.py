"""Settle at a run's start what only weights and data can tell of its texts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sslcli.config.encoder import EncoderConfig
from sslcli.config.families import family_of
from sslcli.config.schema import Config
from sslcli.config.tokenizer import LEARNED, TokenizerConfig
from sslcli.config.views import TextViewConfig
from sslcli.data.sources.open import Source
from sslcli.data.text.clip import VOCABULARY, clip_tokenizer
from sslcli.data.text.kept import FILE, learned, read, recall, remember
from sslcli.data.text.learned import LearnedTokenizer
from sslcli.data.text.repetition import longest_repeated
from sslcli.distributed.collective import from_main, is_main
from sslcli.engine.checkpoint import is_bare, load_checkpoint
from sslcli.errors import CheckpointError, ConfigError, told_of
from sslcli.nn.foreign.files import is_pickle, weights_file
from sslcli.nn.foreign.folder import described
from sslcli.nn.foreign.hub import located

Told = Callable[[str], object]
_FROM_WEIGHTS = ("name", "vocabulary", "max_positions")  # fields that weights decide


@dataclass(frozen=True)
class Start:
    """The weights that an encoder of texts starts from.

    Attributes:
        where: Where they lie.
        encoder: Their network; None where nothing says it.
        tokenizer: That which came with them; None where none did.
        max_length: Most tokens of a text; None where nothing says it.
    """

    where: str
    encoder: EncoderConfig | None
    tokenizer: LearnedTokenizer | None
    max_length: int | None = None


def settled(config: Config, source: Source, told: Told = lambda note: None) -> Config:
    """Return a config whose tokenizer is known and whose encoder of texts fits it.

    The encoder takes the size of the weights that it starts from; the tokenizer is theirs, or is
    learned from the data. With several processes each calls this.

    Args:
        config: Of a new run, or of one that was settled when it began.
        source: The training part of the data.
        told: Called with what was chosen and why.

    Raises:
        SslError: If tokenizer, weights and lengths do not fit each other.
    """
    if config.tokenizer is None or config.tokenizer.digest:
        return config
    which = "text_encoder" if config.text_encoder else "encoder"
    encoder = config.text_encoder or config.encoder
    with told_of(which):
        is_text = family_of(encoder).reads == "text"
    spec = encoder.weights if is_text else None
    start = start_of_texts(spec, download=config.data.download) if spec else None
    tokenizer = _tokenizer(config.tokenizer, start, source, told)
    update: dict[str, object] = {"digest": remember(tokenizer)}
    if start and config.tokenizer.kind in LEARNED:
        update |= {"kind": "own", "size": None}
    changes: dict[str, object] = {"tokenizer": config.tokenizer.model_copy(update=update)}
    if is_text:
        with told_of(which):
            changes[which] = encoder = fitted(encoder, tokenizer, start, told)
            check_lengths(config.texts, encoder)
    return config.model_copy(update=changes)


def start_of_texts(spec: str, *, download: bool = False) -> Start:
    """Return what is known of weights: a run's, a Hugging Face folder's, or those in a bare file.

    Raises:
        SslError: If they are not there, or of images.
    """
    path = located(spec, download=download)
    file = weights_file(path)
    if not is_pickle(file) and not is_bare(file):
        ours = load_checkpoint(file).config
        encoder = ours.text_encoder or ours.encoder
        _need_texts(encoder, spec)
        tokenizer = recall(ours.tokenizer.digest) if ours.tokenizer else None
        lengths = [view.max_length for view in ours.texts]
        return Start(spec, encoder, tokenizer, max(lengths, default=None))
    found = described(path)
    named = found and (found.towers.text_encoder if found.towers else found.encoder)
    if named:
        _need_texts(named, spec)
    length = found.max_length if found else None
    return Start(spec, named or None, tokenizer_in(path), length)


def _need_texts(encoder: EncoderConfig, where: str) -> None:
    if family_of(encoder).reads != "text":
        what = f"these weights are of {encoder.name}, which reads no sentences"
        raise CheckpointError(what, where, "start from BERT or RoBERTa, or from a run of a text")


def tokenizer_in(folder: Path) -> LearnedTokenizer | None:
    """Return the tokenizer of a folder or a tokenizer.json; None where there is none.

    Raises:
        CheckpointError: If it cannot be read.
    """
    if folder.is_file():
        return read(folder) if folder.suffix == ".json" else None
    if (folder / FILE).is_file():
        return read(folder / FILE)
    if not any((folder / name).is_file() for name in ("vocab.txt", "vocab.json")):
        return None
    from transformers import AutoTokenizer  # noqa: PLC0415  seconds, for old folders alone

    made = AutoTokenizer.from_pretrained(folder, use_fast=True, local_files_only=True)
    return LearnedTokenizer(made.backend_tokenizer.to_str(), str(folder))


def tokenizer_for(config: Config, path: Path) -> LearnedTokenizer:
    """Return the tokenizer of weights that another code has saved.

    It is the one that the config names, that which lies beside the weights, or CLIP's, where the
    encoder has a row for each of its numbers.

    Args:
        config: Of their run, before its tokenizer is known.
        path: The file of weights, or the folder.

    Raises:
        SslError: If there is none.
    """
    assert config.tokenizer
    if config.tokenizer.kind == "file":
        return _from_file(str(config.tokenizer.file), None)
    beside = tokenizer_in(path)
    encoder = config.text_encoder or config.encoder
    if beside is None and encoder.vocabulary == VOCABULARY:
        return clip_tokenizer()
    if beside is None and path.is_file():
        beside = tokenizer_in(path.parent)
    if beside is None:
        hint = f"put their {FILE} beside them, or name it: set tokenizer.kind to file, and "
        hint += f"tokenizer.file to the {FILE}"
        raise CheckpointError("no tokenizer lies beside these weights", str(path), hint)
    return beside


def _tokenizer(
    config: TokenizerConfig, start: Start | None, source: Source, told: Told
) -> LearnedTokenizer:
    """Return the tokenizer that a config asks for: that of the weights, if there are any."""
    if config.kind == "file":
        return _from_file(str(config.file), start)
    if config.kind == "clip" and not start:
        return clip_tokenizer()
    if config.kind == "own" or start:
        return _own(start, told, wished=config.kind)
    assert config.size is not None
    text = ""
    if is_main():
        tokenizer = learned(config.kind, config.size, source)
        text = tokenizer.text
        told(f"tokenizer: {config.kind} of {source.name}, {tokenizer.vocabulary:,} numbers")
    return LearnedTokenizer(from_main(text))


def _own(start: Start | None, told: Told, *, wished: str) -> LearnedTokenizer:
    """Return the tokenizer that came with the weights."""
    if start is None:
        what = "the tokenizer is to be that of the weights, and the encoder starts from none"
        hint = 'name weights with `init`, or set tokenizer = {kind = "wordpiece", size = 8000}'
        raise ConfigError(what, "tokenizer.kind", hint)
    if start.tokenizer is None:
        what = "no tokenizer lies beside these weights"
        hint = f'copy their {FILE} beside them, or name one: tokenizer = {{kind = "file", ...}}'
        raise CheckpointError(what, start.where, hint)
    if wished != "own":
        told(f"tokenizer: the one of {start.where}, which its weights were trained with")
    return start.tokenizer


def _from_file(file: str, start: Start | None) -> LearnedTokenizer:
    """Return a file's tokenizer, which must be that of the weights if they have one."""
    tokenizer = tokenizer_in(located(file, download=False))
    if tokenizer is None:
        hint = f"name a {FILE}, or a folder with one"
        raise CheckpointError("there is no tokenizer here", file, hint)
    if start and start.tokenizer and start.tokenizer.digest != tokenizer.digest:
        hint = 'set tokenizer = {kind = "own"}'
        what = f"this tokenizer does not belong to the weights: {start.where} has its own"
        raise ConfigError(what, "tokenizer.file", hint)
    return tokenizer


def fitted(
    encoder: EncoderConfig, tokenizer: LearnedTokenizer, start: Start | None, told: Told
) -> EncoderConfig:
    """Return an encoder of the size of the weights that it starts from, for a tokenizer.

    Raises:
        ConfigError: If the tokenizer has numbers that the encoder has no row for.
    """
    if start and start.encoder:
        sizes = {name: getattr(start.encoder, name) for name in _FROM_WEIGHTS}
        if encoder.name != start.encoder.name:
            told(f"encoder: {start.encoder.name}, as {start.where} has it")
        encoder = encoder.model_copy(update=sizes)
    if encoder.vocabulary is None:
        encoder = encoder.model_copy(update={"vocabulary": tokenizer.vocabulary})
    if tokenizer.vocabulary > (rows := encoder.vocabulary or 0):
        what = f"the tokenizer has {tokenizer.vocabulary:,} numbers, the encoder {rows:,} rows"
        hint = "use the tokenizer that belongs to the weights, or leave encoder.vocabulary out"
        raise ConfigError(what, "encoder.vocabulary", hint)
    return encoder


def check_lengths(texts: tuple[TextViewConfig, ...], encoder: EncoderConfig) -> None:
    """Raise ConfigError if a view of a text may be longer than the encoder's positions."""
    for number, view in enumerate(texts):
        longest = view.max_length
        longest = longest_repeated(view.repeat, longest) if view.repeat else longest
        if longest > encoder.max_positions:
            what = f"a text of {longest} tokens is longer than {encoder.name}'s positions"
            least = encoder.max_positions - (longest - view.max_length)
            hint = f"use at most {least}"
            raise ConfigError(what, f"texts.{number}.max_length", hint)


def as_begun(config: Config, begun: Config) -> Config:
    """Return the config of a run to resume with what was settled when it began."""
    if config.tokenizer is None or begun.tokenizer is None or config.tokenizer.digest:
        return config
    which = "text_encoder" if config.text_encoder else "encoder"
    encoder, was = config.text_encoder or config.encoder, begun.text_encoder or begun.encoder
    if not encoder.weights and config.tokenizer.kind != begun.tokenizer.kind:
        return config  # which is refused
    names = _FROM_WEIGHTS if encoder.weights else ("vocabulary",)
    sizes = {name: getattr(was, name) for name in names}
    changes = {"tokenizer": begun.tokenizer, which: encoder.model_copy(update=sizes)}
    return config.model_copy(update=changes)
