"""Documents as padded batches of nearly equal lengths.

A chunk of documents is sorted by length and cut into batches of a fixed token budget, which are then shuffled; the
last, of the shortest texts, is filled up with empty rows. Unlike
packing, no text sees another, every text starts at position 0 as in use, and little is lost to padding.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from tokenizers import Tokenizer
from torch import Tensor

from trainer.bundled.corpus import Document
from trainer.bundled.tokenizer import END_ID, FIM_MIDDLE_ID, FIM_PREFIX_ID, FIM_SUFFIX_ID, START_ID

MULTIPLE = 32  # padded lengths are multiples of it: few distinct shapes, as each costs oneDNN new kernels
PROMPT_WEIGHT = 0.1  # the prompt teaches what examples mean; the body is what is asked for
BEGUN_WEIGHT = 0.5  # the body before a gap is a completion too, though of a layout that is never asked for

Encoded = tuple[list[int], list[float]]
"""Ids, and the loss weight of each as a target."""


@dataclass(frozen=True)
class Batch:
    """`ids` and the loss weight of each as a *target*: both [texts, tokens]; padding weighs nothing.

    `tokens` counts those that are not padding.
    """

    ids: Tensor
    weights: Tensor
    tokens: int


def _encode(documents: list[Document], tokenizer: Tokenizer, longest: int) -> list[Encoded]:
    """Encode the documents that fit, each part by itself, as callers' prompts are."""
    parts = [
        part for document in documents for part in (document.prompt, document.begun, document.after, document.target)
    ]
    encoded = tokenizer.encode_batch([part or "" for part in parts], add_special_tokens=False)
    texts = []
    for row, document in enumerate(documents):
        prompt, begun, after, target = (piece.ids for piece in encoded[4 * row : 4 * row + 4])
        text = _lay_out(prompt, begun, after if document.after is not None else None, [*target, END_ID])
        if len(text[0]) <= longest:
            texts.append(text)
    return texts


def _lay_out(prompt: list[int], begun: list[int], after: list[int] | None, target: list[int]) -> Encoded:
    weights = [PROMPT_WEIGHT] * len(prompt)
    if after is None:
        # The newline that ends a prompt counts fully: a caller may leave it to the model.
        weights[-1:] = [1.0]
        return [START_ID, *prompt, *target], [0.0, *weights, *[1.0] * len(target)]
    ids = [FIM_PREFIX_ID, *prompt, *begun, FIM_SUFFIX_ID, *after, FIM_MIDDLE_ID, *target]
    before = [0.0, *weights, *[BEGUN_WEIGHT] * len(begun), 0.0]
    return ids, [*before, *[PROMPT_WEIGHT] * len(after), 0.0, *[1.0] * len(target)]


def _collate(texts: list[Encoded], rows: int, width: int) -> Batch:
    ids = torch.full((rows, width), END_ID, dtype=torch.long)
    weights = torch.zeros((rows, width))
    for row, (text, counts) in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
        weights[row, : len(text)] = torch.tensor(counts)
    return Batch(ids, weights, sum(len(text) for text, _ in texts))


def batches(
    documents: Iterable[Document], tokenizer: Tokenizer, *, tokens: int, longest: int, seed: int, chunk: int = 2048
) -> Iterator[Batch]:
    """Yield batches of at most `tokens` padded tokens; texts longer than `longest` tokens are left out."""
    random = Random(seed)  # noqa: S311  (the order of training)
    source = iter(documents)
    while drawn := list(islice(source, chunk)):
        texts = sorted(_encode(drawn, tokenizer, longest), key=lambda text: len(text[0]), reverse=True)
        made = []
        while texts:
            width = -(-len(texts[0][0]) // MULTIPLE) * MULTIPLE
            rows = max(1, tokens // width)
            made.append(_collate(texts[:rows], rows, width))
            texts = texts[rows:]
        random.shuffle(made)
        yield from made
