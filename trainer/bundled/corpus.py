"""The streams of training: problems, and the documents made of them; endless, seeded, without what is held out."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from trainer.bundled.chat import commented, draw_request
from trainer.bundled.compose import Problem, compose
from trainer.bundled.gap import cut
from trainer.bundled.pipeline import STEP_WEIGHTS, draw_pipeline, shows_held_out

GAP_RATE = 0.35
CHAT_RATE = 0.08
MORE_CODE_RATE = 0.12  # how often a gap's file goes on after the function
LONG_BODY = 3  # lines; a gap in a shorter body says little about its neighbours


@dataclass(frozen=True)
class Document:
    """One text to train on, in the order in which the model reads it.

    A completion is `prompt + target`. With `after` it is a gap to fill: before it stand `prompt` and what is `begun`
    of the body, behind it `after`, and `target` goes between.
    """

    prompt: str
    target: str
    begun: str = ""
    after: str | None = None


def stream(seed: int) -> Iterator[Problem]:
    """Yield training problems for ever; the same seed gives the same problems."""
    random = Random(seed)  # noqa: S311  (a corpus, not a secret)
    while True:
        pipeline = draw_pipeline(random, STEP_WEIGHTS)
        if shows_held_out(pipeline.keys):
            continue
        problem = compose(random, pipeline)
        if problem is not None:
            yield problem


def documents(seed: int) -> Iterator[Document]:
    """Yield training documents for ever: bodies to complete, gaps to fill, requests from chats."""
    random = Random(f"documents {seed}")  # noqa: S311  (a corpus, not a secret)
    problems = stream(seed)
    for problem in problems:
        draw = random.random()
        if draw < GAP_RATE:
            yield _gap(random, problem, problems)
        elif draw < GAP_RATE + CHAT_RATE:
            yield Document(commented(draw_request(random, problem)), problem.head + problem.body)
        else:
            yield Document(problem.prompt, problem.body)


def _gap(random: Random, problem: Problem, problems: Iterator[Problem]) -> Document:
    if problem.body.count("\n") < LONG_BODY:
        problem = next(problems)  # a second draw makes the longer bodies commoner, and leaves some short ones
    gap = cut(random, problem.body)
    more = next(problems) if random.random() < MORE_CODE_RATE else None
    after = gap.after + (f"\n\n{more.head}{more.body}" if more and more.body.count("\n") < LONG_BODY else "")
    return Document(problem.prompt, gap.middle, gap.before, after)
