"""Losses by hand, against loops that follow the formulas word by word, and the traps that others fell into."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainer import BadShapes
from trainer.losses import Judged, Loss, best_of, mean_logprobs, oreal, rank_alone, rank_hinge, rrhf, rrtf, sft

LOSSES: dict[str, Callable[[Judged], Loss]] = {
    "rrtf": rrtf,
    "rrtf, token sum": lambda judged: rrtf(judged, ft_weight=0.5, ft_reduction="sum"),
    "rank": rank_alone,
    "rrhf": rrhf,
    "sft": sft,
    "oreal": lambda judged: oreal(judged, kl=0.1),
    "oreal, best of 4": lambda judged: oreal(judged, best_of=4, advantage="mean"),
}
Rows = list[list[list[float]]]
"""Log-probabilities by query, response and token, without padding."""


def padded(rows: Rows, scores: list[list[float]], *, passed: list[list[bool]] | None = None, extra: int = 0) -> Judged:
    """As tensors of float64, with rubbish in the padding and `extra` more of it in each direction."""
    passed = passed or [[score >= 1.0 for score in each] for each in scores]
    responses = max(map(len, rows)) + extra
    tokens = max(len(response) for query in rows for response in query) + extra
    logprobs = torch.full((len(rows), responses, tokens), -7.0, dtype=torch.float64)
    mask = torch.zeros(len(rows), responses, tokens, dtype=torch.bool)
    table = torch.full((len(rows), responses), 3.0, dtype=torch.float64)
    present = torch.zeros(len(rows), responses, dtype=torch.bool)
    right = torch.ones(len(rows), responses, dtype=torch.bool)
    for q, query in enumerate(rows):
        for r, response in enumerate(query):
            logprobs[q, r, : len(response)] = torch.tensor(response, dtype=torch.float64)
            mask[q, r, : len(response)] = True
            table[q, r], present[q, r], right[q, r] = scores[q][r], True, passed[q][r]
    rates = torch.tensor([sum(each) / len(each) for each in passed], dtype=torch.float64)
    return Judged(
        logprobs=logprobs, mask=mask, scores=table, present=present, eligible=right, passed=right, rates=rates
    )


def random_rows(seed: int) -> tuple[Rows, list[list[float]]]:
    generator = torch.Generator().manual_seed(seed)

    def size(least: int, most: int) -> int:
        return int(torch.randint(least, most + 1, (1,), generator=generator))

    rows = [
        [(-3 * torch.rand(size(1, 6), generator=generator)).tolist() for _ in range(size(2, 5))]
        for _ in range(size(1, 4))
    ]
    ladder = [-1.0, -0.6, 0.0, 0.3, 1.0]
    return rows, [[ladder[size(0, 4)] for _ in query] for query in rows]


def by_loop(name: str, rows: Rows, scores: list[list[float]]) -> list[float]:
    """The losses as their papers write them, two loops and no tensors."""
    found = []
    for query, rewards in zip(rows, scores, strict=True):
        p = [sum(response) / len(response) for response in query]
        pairs = [(i, j) for i in range(len(p)) for j in range(len(p)) if rewards[i] > rewards[j]]
        weighted = sum((rewards[i] - rewards[j]) * max(0.0, p[j] - p[i]) for i, j in pairs) / max(len(pairs), 1)
        right = [r >= 1.0 for r in rewards]
        best = max((i for i in range(len(p)) if right[i]), key=lambda i: rewards[i], default=None)
        mean_nll, sum_nll = (0.0, 0.0) if best is None else (-p[best], -sum(query[best]))
        top = max(range(len(p)), key=lambda i: rewards[i])
        rate, rights = sum(right) / len(right), [i for i in range(len(p)) if right[i]]
        wrongs = [i for i in range(len(p)) if not right[i]]
        positive = sum(-p[i] for i in rights) / max(len(rights), 1)
        rloo = [0.0 - sum((1 - rate) * right[j] for j in range(len(p)) if j != i) / (len(p) - 1) for i in wrongs]
        average = -(1 - rate) * sum(right) / len(right)
        values = {
            "rrtf": weighted + mean_nll,
            "rrtf, token sum": weighted + 0.5 * sum_nll,
            "rank": weighted,
            "rrhf": sum(max(0.0, p[j] - p[i]) for i, j in pairs) - p[top],
            "sft": mean_nll,
            "oreal": positive + 0.5 * (-sum(rloo) / max(len(wrongs), 1)),  # the ratio is 1, KL 0
            "oreal, best of 4": (1 - (1 - rate) ** 4) * positive + 0.5 * (-average if wrongs else 0.0),
        }
        found.append(values[name])
    return found


@pytest.mark.parametrize("name", LOSSES)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_as_the_papers_write_it(name: str, seed: int) -> None:
    rows, scores = random_rows(seed)
    assert LOSSES[name](padded(rows, scores)).total.tolist() == pytest.approx(by_loop(name, rows, scores), abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
@given(seed=st.integers(0, 10_000), extra=st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_padding_changes_nothing(name: str, seed: int, extra: int) -> None:
    rows, scores = random_rows(seed)
    plain, wide = LOSSES[name](padded(rows, scores)), LOSSES[name](padded(rows, scores, extra=extra))
    torch.testing.assert_close(plain.total, wide.total)


@pytest.mark.parametrize("name", LOSSES)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_the_order_of_responses_does_not_matter(name: str, seed: int) -> None:
    rows, scores = random_rows(seed)
    scores = [[score + 0.001 * place for place, score in enumerate(each)] for each in scores]  # no ties for the best
    turned = LOSSES[name](padded([query[::-1] for query in rows], [each[::-1] for each in scores]))
    torch.testing.assert_close(LOSSES[name](padded(rows, scores)).total, turned.total)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    rows, scores = random_rows(11)
    judged = padded(rows, scores)
    old = judged.logprobs - 0.3 * torch.rand(judged.logprobs.shape, dtype=torch.float64)

    def value(logprobs: Tensor) -> Tensor:
        return LOSSES[name](replace(judged, logprobs=logprobs, old=old)).total.sum()

    check: Any = torch.autograd.gradcheck
    assert check(value, (judged.logprobs.clone().requires_grad_(),))


@pytest.mark.parametrize("name", ["rrtf", "rank", "rrhf"])
def test_a_step_down_raises_the_better_and_lowers_the_worse(name: str) -> None:
    judged = padded([[[-2.0, -2.0], [-1.0]]], [[1.0, 0.0]])
    logprobs = judged.logprobs.clone().requires_grad_()
    torch.autograd.backward(LOSSES[name](replace(judged, logprobs=logprobs)).total.sum())
    assert logprobs.grad is not None
    assert (logprobs.grad[0, 0, :2] < 0).all()
    assert logprobs.grad[0, 1, 0] > 0
    assert logprobs.grad[0, 1, 1] == 0, "padding"


def test_rrtf_by_hand() -> None:
    """p = -2, -1, -1.5; r = 1, 0, -1. Pairs: (1,0) 1 x 1, (1,-1) 2 x 0.5, (0,-1) in order: 2 / 3. CE: 2."""
    judged = padded([[[-1.0, -3.0], [-1.0], [-1.0, -2.0]]], [[1.0, 0.0, -1.0]])
    found = rrtf(judged)
    assert found.parts["rank"].item() == pytest.approx(2 / 3)
    assert found.parts["ft"].item() == pytest.approx(2.0)
    assert found.total.item() == pytest.approx(2 / 3 + 2.0)
    assert rrtf(judged, ft_reduction="sum").parts["ft"].item() == pytest.approx(4.0)


def test_rrhf_by_hand() -> None:
    """p = -1, -2, -3, -4 and r the other way: 3 x 1 + 2 x 2 + 1 x 3 = 10."""
    judged = padded([[[-1.0], [-2.0], [-3.0], [-4.0]]], [[1.0, 2.0, 3.0, 4.0]])
    found = rrhf(judged)
    assert found.parts["rank"].item() == pytest.approx(10.0)
    assert found.parts["ft"].item() == pytest.approx(4.0), "the highest score is cloned"


def test_oreal_by_hand() -> None:
    """Three of which one is right, p = 1/3, log pi = log pi_old + log 2 on the wrong ones' tokens."""
    judged = padded([[[-1.0, -3.0], [-1.0], [-2.0]]], [[1.0, 0.0, 0.0]])
    old = judged.logprobs.clone()
    old[0, 1:] -= math.log(2)
    found = oreal(replace(judged, old=old), best_of=2, kl=1.0)
    assert found.parts["positive"].item() == pytest.approx((1 - (2 / 3) ** 2) * 2.0)
    assert found.parts["negative"].item() == pytest.approx((2 / 3) * (1 / 2) * 2.0), "-F is (1 - p) m / (k - 1)"
    assert found.parts["kl"].item() == pytest.approx(2 / 3 * (0.5 + math.log(2) - 1))
    assert oreal(judged).parts["positive"].item() == pytest.approx(sft(judged).total.item())


