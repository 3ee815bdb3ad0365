"""CLIP's tokenizer, made of the pairs of pieces that open_clip holds."""

import gzip
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from tokenizers import Regex, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Pipeline

from sslcli.data.text.learned import LearnedTokenizer
from sslcli.errors import UsageError

START, END = "<|startoftext|>", "<|endoftext|>"
VOCABULARY = 49408  # numbers of CLIP's tokenizer
_MERGES = 49152 - 256 - 2  # of the file's lines, those that CLIP was trained with
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def open_clip_file(name: str, need: str, where: str) -> Path:
    """Return a file of open_clip by its path; importing the package would load all its models.

    Args:
        name: The file within the package.
        need: What needs it, for the error.
        where: The field or argument that asked for it.

    Raises:
        UsageError: If the package is not there.
    """
    package = find_spec("open_clip")
    if package is None or not package.submodule_search_locations:
        hint = "install the extra: pip install 'sslcli[clip]'"
        raise UsageError(f"{need} need open_clip", where, hint)
    return Path(package.submodule_search_locations[0]) / name


def clip_tokenizer() -> LearnedTokenizer:
    """Return CLIP's byte pairs (Radford et al. 2021, section 2.4), lower case, 49,408 numbers.

    A text that is too long keeps its end, whose number is the largest. Texts are not cleaned of
    HTML and wrong encodings, as open_clip does with ftfy.

    Raises:
        UsageError: If open_clip is not there.
    """
    file = open_clip_file("bpe_simple_vocab_16e6.txt.gz", "CLIP's own tokens", "tokenizer.kind")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        merges = [(a, b) for a, b in (line.split() for line in islice(lines, 1, 1 + _MERGES))]
    alphabet = _alphabet()
    pieces = [*alphabet, *(f"{each}</w>" for each in alphabet), *(a + b for a, b in merges)]
    numbers = {piece: number for number, piece in enumerate([*pieces, START, END])}
    model = models.BPE(numbers, merges, end_of_word_suffix="</w>", unk_token=END)
    pipeline = Pipeline(model)
    pipeline.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    pipeline.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    pipeline.add_special_tokens([START, END])
    ends = [(name, numbers[name]) for name in (START, END)]
    pipeline.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=ends
    )
    return LearnedTokenizer(pipeline.to_str())


def _alphabet() -> list[str]:
    """Return a visible sign for each byte, in the order of CLIP's numbers (GPT-2's)."""
    seen = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    return [*map(chr, seen), *(chr(256 + i) for i in range(256 - len(seen)))]
