"""How many candidates are sampled, when, and of what: all at once, in stages, after plans, again where all failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine import Sampling
from reranker.confidence import leader_confidence
from reranker.plan import Batches, Devise, Sample, State, Stop
from reranker.planning import walked_calls, with_plan
from reranker.repair import repair_prompt
from reranker.types import Candidate, Options

CONFIDENT = 0.85
"""A leader that is right with this probability needs no further candidates: 16 that all agree on all tests, say."""
_FIRST_STAGE, _GROWTH = 4, 4
_MENDED = 4
"""So many different failing programs are mended in a round, those that passed most first."""


def batches_for(options: Options) -> Batches:
    """The batches that the options ask for."""
    batches: Batches = Growing(options) if options.adaptive else AllAtOnce(options)
    if options.plans:
        batches = Planned(options, batches)
    return Repairing(options, batches) if options.repair_rounds else batches


class AllAtOnce:
    """One batch. One candidate of it is greedy, when asked."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def next(self, state: State) -> Sequence[Sample | Devise | Stop]:
        """See `Batches.next`."""
        if state.started:
            return []
        options = self._options
        total = options.n if options.method == "off" else options.num_candidates
        greedy = options.method != "off" and options.include_greedy and total > 1 and options.sampling.temperature > 0
        rest = Sample(total - greedy, options.sampling)
        return [Sample(1, _greedy(options)), rest] if greedy else [rest]


class Growing:
    """Adaptive sampling: `n` candidates, the greedy one among them, then up to 4, 16, 64, ... of them.

    Ends when the leader is right with a probability of at least `CONFIDENT`, or at `num_candidates`.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def next(self, state: State) -> Sequence[Sample | Devise | Stop]:
        """See `Batches.next`."""
        options, sampled = self._options, len(state.candidates)
        if not state.started:
            greedy = options.include_greedy and options.sampling.temperature > 0
            rest = options.n - greedy
            first = [Sample(1, _greedy(options))] if greedy else []
            return [*first, *([Sample(rest, options.sampling)] if rest else [])]
        if sampled >= options.num_candidates:
            return []
        confidence = leader_confidence(state.task, tuple(state.candidates.values()))
        if confidence is not None and confidence >= CONFIDENT:
            return [Stop("early_exit")]
        stage = _FIRST_STAGE
        while stage <= sampled:
            stage *= _GROWTH
        return [Sample(min(stage, options.num_candidates) - sampled, options.sampling)]


class Planned:
    """Plans first; the candidates are then spread over the plans that hold and the prompt without any, as SLPW does."""

    def __init__(self, options: Options, batches: Batches) -> None:
        self._options = options
        self._batches = batches

    def next(self, state: State) -> Sequence[Sample | Devise | Stop]:
        """See `Batches.next`."""
        if state.plans is None and not state.started and walked_calls(state.task, state.suite):
            return [Devise(self._options.plans)]
        prompts = [*(with_plan(state.task, plan) for plan in state.plans or ()), None]
        spread: list[Sample | Devise | Stop] = []
        for action in self._batches.next(state):
            if not isinstance(action, Sample):
                spread.append(action)
                continue
            shares = [action.n // len(prompts) + (at < action.n % len(prompts)) for at in range(len(prompts))]
            spread += [Sample(n, action.sampling, prompt) for n, prompt in zip(shares, prompts, strict=True) if n]
        return spread


class Repairing:
    """Where no candidate passes the visible suite, the best of them are shown what failed, and sampled again.

    The shape of S* (2502.14382, stage 1) and of LPW's repair (2411.14503): the mended compete with the first ones.
    """

    def __init__(self, options: Options, batches: Batches) -> None:
        self._options = options
        self._batches = batches

    def next(self, state: State) -> Sequence[Sample | Devise | Stop]:
        """See `Batches.next`."""
        actions = self._batches.next(state)
        suite = state.suite
        if actions or suite is None or not suite.visible or state.num_passing:
            return actions
        if state.repaired >= self._options.repair_rounds:
            return []
        prompts = [(c.index, repair_prompt(state.task, suite, c)) for c in _worth_mending(state)]
        asked = [(index, prompt) for index, prompt in prompts if prompt is not None]
        each = max(1, self._options.num_candidates // max(1, len(asked)))
        return [Sample(each, self._options.sampling, prompt, index) for index, prompt in asked]


def _worth_mending(state: State) -> list[Candidate]:
    """Distinct candidates that were run, failed, and were not mended yet; those that passed most first."""
    mended = {candidate.repairs for candidate in state.candidates.values()}
    failed = [(c.outcome.passed, c) for c in state.distinct if c.outcome is not None and c.index not in mended]
    failed.sort(key=lambda pair: (-pair[0], -_likelihood(pair[1]), pair[1].index))
    return [candidate for _, candidate in failed[:_MENDED]]


def _likelihood(candidate: Candidate) -> float:
    return float("-inf") if candidate.mean_logprob is None else candidate.mean_logprob


def _greedy(options: Options) -> Sampling:
    return replace(options.sampling, temperature=0.0)