def test_nothing_is_lost_by_what_is_in_order() -> None:
    judged = padded([[[-1.0], [-1.5, -2.5], [-3.0]]], [[1.0, 0.0, -1.0]])
    assert rank_alone(judged).total.item() == 0.0
    assert rank_alone(padded([[[-1.0], [-0.5]]], [[0.5, 0.5]])).total.item() == 0.0, "ties are no pairs"


def test_rewards_of_one_dimension_are_refused() -> None:
    """RRHF's issue 29: a vector of rewards broadcasts, and the loss is silently 0."""
    means, scores = torch.tensor([[-1.0, -2.0]]), torch.tensor([0.0, 1.0])
    present = torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(BadShapes, match="scores"):
        rank_hinge(means, scores, present)
    judged = padded([[[-1.0], [-2.0]]], [[0.0, 1.0]])
    with pytest.raises(BadShapes, match=r"scores: \(2,\)"):
        replace(judged, scores=scores)
    assert rank_hinge(means, scores[None], present).item() == pytest.approx(1.0)


def test_queries_are_not_mixed() -> None:
    """RRHF's issue 23: more than one query a batch puts responses of different queries into one matrix of pairs."""
    one, other = ([[-1.0], [-5.0]], [1.0, 0.9]), ([[-0.1], [-9.0]], [0.2, 0.1])
    together = rank_alone(padded([one[0], other[0]], [one[1], other[1]])).total
    assert together.tolist() == [0.0, 0.0], "each is in order, though not among one another"
    wrong = rank_alone(padded([one[0], [[-9.0], [-0.1]]], [one[1], other[1]])).total
    assert wrong.tolist() == pytest.approx([0.0, 0.1 * 8.9])


