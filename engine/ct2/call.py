"""One call of `generate_batch`: rows in, events out, one step at a time.

CTranslate2's log-probability of a sampled token is that of the model's own distribution, before temperature, top-k and
top-p (checked against transformers in the tests), but after the repetition penalty. Requests for alternatives or with a
penalty therefore run alone and take each step's logits; the penalty is undone on them, so that what is reported is
always the model's own. One thing stays: within the first `min_tokens` tokens the end of text is left out of the
distribution. The penalty counts the candidate's own tokens, not the prompt's.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Protocol

from engine.ct2.jobs import Job, Slice
from engine.ct2.model import Model
from engine.ct2.precedence import Precedence
from engine.tokens import Detokeniser
from engine.transcript import Transcript
from engine.types import Event, FinishReason, Priority, TokenLogprob

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


SEND_EVERY_S = 0.04
"""Between two pieces of one candidate; the first comes at once."""


class Post(Protocol):
    """Sends events of a job to the event loop."""

    def __call__(self, job: Job, *events: Event, urgent: bool = False) -> None: ...


class _Row:
    """One candidate while it is decoded."""

    __slots__ = ("decode", "eager", "first_s", "job", "most", "over", "seen", "sent_s", "transcript", "unread")

    def __init__(self, job: Job, candidate: int, model: Model) -> None:
        self.job = job
        self.transcript = Transcript(candidate, job.request.sampling)
        self.decode = Detokeniser(model.tokenizer).push
        self.first_s = 0.0
        self.sent_s = 0.0
        self.over = False
        self.seen: set[int] = set()
        self.unread: list[TokenLogprob] = []
        self.eager = bool(job.request.sampling.stop)
        """Whether every token must be looked at as it comes."""
        self.most = job.request.sampling.max_tokens


class Call:
    """Decodes slices that join. Runs once, on a worker's thread."""

    def __init__(self, model: Model, slices: list[Slice], post: Post, precedence: Precedence) -> None:
        self._model = model
        self._precedence = precedence
        self._typed = slices[0].job.request.priority is Priority.AS_YOU_TYPE
        self._post = post
        self._slices = slices
        self._rows = [_Row(part.job, candidate, model) for part in slices for candidate in part.candidates]
        self._options = slices[0].job.options
        # Greedy candidates are rows of their own, since CTranslate2 gives only one hypothesis a prompt then.
        self._hypotheses = 1 if self._options.greedy else len(slices[0].candidates)
        self._began_s = 0.0
        self._step = -1
        self._logits: NDArray[np.float32] | None = None
        self._next_logits = 0
        self.sampled_tokens = 0

    @property
    def rows(self) -> int:
        """How many candidates are decoded together."""
        return len(self._rows)

    def run(self) -> None:
        """Decode until every row has ended or its job is cancelled. Raises what CTranslate2 raises."""
        with self._precedence.urgent() if self._typed else contextlib.nullcontext():
            self._decode()
        if not all(row.over or row.job.cancelled for row in self._rows):
            raise RuntimeError("a candidate was left without an end")
        self.sampled_tokens = sum(row.transcript.token_count for row in self._rows)

    def _decode(self) -> None:
        options = self._options
        repeats = len(self._rows) // len(self._slices) // self._hypotheses
        self._began_s = time.monotonic()
        self._model.generator.generate_batch(
            [list(part.job.prompt) for part in self._slices for _ in range(repeats)],
            include_prompt_in_result=False,
            num_hypotheses=self._hypotheses,
            sampling_topk=options.top_k,
            sampling_topp=options.top_p,
            sampling_temperature=options.temperature,
            repetition_penalty=options.repetition_penalty,
            min_length=options.min_tokens,
            # The callback ends a row at its own max_tokens.
            max_length=max(part.job.request.sampling.max_tokens for part in self._slices),
            end_token=sorted(self._model.end_ids),
            return_scores=True,
            return_logits_vocab=options.logits,
            callback=self._on_token,
        )

    def _cancelled(self) -> bool:
        return all(row.over or row.job.cancelled for row in self._rows)

    def _on_token(self, step: Any) -> bool:
        """Take one sampled token; True ends its row.

        Runs a few microseconds at a time between long stretches of native code, with cold caches and the interpreter's
        lock: reading tokens many at once, where nothing depends on them yet, gains 10 % of all tokens/s.
        """
        row = self._rows[step.batch_id * self._hypotheses + step.hypothesis_id]
        if not self._typed:
            self._precedence.give_way(self._cancelled)
        if row.job.cancelled:
            return True
        token_id: int = step.token_id
        if self._options.logits:
            row.unread.append(self._explained(step, token_id, row))
        else:
            row.unread.append(TokenLogprob(token_id, self._model.texts[token_id], step.log_prob))
        now_s = time.monotonic()
        ending = token_id in self._model.end_ids or len(row.unread) + row.transcript.token_count >= row.most
        if not (ending or row.eager or step.is_last) and now_s - row.sent_s < SEND_EVERY_S:
            return False
        row.first_s = row.first_s or now_s
        reason = self._read(row)
        if reason is None and step.is_last:
            reason = "length"
        if reason is not None:
            self._end(row, reason, now_s)
            return True
        if now_s - row.sent_s >= SEND_EVERY_S:
            self._send(row, now_s)
        return False

    def _read(self, row: _Row) -> FinishReason | None:
        """Add what was sampled since the last time to the row's text; say whether the row is over."""
        reason: FinishReason | None = None
        for token in row.unread:
            if token.id in self._model.end_ids:
                row.transcript.end_of_text()
                reason = "stop"
            else:
                reason = row.transcript.push(token, row.decode(token.id))
        row.unread.clear()
        return reason

    def _send(self, row: _Row, now_s: float) -> None:
        piece = row.transcript.take()
        if piece is not None:
            row.sent_s = now_s
            urgent = not row.job.first_piece_sent
            row.job.first_piece_sent = True
            self._post(row.job, piece, urgent=urgent)

    def _end(self, row: _Row, reason: FinishReason, now_s: float) -> None:
        row.over = True
        piece = row.transcript.finish()
        finished = row.transcript.finished(reason, prefill_s=row.first_s - self._began_s, decode_s=now_s - row.first_s)
        self._post(row.job, *([piece, finished] if piece is not None else [finished]))

    def _explained(self, step: Any, token_id: int, row: _Row) -> TokenLogprob:
        """The token with its alternatives, from the step's logits."""
        texts = self._model.texts
        logprobs = self._own_logprobs(step, row)
        row.seen.add(token_id)
        most = row.job.request.sampling.logprobs or 0
        best: list[tuple[str, float]] = []
        if most:
            likeliest = logprobs.argpartition(-most)[-most:]
            best = sorted(((texts[other], float(logprobs[other])) for other in likeliest), key=lambda pair: -pair[1])
        return TokenLogprob(token_id, texts[token_id], float(logprobs[token_id]), tuple(best))

    def _own_logprobs(self, step: Any, row: _Row) -> NDArray[np.float32]:
        """The row's log-probabilities at this step, without the penalty.

        Each step hands all rows' logits over with the first row that is still decoded, and none with the others.
        """
        import numpy as np

        if step.step != self._step or self._logits is None:
            self._step, self._next_logits, self._logits = step.step, 0, _on_host(step.logits)
        logits = self._logits[self._next_logits]
        self._next_logits += 1
        penalty = self._options.repetition_penalty
        if penalty != 1.0 and row.seen:
            seen = list(row.seen)
            values = logits[seen]
            logits[seen] = np.where(values > 0, values * penalty, values / penalty)
        top = logits.max()
        return np.asarray(logits - (top + np.log(np.exp(logits - top).sum())))


def _on_host(logits: Any) -> NDArray[np.float32]:
    import ctranslate2
    import numpy as np

    if logits.device != "cpu":
        logits = logits.to_device(ctranslate2.Device.cpu)
    return np.array(logits.to(ctranslate2.DataType.float32))
