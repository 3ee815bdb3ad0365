"""A tokenizer in a folder of transformers."""

from pathlib import Path

from sslcli.formats.inputs import TextInput

_NAMES = {  # by transformers' role, what tokenizers call it; the first that is known
    "pad_token": ("[PAD]", "<pad>", "<|endoftext|>"),
    "unk_token": ("[UNK]", "<unk>", "<|endoftext|>"),
    "bos_token": ("<|startoftext|>",),
    "eos_token": ("<|endoftext|>",),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}


def save_tokenizer(folder: Path, inputs: TextInput) -> dict[str, int]:
    """Write the files of a tokenizer, and return the number of each role's token."""
    from tokenizers import Tokenizer  # noqa: PLC0415  with transformers, seconds
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    pipeline = Tokenizer.from_str(inputs.tokenizer)
    known = pipeline.get_vocab()
    named = {
        role: next((name for name in names if name in known), None)
        for role, names in _NAMES.items()
    }
    named = {role: name for role, name in named.items() if name is not None}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pipeline, model_max_length=inputs.max_length, **named
    )
    tokenizer.save_pretrained(folder)
    return {role: known[name] for role, name in named.items() if name is not None}
