"""From rankings to replies: the plain reply, and the chunks of a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from engine import EngineInfo, TokenLogprob
from reranker import Candidate, Ranking
from server import sse
from server.translate import evidence
from server.translate.ask import Ask
from server.translate.completions import exchange_id
from server.translate.writers import WRITERS, Choice


def plain_reply(ask: Ask, rankings: Sequence[Ranking], info: EngineInfo, created: int) -> dict[str, Any]:
    """The whole reply. `created` is Unix seconds."""
    writer = WRITERS[ask.route]
    choices: list[Choice] = []
    for index, number, position in chosen(ask, rankings):
        ranking = rankings[number]
        candidate = ranking.candidates[position]
        text = ask.tasks[number].prefix + candidate.text if ask.echo else candidate.text
        choice = writer.choice(ask, index, text, candidate.tokens, evidence.finish_reason(candidate))
        choice["rerank"] = evidence.choice_block(ranking, position, _feedback(ask, number, index))
        choices.append(choice)
    return {
        **_head(ask, writer.object, info, created),
        "choices": choices,
        "usage": evidence.usage(rankings),
        "rerank": evidence.rerank_block(ask, rankings),
    }


class Chunks:
    """OpenAI's `Events`: shared head, role first, offsets counted a choice."""

    done = sse.DONE

    def __init__(self, ask: Ask, info: EngineInfo, created: int) -> None:
        self._ask = ask
        self._writer = WRITERS[ask.route]
        self._head = _head(ask, self._writer.chunk_object, info, created)
        if ask.include_usage:
            self._head["usage"] = None
        self._offsets: dict[int, int] = {}

    def piece(self, index: int, text: str, tokens: Sequence[TokenLogprob]) -> Iterator[dict[str, Any]]:
        """The chunks for some text of a choice."""
        yield from self._open(index)
        yield self._chunk([self._writer.piece(self._ask, index, text, tokens, self._offsets[index])])
        self._offsets[index] += len(text)

    def text(self, rankings: Sequence[Ranking]) -> Iterator[dict[str, Any]]:
        """The chunks with the text of every choice, line by line."""
        for index, number, position in chosen(self._ask, rankings):
            for text, tokens in lines(rankings[number].candidates[position]):
                yield from self.piece(index, text, tokens)

    def end(self, rankings: Sequence[Ranking]) -> Iterator[dict[str, Any]]:
        """The chunks that end every choice, then the evidence; with usage where it was asked for or something reranked.

        Without `include_usage` the evidence rides on the last choice's chunk: a chunk without choices breaks clients
        that never asked for one.
        """
        chunks: list[dict[str, Any]] = []
        for index, number, position in chosen(self._ask, rankings):
            ranking = rankings[number]
            chunks += self._open(index)
            choice = self._writer.closing(index, evidence.finish_reason(ranking.candidates[position]))
            choice["rerank"] = evidence.choice_block(ranking, position, _feedback(self._ask, number, index))
            chunks.append(self._chunk([choice]))
        if self._ask.include_usage:
            chunks.append(self._chunk([]))
        if self._ask.include_usage or self._ask.reranked:
            chunks[-1]["usage"] = evidence.usage(rankings)
        chunks[-1]["rerank"] = evidence.rerank_block(self._ask, rankings)
        yield from chunks

    def _open(self, index: int) -> Iterator[dict[str, Any]]:
        if index in self._offsets:
            return
        self._offsets[index] = 0
        opening = self._writer.opening(index)
        if opening is not None:
            yield self._chunk([opening])
        if self._ask.echo:
            yield from self.piece(index, self._ask.tasks[index // self._ask.options.n].prefix, ())

    def _chunk(self, choices: list[Choice]) -> dict[str, Any]:
        return {**self._head, "choices": choices}


def chosen(ask: Ask, rankings: Sequence[Ranking]) -> Iterator[tuple[int, int, int]]:
    """Every choice of a reply, in order: its index, its prompt's number, its position among that prompt's candidates.

    The k-th best answer to the i-th prompt has index i * n + k, also where a deadline left a prompt with fewer.
    """
    for number, ranking in enumerate(rankings):
        for rank, position in enumerate(ranking.order[: ranking.options.n]):
            yield number * ask.options.n + rank, number, position


def lines(candidate: Candidate) -> Iterator[tuple[str, tuple[TokenLogprob, ...]]]:
    """A text in pieces that end at line ends, with their tokens; whole where the tokens do not spell the text."""
    if "".join(token.text for token in candidate.tokens) != candidate.text:
        if candidate.text:
            yield candidate.text, candidate.tokens
        return
    text, tokens = "", []
    for token in candidate.tokens:
        text += token.text
        tokens.append(token)
        if token.text.endswith("\n"):
            yield text, tuple(tokens)
            text, tokens = "", []
    if text:
        yield text, tuple(tokens)


def _head(ask: Ask, kind: str, info: EngineInfo, created: int) -> dict[str, Any]:
    return {
        "id": ask.id,
        "object": kind,
        "created": created,
        "model": ask.model,
        "system_fingerprint": evidence.fingerprint(info, ask.profile),
    }


def _feedback(ask: Ask, number: int, index: int) -> tuple[str, int] | None:
    """Where feedback on a choice belongs, told only where it is not the reply's id and the choice's index."""
    return None if len(ask.tasks) == 1 else (exchange_id(ask.id, number), index % ask.options.n)
