"""LEVER's loss and Condor's, as functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, relu

MARGIN = 2.0
"""Condor's m: how far apart the embeddings of a right and of a wrong program should be."""


def question_loss(logits: Tensor, correct: Tensor, question: Tensor) -> Tensor:
    """Cross-entropy averaged over the programs of each question, then over questions (LEVER, arXiv:2302.08468, 3.3).

    Shapes: `logits` (programs, 2), `correct` (programs,) of 0 and 1, `question` (programs,) numbers each row's
    question from 0. A question with many programs counts as much as one with few.
    """
    each = cross_entropy(logits, correct, reduction="none")
    count = int(question.max()) + 1
    sums = torch.zeros(count, dtype=each.dtype).index_add(0, question, each)
    rows = torch.zeros(count, dtype=each.dtype).index_add(0, question, torch.ones_like(each))
    return (sums / rows.clamp(min=1.0)).mean()


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean of the states of real tokens; shapes (texts, tokens, width) and (texts, tokens) to (texts, width).

    Condor's released CodeBERT path averages over the padding too, so that a text's embedding depends on what it is
    batched with; this one does not.
    """
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def contrastive_loss(left: Tensor, right: Tensor, same: Tensor) -> Tensor:
    """Condor's first stage (arXiv:2412.17429): mean(y d^2 + (1 - y) max(0, m - d)^2), d the Euclidean distance.

    Shapes: `left` and `right` (pairs, width), `same` (pairs,) 1.0 where both have one label.
    """
    distance = (left - right).pow(2).sum(dim=1).clamp(min=1e-12).sqrt()
    return (same * distance.pow(2) + (1.0 - same) * relu(MARGIN - distance).pow(2)).mean()
