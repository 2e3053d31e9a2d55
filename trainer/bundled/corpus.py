"""The stream of training problems: endless, seeded, without the held-out compositions."""

from collections.abc import Iterator
from random import Random

from trainer.bundled.compose import Problem, compose
from trainer.bundled.pipeline import STEP_WEIGHTS, draw_pipeline, is_held_out


def stream(seed: int) -> Iterator[Problem]:
    """Yield training problems for ever; the same seed gives the same problems."""
    random = Random(seed)  # noqa: S311  (a corpus, not a secret)
    while True:
        pipeline = draw_pipeline(random, STEP_WEIGHTS)
        if is_held_out(pipeline.keys):
            continue
        problem = compose(random, pipeline)
        if problem is not None:
            yield problem
