"""From a step's logits to one token a row. Everything a request can ask of sampling is honoured here.

Order, as vLLM has it: bias and penalties on the logits, the end-of-text token masked below `min_tokens`, temperature,
top-k, top-p, draw. Reported log-probabilities come from the untouched logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.types import Sampling

if TYPE_CHECKING:
    import torch

_NEVER = float("-inf")


class Sampler:
    """Draws tokens for the candidates of one request; a candidate's draws depend on the seed and its number alone."""

    def __init__(
        self, sampling: Sampling, prompt: Sequence[int], n: int, *, end_ids: Sequence[int], known_ids: int, seed: int
    ) -> None:
        """`known_ids`: ids from this one on have no text (padding of the vocabulary) and are never drawn."""
        import torch

        self._sampling = sampling
        self._end_ids = list(end_ids)
        self._known_ids = known_ids
        self._prompt = torch.tensor(sorted(set(prompt)), dtype=torch.long)
        self._adjusts = bool(sampling.asked() - {"top_k", "seed", "logprobs"})
        self._generators = [torch.Generator().manual_seed(_mix(seed, number)) for number in range(n)]

    def draw(self, logits: torch.Tensor, rows: Sequence[tuple[int, Sequence[int]]]) -> list[int]:
        """One token id a row; a row is a candidate's number and its ids so far.

        `logits`: Float[rows, vocabulary] in float32; changed in place.
        """
        for row, (_, sampled) in enumerate(rows if self._adjusts else ()):
            self._penalise(logits[row], sampled)
        logits[:, self._known_ids :] = _NEVER
        if self._sampling.temperature == 0:
            return [int(token) for token in logits.argmax(-1)]
        probabilities = self._cut(logits / self._sampling.temperature)
        return [self._pick(probabilities[row], candidate) for row, (candidate, _) in enumerate(rows)]

    def _penalise(self, logits: torch.Tensor, sampled: Sequence[int]) -> None:
        import torch

        sampling = self._sampling
        for token, bias in sampling.logit_bias:
            logits[token] += bias
        new, counts = torch.unique(torch.tensor(sampled, dtype=torch.long), return_counts=True)
        if sampling.repetition_penalty != 1.0:
            seen = torch.unique(torch.cat((self._prompt, new)))
            values = logits[seen]
            factor = sampling.repetition_penalty
            logits[seen] = torch.where(values > 0, values / factor, values * factor)
        if len(new):
            logits[new] -= sampling.presence_penalty + sampling.frequency_penalty * counts
        if len(sampled) < sampling.min_tokens:
            logits[self._end_ids] = _NEVER

    def _cut(self, logits: torch.Tensor) -> torch.Tensor:
        """Probabilities after top-k and top-p; at least one token a row keeps some."""
        import torch

        if 0 < self._sampling.top_k < logits.shape[-1]:
            least = logits.topk(self._sampling.top_k).values[:, -1:]
            logits = logits.masked_fill(logits < least, _NEVER)
        probabilities = torch.softmax(logits, -1)
        if self._sampling.top_p < 1.0:
            ordered, order = probabilities.sort(descending=True, stable=True)
            before = ordered.cumsum(-1) - ordered
            ordered = ordered.masked_fill(before >= self._sampling.top_p, 0.0)
            probabilities = torch.zeros_like(probabilities).scatter(-1, order, ordered)
        return probabilities

    def _pick(self, probabilities: torch.Tensor, candidate: int) -> int:
        """Invert the distribution function at one uniform number of the candidate's own generator."""
        import torch

        cumulated = probabilities.double().cumsum(-1)
        uniform = torch.rand(1, generator=self._generators[candidate], dtype=torch.float64)
        return int(torch.searchsorted(cumulated, uniform * cumulated[-1], right=True).clamp(max=len(probabilities) - 1))


def _mix(seed: int, number: int) -> int:
    """Seeds of neighbouring candidates must not be neighbours; any integer seed is fine."""
    return ((seed % 2**64) * 0x9E3779B97F4A7C15 + (number + 1) * 0xBF58476D1CE4E5B9) % 2**63
