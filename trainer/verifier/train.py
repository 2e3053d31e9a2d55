"""The loop: questions a step, a few of each one's programs drawn anew at every visit, LEVER's loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from reranker import Labelled, verifier_text
from trainer.verifier.loss import contrastive_loss, masked_mean, question_loss
from trainer.verifier.measures import Floats
from trainer.verifier.pairs import draw_pairs

UNTRIED_SHARE = 0.1
"""How often a program is shown without its trials: a request may have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train. LEVER's settings where it gives them (appendix, MBPP)."""

    execution: bool
    epochs: int | None = None
    minutes: float | None = None
    """One of the two is the budget, of the classifier's stage; the contrastive one has a third of it before."""
    rate: float = 1e-3
    """From nothing; 5e-5 for a base."""
    weight_decay: float = 0.1
    warm_up_steps: int = 100
    clip: float = 1.0
    questions: int = 4
    """A step."""
    programs: int = 4
    """Of a question, at most; drawn in turn from its classes."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """After a step."""

    step: int
    stage: str
    done: float
    """Share of the stage's budget."""
    loss: float
    epoch_ended: bool


class Trainer:
    """Trains one classifier in place."""

    def __init__(self, model: Any, tokenizer: Tokenizer, questions: Sequence[Labelled], recipe: Recipe) -> None:
        self._model, self._tokenizer, self._questions, self._recipe = model, tokenizer, questions, recipe
        self._random = Random(recipe.seed)  # noqa: S311  (an order, not a secret)
        self._pad = int(model.config.pad_token_id or 0)

    def contrast(self) -> Iterator[Progress]:
        """Condor's first stage: programs of one label together, near-identical ones of different labels apart.

        Embedding: a linear map to two dimensions of the mean state (Condor encodes text and code apart; here both are
        one sequence, as the classifier reads them).
        """
        encoder = self._model.base_model
        torch.manual_seed(self._recipe.seed)
        project = torch.nn.Linear(self._model.config.hidden_size, 2)
        rows = self._recipe.questions * self._recipe.programs // 2

        def steps() -> Iterator[Tensor]:
            pairs = draw_pairs(self._questions, self._random)
            for start in range(0, len(pairs), rows):
                some = pairs[start : start + rows]
                texts = [self._text(pair.question, place) for pair in some for place in (pair.left, pair.right)]
                ids, mask = self._batch(texts)
                states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
                points = project(masked_mean(states, mask))
                same = torch.tensor([float(pair.same) for pair in some])
                yield contrastive_loss(points[0::2], points[1::2], same)

        yield from self._run("contrast", steps, [*encoder.parameters(), *project.parameters()], share=1 / 3)

    def classify(self) -> Iterator[Progress]:
        """The classifier's stage."""

        def steps() -> Iterator[Tensor]:
            order = list(range(len(self._questions)))
            self._random.shuffle(order)
            for start in range(0, len(order), self._recipe.questions):
                yield self._loss(order[start : start + self._recipe.questions])

        yield from self._run("classify", steps, list(self._model.parameters()), share=1.0)

    def _loss(self, numbers: Sequence[int]) -> Tensor:
        texts: list[str] = []
        labels: list[int] = []
        rows: list[int] = []
        for row, number in enumerate(numbers):
            for place in draw_programs(self._questions[number], self._recipe.programs, self._random):
                texts.append(self._text(number, place))
                labels.append(int(bool(self._questions[number].correct[place])))
                rows.append(row)
        ids, mask = self._batch(texts)
        logits = self._model(input_ids=ids, attention_mask=mask).logits
        return question_loss(logits, torch.tensor(labels), torch.tensor(rows))

    def _text(self, number: int, place: int) -> str:
        question = self._questions[number].question
        attempt = question.attempts[place]
        if self._recipe.execution and self._random.random() < UNTRIED_SHARE:
            attempt = replace(attempt, trial=None)
        return verifier_text(question, attempt, execution=self._recipe.execution)

    def _batch(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        return batch(self._tokenizer, texts, self._pad)

    def _run(
        self, stage: str, epoch: Callable[[], Iterator[Tensor]], parameters: list[Tensor], *, share: float
    ) -> Iterator[Progress]:
        recipe = self._recipe
        optimizer = torch.optim.AdamW(
            parameters, lr=recipe.rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=recipe.weight_decay
        )
        self._model.train()
        began, step, epochs, steps_an_epoch = time.monotonic(), 0, 0, 0
        while True:
            for loss in epoch():
                spent = self._spent(share, began, step, steps_an_epoch)
                for group in optimizer.param_groups:
                    group["lr"] = recipe.rate * min(1.0, (step + 1) / recipe.warm_up_steps) * max(0.0, 1.0 - spent)
                optimizer.zero_grad()
                backward: Any = loss.backward  # untyped in torch
                backward()
                torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
                optimizer.step()
                step += 1
                yield Progress(step, stage, min(1.0, spent), float(loss.detach()), False)
                if spent >= 1.0:
                    return
            epochs += 1
            steps_an_epoch = step // epochs
            if not step or (recipe.epochs is not None and epochs >= max(1, round(recipe.epochs * share))):
                return
            yield Progress(step, stage, self._spent(share, began, step, steps_an_epoch), float("nan"), True)

    def _spent(self, share: float, began: float, step: int, steps_an_epoch: int) -> float:
        """Share of the budget. By epochs, so that a run repeats to the bit; by the clock otherwise."""
        recipe = self._recipe
        if recipe.epochs is None:
            return (time.monotonic() - began) / (60.0 * (recipe.minutes or 1.0) * share)
        total = max(1, round(recipe.epochs * share)) * (steps_an_epoch or -(-len(self._questions) // recipe.questions))
        return min(step / total, 1.0 - 1e-9)


def draw_programs(labelled: Labelled, most: int, random: Random) -> list[int]:
    """Places of at most `most` attempts, drawn from its classes in turn, so that each has its negatives."""
    by_class: dict[Any, list[int]] = {}
    for place, cls in enumerate(labelled.classes):
        by_class.setdefault(cls, []).append(place)
    for places in by_class.values():
        random.shuffle(places)
    drawn: list[int] = []
    while len(drawn) < most and any(by_class.values()):
        for places in by_class.values():
            if places and len(drawn) < most:
                drawn.append(places.pop())
    return drawn


def batch(tokenizer: Tokenizer, texts: Sequence[str], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and mask, both of shape (texts, tokens)."""
    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    ids = torch.full((len(rows), max(map(len, rows))), pad)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    return ids, mask


def margins(
    model: Any, tokenizer: Tokenizer, questions: Sequence[Labelled], *, execution: bool, rows: int = 64
) -> list[Floats]:
    """Logit of correct less that of wrong, one array a question."""
    texts = [
        verifier_text(labelled.question, attempt, execution=execution)
        for labelled in questions
        for attempt in labelled.question.attempts
    ]
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    found = np.zeros(len(texts))
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), rows):
            places = order[start : start + rows]
            ids, mask = batch(tokenizer, [texts[p] for p in places], int(model.config.pad_token_id or 0))
            logits = model(input_ids=ids, attention_mask=mask).logits
            found[places] = (logits[:, 1] - logits[:, 0]).numpy()
    ends = np.cumsum([len(labelled.classes) for labelled in questions])
    return [np.asarray(part) for part in np.split(found, ends[:-1])]