def test_the_mean_is_over_tokens_not_over_padding() -> None:
    """RRHF's issue 51: divided by the padded length, a short text looks likelier the longer its neighbour."""
    judged = padded([[[-2.0], [-1.0] * 8]], [[1.0, 0.0]])
    assert mean_logprobs(judged.logprobs, judged.mask)[0].tolist() == pytest.approx([-2.0, -1.0])
    assert rrhf(judged).parts["ft"].item() == pytest.approx(2.0), "not 2 / 8"
    assert rrhf(judged).parts["rank"].item() == pytest.approx(1.0), "by the padded mean the order would be right"


def test_nothing_is_cloned_where_nothing_may_be() -> None:
    judged = padded([[[-2.0], [-1.0]]], [[0.3, 0.0]])
    assert rrtf(judged).parts["ft"].item() == 0.0
    assert sft(judged).total.item() == 0.0
    assert rrhf(judged).parts["ft"].item() == pytest.approx(2.0), "RRHF clones the best, right or wrong"


def test_the_best_of_equals_is_the_first() -> None:
    place, there = best_of(torch.tensor([[0.5, 1.0, 1.0], [1.0, 1.0, 1.0]]), torch.tensor([[True] * 3, [False] * 3]))
    assert place[0].item() == 1
    assert there.tolist() == [True, False]


def test_what_is_not_there_gives_no_gradient() -> None:
    rows, scores = random_rows(3)
    judged = padded(rows, scores, extra=2)
    for loss in LOSSES.values():
        logprobs = judged.logprobs.clone().requires_grad_()
        torch.autograd.backward(loss(replace(judged, logprobs=logprobs)).total.sum())
        assert logprobs.grad is not None
        assert (logprobs.grad[~judged.mask] == 0).all()
