"""Tokenizers of the library `tokenizers`: learned from texts, or read from a file."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tokenizers import Tokenizer as Pipeline
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from sslcli.data.batch import Tokens
from sslcli.data.text.tokenizer import padded
from sslcli.errors import CheckpointError

# In this order they are the numbers 0 to 4 of a tokenizer that is learned here.
PAD, UNKNOWN, START, END, MASK = SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class LearnedTokenizer:
    """Pieces of words, with a number for the start and the end of a text.

    Args:
        text: The content of a tokenizer.json.
        where: The file, for the error.

    Raises:
        CheckpointError: If it is none.
    """

    def __init__(self, text: str, where: str = "") -> None:
        try:
            self._pipeline = Pipeline.from_str(text)
        except Exception as error:  # the library's own errors are bare Exceptions
            what = f"this is no tokenizer that can be read: {error}"
            raise CheckpointError(what, where, "copy or make the file again") from error
        self._pipeline.no_padding()
        self._pipeline.no_truncation()
        self.text = self._pipeline.to_str()
        self.digest = hashlib.sha256(self.text.encode()).hexdigest()
        self.vocabulary = 1 + max(self._pipeline.get_vocab(with_added_tokens=True).values())
        added = self._pipeline.get_added_tokens_decoder().items()
        self.specials = tuple(sorted(number for number, token in added if token.special))
        self.mask_token = self._named(MASK, "<mask>")
        self.padding = self._named(PAD, "<pad>") or 0
        *_, last = (None, *self._pipeline.encode("").ids)
        self.end = last if last in self.specials else None  # the token behind every text

    def _named(self, *names: str) -> int | None:
        found = (self._pipeline.token_to_id(name) for name in names)
        return next((number for number in found if number is not None), None)

    def encode(self, texts: Sequence[str], max_length: int) -> Tokens:
        """Return the numbers of each text.

        Args:
            texts: B sentences.
            max_length: Numbers that are kept of each, its start and end among them.

        Returns:
            ids and mask, [B, L], on the CPU; L is the longest text's length, at least 1.
        """
        self._pipeline.enable_truncation(max_length)
        found = self._pipeline.encode_batch_fast(list(texts))
        return padded([each.ids for each in found], self.padding)

    def pieces(self, text: str) -> list[str]:
        """Return the pieces of a whole text, its start and end among them."""
        self._pipeline.no_truncation()
        pieces: list[str] = self._pipeline.encode(text).tokens
        return pieces


def learn_words(texts: Iterable[str], size: int) -> LearnedTokenizer:
    """Give each word of some texts a number, the most frequent ones first.

    Args:
        texts: Sentences; upper and lower case are one.
        size: Most numbers; rarer words share that of an unknown one.
    """
    pipeline = _plain(models.WordLevel({name: i for i, name in enumerate(SPECIALS)}, UNKNOWN))
    counts = Counter(word for text in texts for word in _words(pipeline, text))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[: size - len(SPECIALS)]
    numbers = {word: number for number, word in enumerate((*SPECIALS, *ranked))}
    pipeline.model = models.WordLevel(numbers, UNKNOWN)
    return _finished(pipeline)


def _words(pipeline: Pipeline, text: str) -> Iterator[str]:
    """Yield the words of a text as the tokenizer will cut it."""
    normal = pipeline.normalizer.normalize_str(text)
    return (word for word, _ in pipeline.pre_tokenizer.pre_tokenize_str(normal))


def learn_pieces(texts: Iterable[str], size: int) -> LearnedTokenizer:
    """Learn a WordPiece of some texts (Schuster & Nakajima 2012), as BERT's.

    The library breaks ties between equally frequent pieces at random, so that two calls may differ
    in a few of them.

    Args:
        texts: Sentences; upper and lower case are one.
        size: Most numbers.
    """
    pipeline = _plain(models.WordPiece(unk_token=UNKNOWN))
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=list(SPECIALS), show_progress=False
    )
    pipeline.train_from_iterator(texts, trainer)
    return _finished(pipeline)


def _plain(model: models.Model) -> Pipeline:
    """Return a model behind BERT's own cleaning and cutting at spaces and signs."""
    pipeline = Pipeline(model)
    pipeline.normalizer = normalizers.BertNormalizer(lowercase=True)
    pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return pipeline


def _finished(pipeline: Pipeline) -> LearnedTokenizer:
    """Mark the special tokens, and put a start and an end around each text."""
    pipeline.add_special_tokens(list(SPECIALS))
    ends = [(name, pipeline.token_to_id(name)) for name in (START, END)]
    pipeline.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", pair=f"{START} $A {END} $B {END}", special_tokens=ends
    )
    return LearnedTokenizer(pipeline.to_str())
