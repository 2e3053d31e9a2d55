"""Held-out problems in HumanEval's form, none of whose compositions is in the training stream."""

from dataclasses import dataclass
from random import Random

from trainer.bundled.compose import Problem, compose, more_cases
from trainer.bundled.inputs import draw_input, edge_inputs
from trainer.bundled.pipeline import HELD_OUT_WEIGHTS, draw_pipeline, is_held_out

HIDDEN_TESTS = 12
LEAST_TESTS = 10


@dataclass(frozen=True)
class HeldOut:
    """One evaluation problem; the first six fields carry HumanEval's names.

    `test` defines `check(candidate)`, a list of assertions by literal equality.
    """

    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    test: str
    n_steps: int


def _write_test(problem: Problem, random: Random) -> str | None:
    """Hidden tests: fresh random inputs and a few edges; `None` if too few are defined."""
    kind = problem.pipeline.takes
    inputs = [draw_input(kind, random) for _ in range(3 * HIDDEN_TESTS)] + edge_inputs(kind)
    cases = more_cases(problem, random, inputs)
    edges = [case for case in cases if case[0][0] in edge_inputs(kind)]
    chosen = [case for case in cases if case not in edges][: HIDDEN_TESTS - len(edges)] + edges
    if len(chosen) < LEAST_TESTS:
        return None
    lines = [f"    assert candidate({', '.join(map(repr, arguments))}) == {result!r}\n" for arguments, result in chosen]
    return "def check(candidate):\n" + "".join(lines)


def held_out(n: int, seed: int) -> list[HeldOut]:
    """Make `n` held-out problems, of distinct compositions, mostly of two steps; each shows one or two doctests."""
    random = Random(seed)  # noqa: S311  (a test set, not a secret)
    found: list[HeldOut] = []
    seen: set[tuple[str, ...]] = set()
    while len(found) < n:
        pipeline = draw_pipeline(random, HELD_OUT_WEIGHTS)
        if not is_held_out(pipeline.keys) or pipeline.keys in seen:
            continue
        problem = compose(random, pipeline, shown=random.choice((1, 2)))
        test = _write_test(problem, random) if problem else None
        if problem is None or test is None:
            continue
        seen.add(pipeline.keys)
        task_id = f"TouchstoneHeldOut/{seed}/{len(found)}"
        found.append(HeldOut(task_id, problem.prompt, problem.name, problem.body, test, len(pipeline.steps)))
    return found
