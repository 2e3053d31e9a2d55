"""The driver of one call of `best_of_n`: carries out a plan's actions, keeps its clock, files what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from engine import (
    ContextTooLong,
    Engine,
    EngineError,
    Event,
    Finished,
    GenerationRequest,
    Prompt,
    Sampling,
    Started,
    TextPiece,
    TokenLogprob,
)
from reranker.base import Evidence, Scorer
from reranker.dedupe import program_key
from reranker.errors import JudgeFailed
from reranker.extract import extract, whole_lines, without_overlap
from reranker.method import Decision
from reranker.off_loop import off_loop
from reranker.plan import Devise, Plan, Run, Sample, State, Stop, Try, Write
from reranker.planning import holds, planning_prompt, walked_calls
from reranker.scorers import needs_of
from reranker.trials import TESTS_PER_SAMPLE, read_tests, writing_prompt
from reranker.types import Candidate, Options, Task
from sandbox import CallSuite, InvalidSuite, Outcome, Program, Sandbox, SandboxError, Suite, Whose

_TRIED: frozenset[Evidence] = frozenset({"tests", "inputs"})
"""What trials show."""


@dataclass(slots=True)
class Times:
    """When things happened, in `time.monotonic()` seconds, and what the engine said of its own."""

    began: float = field(default_factory=time.monotonic)
    first_token: float | None = None
    last_token: float = 0.0
    prompt_tokens: int = 0
    queue_s: float = 0.0
    prefill_s: float | None = None

    def started(self, event: Started) -> None:
        """Note the first request that left the queue; later ones sample the same prompt."""
        if not self.prompt_tokens:
            self.prompt_tokens, self.queue_s = event.prompt_tokens, event.queue_s


class Drive:
    """One call: its tasks, its deadline, and what is known so far."""

    def __init__(
        self,
        task: Task,
        options: Options,
        decision: Decision,
        engine: Engine,
        sandbox: Sandbox | None,
        on_event: Callable[[Event], None] | None,
        discriminator: Scorer | None = None,
    ) -> None:
        self.options, self.decision, self.engine = options, decision, engine
        self.degraded = decision.degraded
        self.not_judged = [decision.not_judged] if decision.not_judged else []
        self.times = Times()
        self.side_tokens = 0
        """Tokens sampled for tests and plans."""
        self.failed: set[str] = set()
        """Methods whose own model failed."""
        self._discriminator = discriminator if options.deadline_s is not None else None
        self._on_event = on_event
        self._sandbox = sandbox
        suite = decision.suite if sandbox is not None else None
        if decision.trials != task.trials:
            task = replace(task, trials=decision.trials)
        self._state = State(task, suite=suite, can_try=sandbox is not None and (decision.writes or bool(task.trials)))
        self._deadline = None if options.deadline_s is None else self.times.began + options.deadline_s
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._judge_failed = self._trials_failed = False
        self._next_index = 0
        self._greedy: set[int] = set()
        self._repairs: dict[int, int] = {}
        self._programs: dict[int, Program] = {}
        self._keys: dict[bytes, int] = {}
        self._unfinished: dict[int, list[TextPiece]] = {}

    @property
    def task(self) -> Task:
        """The task, with its trials once they are known."""
        return self._state.task

    def fail(self, method: str, why: str) -> None:
        """Do without a method whose model failed. Raises `JudgeFailed` where the request wants no fallback."""
        if self.options.on_error == "fail":
            raise JudgeFailed(f"{method}: {why}")
        self.failed.add(method)
        self.degraded = self.degraded or f"{method} failed: {why}"

    @property
    def num_plans(self) -> int | None:
        """Plans that hold; None: none was asked for."""
        return len(self._state.plans or ()) if self.options.plans else None

    def evidence(self) -> frozenset[Evidence]:
        """What the candidates can be judged by."""
        found: set[Evidence] = {"suite"} if self.decision.suite is not None else set()
        if self.task.trials is not None:
            found |= {"inputs", "tests"} if isinstance(self.task.trials.suite, CallSuite) else {"inputs"}
        return frozenset(found)

    def methods(self, loaded: Collection[str]) -> tuple[str, ...]:
        """The methods that decide, in their turn: those of the decision, or likelihood where nothing else is known.

        Raises `JudgeFailed` where evidence was asked for by name, is not there, and nothing else may decide.
        """
        if needs_of(self.decision.method) & _TRIED and self.task.trials is None:
            why = "the model wrote no test that could be read"
            if self.options.on_error == "fail" and not self._state.deadline_passed:
                raise JudgeFailed(why)
            self.degraded = self.degraded or why
            return ("likelihood",)
        methods = ("likelihood",) if self._judge_failed else self.decision.methods(self.evidence(), loaded)
        if self._trials_failed:
            methods = tuple(name for name in methods if not needs_of(name) & _TRIED)
        return methods or ("likelihood",)

    async def follow(self, plan: Plan) -> Literal["complete", "early_exit", "deadline"]:
        """Do what the plan says until it says stop; the status it stopped with."""
        while True:
            self._changed.clear()
            actions = plan.next(self._state)
            self._state.repaired += any(isinstance(each, Sample) and each.repairs is not None for each in actions)
            for action in actions:
                match action:
                    case Sample():
                        self._spawn(self._begun(action))
                    case Write(tests):
                        self._begin_side(self._write(tests))
                    case Devise(plans):
                        self._begin_side(self._devise(plans))
                    case Run(index):
                        self._state.running.add(index)
                        self._spawn(self._run(index))
                    case Try(index):
                        self._state.trying.add(index)
                        self._spawn(self._try(index))
                    case Stop(status):
                        return status
            await self._wait()
            if self._failure is not None:
                raise self._failure

    async def sample(self) -> Literal["complete"]:
        """Only sample, until the engine ends: nothing goes on beside that, so it needs neither plan nor task."""
        await self._begun(Sample(self.options.n, self.options.sampling))
        return "complete"

    async def stop(self) -> None:
        """Cancel what is still going on and wait until it has let go of the engine and the sandbox."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def candidates(self) -> tuple[Candidate, ...]:
        """The complete candidates and, as cancelled, those of which a part was sampled; by index."""
        known = dict(self._state.candidates)
        for index, pieces in self._unfinished.items():
            text = "".join(piece.text for piece in pieces)
            tokens = tuple(token for piece in pieces for token in piece.tokens)
            kept = whole_lines(text) if self.task.shape == "fim" else text
            known[index] = Candidate(
                index=index,
                text=kept,
                raw_text=text,
                finish_reason="cancelled",
                tokens=_tokens_of(kept, text, tokens),
                token_count=len(tokens),
                greedy=index in self._greedy,
                repairs=self._repairs.get(index),
            )
        return tuple(known[index] for index in sorted(known))

    async def _wait(self) -> None:
        left_s = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        try:
            # Not `wait_for`: before Python 3.12 it swallows a cancellation that comes together with the change.
            async with asyncio.timeout(left_s):
                await self._changed.wait()
        except TimeoutError:
            self._state.deadline_passed = True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._settled)

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
        self._changed.set()

    def _request(self, name: str, prompt: Prompt, sampling: Sampling, n: int) -> GenerationRequest:
        return GenerationRequest(
            id=f"{self.task.id}-{name}",
            prompt=prompt,
            sampling=sampling,
            n=n,
            priority=self.options.priority,
            fairness_key=self.options.fairness_key,
            # What the reranker itself adds to a prompt is not its sender's to answer for.
            max_prompt_tokens=self.options.max_prompt_tokens if prompt is self.task.prompt else None,
            deadline=self._deadline,
        )

    def _begun(self, action: Sample) -> Coroutine[Any, Any, None]:
        """Number the candidates of a batch; what samples them."""
        indices = range(self._next_index, self._next_index + action.n)
        self._next_index += action.n
        if action.sampling.temperature == 0:
            self._greedy.update(indices)
        if action.repairs is not None:
            self._repairs.update(dict.fromkeys(indices, action.repairs))
        self._state.started = True
        self._state.sampling += 1
        return self._sample(action, indices.start)

    async def _sample(self, action: Sample, first: int) -> None:
        ours = action.prompt is not None  # written here, and longer than what the request answers for
        sampling = replace(action.sampling, fits_context=True) if ours else action.sampling
        request = self._request(str(first), action.prompt or self.task.prompt, sampling, action.n)
        try:
            async with contextlib.aclosing(self.engine.generate(request)) as events:
                async for event in events:
                    await self._take(event, first)
        except EngineError as error:
            if ours and isinstance(error, ContextTooLong):
                return  # then it is not mended, or not coded from a plan
            # Candidates that are already complete are worth more than an error; none at all is an error.
            if not self._state.candidates:
                raise
            self.degraded = self.degraded or f"the engine failed: {error}"
            self._state.broken_off = True
        finally:
            self._state.sampling -= 1
            self.times.last_token = time.monotonic()

    def _begin_side(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something written that is no candidate."""
        self._state.sampling += 1
        self._spawn(work)

    async def _write(self, tests: int) -> None:
        """Have tests written; with none that can be read the candidates are compared by something else."""
        prompt = await off_loop(writing_prompt, self.task, size=len(self.task.prefix))
        samples = [] if prompt is None else await self._texts("tests", prompt, -(-tests // TESTS_PER_SAMPLE))
        trials = await off_loop(read_tests, self.task, samples, size=sum(map(len, samples)))
        self._state.task = replace(self.task, trials=trials or self.decision.made_up)
        self._state.sampling -= 1

    async def _devise(self, plans: int) -> None:
        """Have plans written and keep those that lead to the examples' results; without any the code comes as ever."""
        calls = walked_calls(self.task, self._state.suite)
        samples = await self._texts("plans", planning_prompt(self.task, calls), plans)
        size = sum(map(len, samples))
        self._state.plans = tuple([text for text in samples if await off_loop(holds, text, calls, size=size)])
        self._state.sampling -= 1

    async def _texts(self, name: str, prompt: Prompt, n: int) -> list[str]:
        """What the model says to a prompt of ours; fewer than `n` where it fails."""
        samples: list[str] = []
        sampling = replace(self.options.sampling, stop=(), logprobs=None, min_tokens=0)
        try:
            async with contextlib.aclosing(self.engine.generate(self._request(name, prompt, sampling, n))) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        samples.append(event.text)
                        self.side_tokens += event.token_count
        except EngineError as error:
            self.degraded = self.degraded or f"no {name} could be written: {error}"
        self.times.last_token = time.monotonic()
        return samples

    async def _take(self, event: Event, first: int) -> None:
        """File one event of the engine, its candidate renumbered."""
        if isinstance(event, Started):
            self.times.started(event)
        elif isinstance(event, TextPiece):
            event = _renumbered(event, first)
            self.times.first_token = self.times.first_token or time.monotonic()
            self._unfinished.setdefault(event.candidate, []).append(event)
        else:
            event = _renumbered(event, first)
            self.times.prefill_s = self.times.prefill_s or event.prefill_s
            if event.finish_reason == "cancelled":
                self._state.deadline_passed = True  # the engine cancels for nothing else while we listen
            else:
                await self._complete(event)
        if self._on_event is not None:
            self._on_event(event)

    async def _complete(self, event: Finished) -> None:
        """Extract, de-duplicate and file one complete candidate."""
        text, tokens, original = event.text, event.tokens, None
        size = len(self.task.prefix) + len(event.text) + len(self.task.suffix)
        if self.decision.cuts:
            extracted = await off_loop(extract, self.task, event.text, size=size)
            text, tokens = extracted.text, _tokens_of(extracted.text, event.text, event.tokens)
            self._programs[event.candidate] = extracted.program
        elif self.task.shape == "fim":
            text = without_overlap(event.text, self.task.suffix)
            tokens = _tokens_of(text, event.text, event.tokens)
        if self.decision.method != "off" and self.options.dedupe == "ast":
            source = self.task.prefix + text + self.task.suffix
            key = await off_loop(program_key, source, self.task.language, size=size)
            original = self._state.candidates.get(self._keys.setdefault(key, event.candidate))
        candidate = Candidate(
            index=event.candidate,
            # A duplicate is returned in the words that were tested.
            text=original.text if original and self.decision.cuts else text,
            raw_text=event.text,
            finish_reason=event.finish_reason,
            tokens=tokens,
            token_count=event.token_count,
            greedy=event.candidate in self._greedy,
            repairs=self._repairs.get(event.candidate),
            duplicate_of=original.index if original else None,
            deduped=self.decision.method != "off" and self.options.dedupe == "ast",
            outcome=original.outcome if original else None,
            trial=original.trial if original else None,
            generate_s=time.monotonic() - self.times.began,
        )
        self._state.candidates[event.candidate] = candidate  # before anything is waited for: equal ones look for it
        self._unfinished.pop(event.candidate, None)
        if original is None:
            await self._look_at(candidate)
        self._changed.set()

    async def _look_at(self, candidate: Candidate) -> None:
        """Where time is short, have what looks right run first."""
        if self._discriminator is None or self._state.suite is None:
            return
        try:
            (score,) = await self._discriminator.score(self.task, [candidate])
        except EngineError as error:
            self._discriminator = None
            self.fail("discriminator", str(error))
            return
        if score.value is not None:
            self._state.promise[candidate.index] = score.value

    async def _run(self, index: int) -> None:
        """Run the suite on one program; what it did goes to its candidate and to that one's duplicates."""
        began = time.monotonic()
        try:
            outcome = await self._judged(index, self.decision.suite)
        finally:
            self._state.running.discard(index)
        if outcome is None:
            self._state.suite, self._state.can_try, self._judge_failed = None, False, True
        took = time.monotonic() - began
        for candidate in self._same_as(index) if outcome is not None else ():
            execute_s = took if candidate.index == index else candidate.execute_s
            self._state.candidates[candidate.index] = replace(candidate, outcome=outcome, execute_s=execute_s)

    async def _try(self, index: int) -> None:
        """Run the trials on one program; without them what was checked still counts."""
        trials = self.task.trials
        try:
            outcome = await self._judged(index, None if trials is None else trials.suite)
        except InvalidSuite as error:  # ours, not the request's
            outcome = None
            self.degraded = self.degraded or f"the trials cannot be run: {error}"
        finally:
            self._state.trying.discard(index)
        if outcome is None:
            self._state.can_try, self._trials_failed = False, True
        for candidate in self._same_as(index) if outcome is not None else ():
            self._state.candidates[candidate.index] = replace(candidate, trial=outcome)

    async def _judged(self, index: int, suite: Suite | None) -> Outcome | None:
        """What one program did; None where the sandbox failed. Raises `JudgeFailed` where that was asked."""
        if self._sandbox is None or suite is None:
            return None
        try:
            return await self._sandbox.run(
                self._programs[index],
                suite,
                self.options.limits,
                whose=Whose(request=self.task.id, key=self.options.fairness_key, priority=self.options.priority),
            )
        except InvalidSuite:
            raise
        except SandboxError as error:
            if self.options.on_error == "fail":
                raise JudgeFailed(str(error), error.word) from error
            self.not_judged.append(error.word)
            self.degraded = self.degraded or f"the sandbox failed: {error}"
            return None

    def _same_as(self, index: int) -> list[Candidate]:
        """A candidate and its duplicates."""
        return [c for c in self._state.candidates.values() if index in (c.index, c.duplicate_of)]


E = TypeVar("E", TextPiece, Finished)


def _renumbered(event: E, first: int) -> E:
    return replace(event, candidate=event.candidate + first) if first else event


def _tokens_of(text: str, sampled: str, tokens: Sequence[TokenLogprob]) -> tuple[TokenLogprob, ...]:
    """The tokens of the text that was kept; all of them where it is not the beginning of what was sampled."""
    if not sampled.startswith(text):
        return tuple(tokens)
    kept: list[TokenLogprob] = []
    length = 0
    for token in tokens:
        if length >= len(text):
            break
        kept.append(token)
        length += len(token.text)
    return tuple(kept)
