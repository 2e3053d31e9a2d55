"""Problems as padded batches of nearly equal lengths.

A chunk of problems is sorted by length and cut into batches of a fixed token budget, which are then shuffled; the
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

from trainer.bundled.compose import Problem
from trainer.bundled.tokenizer import END_ID

MULTIPLE = 32  # padded lengths are multiples of it: few distinct shapes, as each costs oneDNN new kernels
PROMPT_WEIGHT = 0.1  # the prompt teaches what examples mean; the body is what is asked for


@dataclass(frozen=True)
class Batch:
    """`ids` and the loss weight of each as a *target*: both [texts, tokens]; padding weighs nothing.

    `tokens` counts those that are not padding.
    """

    ids: Tensor
    weights: Tensor
    tokens: int


def _encode(problems: list[Problem], tokenizer: Tokenizer, longest: int) -> list[tuple[list[int], int]]:
    """Return (ids, number of prompt ids) of the problems that fit."""
    prompts = tokenizer.encode_batch([problem.prompt for problem in problems])
    bodies = tokenizer.encode_batch([problem.body for problem in problems], add_special_tokens=False)
    texts = [(prompt.ids + body.ids + [END_ID], len(prompt.ids)) for prompt, body in zip(prompts, bodies, strict=True)]
    return [text for text in texts if len(text[0]) <= longest]


def _collate(texts: list[tuple[list[int], int]], rows: int, width: int) -> Batch:
    ids = torch.full((rows, width), END_ID, dtype=torch.long)
    weights = torch.zeros((rows, width))
    for row, (text, prompt_length) in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
        # The newline that ends a prompt counts fully: a caller may leave it to the model.
        weights[row, : prompt_length - 1] = PROMPT_WEIGHT
        weights[row, prompt_length - 1 : len(text)] = 1.0
    return Batch(ids, weights, sum(len(text) for text, _ in texts))


def batches(
    problems: Iterable[Problem], tokenizer: Tokenizer, *, tokens: int, longest: int, seed: int, chunk: int = 2048
) -> Iterator[Batch]:
    """Yield batches of at most `tokens` padded tokens; texts longer than `longest` tokens are left out."""
    random = Random(seed)  # noqa: S311  (the order of training)
    source = iter(problems)
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
