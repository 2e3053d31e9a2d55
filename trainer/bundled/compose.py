"""From a chain of steps to a problem: signature, docstring with examples, body, and the cases behind them."""

from dataclasses import dataclass
from random import Random
from typing import Any

from trainer.bundled.body import Names, write_body
from trainer.bundled.pipeline import UNDEFINED, Pipeline, draw_cases, is_informative
from trainer.bundled.step import Kind
from trainer.bundled.wording import PARAMETERS, call, draw_name, draw_wording, signature

EXAMPLE_LENGTH = 88  # characters; longer doctest lines would mostly teach copying
PARAMETER_CONSTANT_RATE = 0.25  # how often a step's constant is a second parameter of the function
NO_EXAMPLE_RATE = 0.06
CONSTANT_NAMES = ("k", "n", "k", "limit", "b", "m")


@dataclass(frozen=True)
class Problem:
    """One function to write. `prompt + body` is its complete source; both end in a newline.

    `head` is the signature with its imports, `sentence` what the function does, `shown` the lines of its examples.
    `pipeline` and `variable` (the index of the step whose constant is the second parameter, if one is) let more
    cases be computed.
    """

    name: str
    head: str
    sentence: str
    shown: tuple[str, ...]
    prompt: str
    body: str
    pipeline: Pipeline
    variable: int | None
    examples: int

    def expected(self, arguments: tuple[Any, ...]) -> Any:
        """What the function returns for these arguments.

        Raises:
            ValueError, IndexError, KeyError, ZeroDivisionError: undefined or out of bounds there.
        """
        if self.variable is None:
            return self.pipeline.run(arguments[0])
        ks = list(self.pipeline.ks)
        ks[self.variable] = arguments[1]
        return self.pipeline.run(arguments[0], tuple(ks))


def _pick_examples(random: Random, cases: list[tuple[Any, Any]], count: int, name: str) -> list[tuple[Any, Any]]:
    """Choose short examples, those that show a non-empty result first."""
    short = [case for case in cases if len(repr(case[0])) + len(repr(case[1])) + len(name) <= EXAMPLE_LENGTH]
    shown = [case for case in short if case[1] or isinstance(case[1], bool | int)] or short
    chosen = shown[:1]
    for case in shown[1:] + short:
        if len(chosen) < count and case[1] != chosen[0][1]:
            chosen.append(case)
    random.shuffle(chosen)
    return chosen


def _example_lines(random: Random, name: str, examples: list[tuple[tuple[Any, ...], Any]]) -> list[str]:
    """Lay the examples out: doctests mostly, then the other ways in which people write them."""
    form = random.random()
    if form < 0.78:
        return [line for arguments, result in examples for line in (f">>> {call(name, arguments)}", repr(result))]
    pairs = [(call(name, arguments), repr(result)) for arguments, result in examples]
    if form < 0.84:
        return [f"{left} -> {right}" for left, right in pairs]
    if form < 0.90:
        return [f"{left} == {right}" for left, right in pairs]
    if form < 0.94:
        return [f"{left} returns {right}" for left, right in pairs]
    if form < 0.97:
        return [f"For example, {left} returns {right}." for left, right in pairs]
    return [f"assert {left} == {right}" for left, right in pairs]


def _docstring(random: Random, sentence: str, examples: list[str]) -> str:
    quotes = "'''" if random.random() < 0.06 else '"""'
    opening = quotes + (" " if random.random() < 0.12 else "")
    if not examples:
        if random.random() < 0.7:
            return f"    {opening}{sentence}{quotes}\n"
        return f"    {opening}{sentence}\n    {quotes}\n"
    first = f"    {opening}{sentence}\n" if random.random() < 0.9 else f"    {quotes}\n    {sentence}\n"
    gap = random.choices(("\n", "", "\n    Examples:\n", "\n    Example:\n"), (0.55, 0.3, 0.08, 0.07))[0]
    return first + gap + "".join(f"    {line}\n" for line in examples) + f"    {quotes}\n"


def _bare(random: Random, head: str, sentence: str) -> str:
    """A prompt without examples: a one-line docstring, or only a comment above the function."""
    if random.random() < 0.6:
        return head + _docstring(random, sentence, [])
    return f"# {sentence}\n{head}"


def compose(random: Random, pipeline: Pipeline, *, shown: int | None = None) -> Problem | None:
    """Make a problem of a chain, or `None` where the chain says nothing (always empty, constant, seldom defined).

    `shown` fixes the number of examples (then doctests only); otherwise one in about half of the problems and two in
    the others, and none at all in a few that are told exactly.
    """
    cases = draw_cases(pipeline, random, 7)
    if not is_informative(cases, 5):
        return None
    parameter = random.choice(PARAMETERS[pipeline.takes])
    variable, constants = _draw_variable(random, pipeline, parameter)
    parameters: list[tuple[str, Kind]] = [(parameter, pipeline.takes)]
    if variable is not None:
        parameters.append((constants[variable], "int"))
    name = draw_name(random, pipeline, {parameter for parameter, _ in parameters})
    count = shown if shown is not None else random.choices((0, 1, 2), (NO_EXAMPLE_RATE, 0.47, 0.47))[0]
    examples = _pick_examples(random, cases, count, name) if count else []
    if len(examples) < count:
        return None
    wording = draw_wording(random, pipeline, constants, parameter, vague=count > 0)
    called = [((value,) if variable is None else (value, pipeline.ks[variable]), result) for value, result in examples]
    if shown is None:
        lines = _example_lines(random, name, called) if called else []
    else:
        lines = [line for arguments, result in called for line in (f">>> {call(name, arguments)}", repr(result))]
    head = signature(random, name, parameters, pipeline.gives)
    prompt = _bare(random, head, wording.text) if not lines else head + _docstring(random, wording.text, lines)
    body = write_body(random, pipeline.steps, Names(parameter, constants))
    return Problem(
        name=name,
        head=head,
        sentence=wording.text,
        shown=tuple(lines),
        prompt=prompt,
        body=body,
        pipeline=pipeline,
        variable=variable,
        examples=len(examples),
    )


def _draw_variable(random: Random, pipeline: Pipeline, parameter: str) -> tuple[int | None, tuple[str, ...]]:
    """Decide whether a constant becomes a parameter, and how each constant is written."""
    constants = [str(k) for k in pipeline.ks]
    with_constant = [index for index, step in enumerate(pipeline.steps) if step.k]
    if not with_constant or random.random() > PARAMETER_CONSTANT_RATE:
        return None, tuple(constants)
    variable = random.choice(with_constant)
    options = [name for name in CONSTANT_NAMES if name != parameter]
    constants[variable] = "b" if parameter == "a" else random.choice(options)
    return variable, tuple(constants)


def more_cases(problem: Problem, random: Random, inputs: list[Any]) -> list[tuple[tuple[Any, ...], Any]]:
    """Arguments and results of a problem on inputs, leaving out those on which it is undefined."""
    cases = []
    for value in inputs:
        arguments: tuple[Any, ...] = (value,)
        if problem.variable is not None:
            low, high = problem.pipeline.steps[problem.variable].k or (1, 1)
            arguments = (value, random.randint(low, high))
        try:
            cases.append((arguments, problem.expected(arguments)))
        except UNDEFINED:
            continue
    return cases
