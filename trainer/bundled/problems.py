"""Held-out problems: compositions that are nowhere in training, as functions to write and as gaps to fill.

A composition that a single step could answer just as well on every hidden test would say nothing about composing, so
it is left out.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from typing import Any

from reranker.evaluation import Problem as HeldOut
from trainer.bundled.compose import Problem, compose, more_cases
from trainer.bundled.gap import Place, cut
from trainer.bundled.inputs import draw_input, edge_inputs
from trainer.bundled.pipeline import HELD_OUT_LENGTHS, UNDEFINED, draw_pipeline, is_held_out
from trainer.bundled.step import apply
from trainer.bundled.table import ALL

HIDDEN_TESTS = 12
LEAST_TESTS = 10
GAP_LINES = (1, 2)
GAP_PLACES: tuple[Place, ...] = ("lines", "cursor")

Cases = list[tuple[tuple[Any, ...], Any]]


SHIPPED = (200, 1)
"""Problems and seed of the suites that come with the package."""


def held_out(n: int, seed: int) -> list[HeldOut]:
    """Make `n` functions to write, of distinct compositions of two to four steps; each shows one or two doctests."""
    return _functions(n, seed, _is_any)


def apart(n: int, seed: int) -> list[HeldOut]:
    """The same, without the compositions of the suites that come with the package: for training a verifier."""
    count, shipped_seed = SHIPPED
    shipped = {
        _composition(problem)
        for fits in (_is_any, _has_gaps)
        for problem, _ in islice(_draw(Random(shipped_seed), fits), 2 * count)  # noqa: S311
    }
    return _functions(n, seed, lambda problem: _composition(problem) not in shipped)


def _functions(n: int, seed: int, fits: Callable[[Problem], bool]) -> list[HeldOut]:
    random = Random(seed)  # noqa: S311  (a test set, not a secret)
    drawn = _draw(random, fits)
    return [
        HeldOut(
            task_id=f"bundled/{seed}/{index}",
            prompt=problem.prompt,
            entry_point=problem.name,
            canonical_solution=problem.body,
            test=test,
            tags={"n_steps": len(problem.pipeline.steps)},
        )
        for index, (problem, test) in zip(range(n), drawn, strict=False)
    ]


def gaps(n: int, seed: int) -> list[HeldOut]:
    """Make `n` gaps to fill, of one and two lines in turn, in functions that have at least three."""
    random = Random(seed)  # noqa: S311  (a test set, not a secret)
    drawn = _draw(random, _has_gaps)
    made: list[HeldOut] = []
    while len(made) < n:
        problem, test = next(drawn)
        lines = GAP_LINES[len(made) % len(GAP_LINES)]
        place = random.choice(GAP_PLACES)
        gap = cut(random, problem.body, lines=lines, place=place)
        made.append(
            HeldOut(
                task_id=f"bundled-fim/{seed}/{len(made)}",
                prompt=problem.prompt + gap.before,
                suffix=gap.after,
                entry_point=problem.name,
                canonical_solution=gap.middle,
                test=test,
                tags={"lines": lines, "place": place, "n_steps": len(problem.pipeline.steps)},
            )
        )
    return made


def _is_any(_: Problem) -> bool:
    return True


def _has_gaps(problem: Problem) -> bool:
    return problem.body.count("\n") > max(GAP_LINES)


def _composition(problem: Problem) -> tuple[str, ...]:
    return tuple(sorted(problem.pipeline.keys))


def _draw(random: Random, fits: Callable[[Problem], bool]) -> Iterator[tuple[Problem, str]]:
    """Yield held-out problems that fit, of distinct compositions, with their hidden tests, for ever."""
    seen: set[tuple[str, ...]] = set()
    while True:
        length = HELD_OUT_LENGTHS[len(seen) % len(HELD_OUT_LENGTHS)]
        pipeline = draw_pipeline(random, {length: 1.0})
        composition = tuple(sorted(pipeline.keys))
        if not is_held_out(composition) or composition in seen:
            continue
        problem = compose(random, pipeline, shown=random.choice((1, 2)))
        cases = _draw_cases(problem, random) if problem else []
        if problem is None or not fits(problem) or len(cases) < LEAST_TESTS or _is_one_step(problem, cases):
            continue
        seen.add(composition)
        yield problem, _write_test(cases)


def _draw_cases(problem: Problem, random: Random) -> Cases:
    """Hidden tests: fresh random inputs and a few edges, where the reference is defined."""
    kind = problem.pipeline.takes
    inputs = [draw_input(kind, random) for _ in range(3 * HIDDEN_TESTS)] + edge_inputs(kind)
    cases = more_cases(problem, random, inputs)
    edges = [case for case in cases if case[0][0] in edge_inputs(kind)]
    return [case for case in cases if case not in edges][: HIDDEN_TESTS - len(edges)] + edges


def _is_one_step(problem: Problem, cases: Cases) -> bool:
    """Whether some single step, with some constant, gives the expected result in every case."""
    takes, gives = problem.pipeline.takes, problem.pipeline.gives
    for step in ALL:
        if (step.takes, step.gives) != (takes, gives):
            continue
        low, high = step.k or (0, 0)
        for k in range(low, high + 1):
            try:
                if all(apply(step, arguments[0], k) == result for arguments, result in cases):
                    return True
            except UNDEFINED:
                continue
    return False


def _write_test(cases: Cases) -> str:
    lines = [f"    assert candidate({', '.join(map(repr, arguments))}) == {result!r}\n" for arguments, result in cases]
    return "def check(candidate):\n" + "".join(lines)
