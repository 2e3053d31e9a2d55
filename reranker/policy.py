"""`auto`, stated: which method decides, and which after it among those it holds equal. Pure.

1. What was checked: the request's suite (`tests`), else the prompt's examples (`examples`), by the share passed.
2. Who agrees with whom, where the model wrote tests: `srank`. (Among 8 and 16 candidates it was the best of the methods
   that compare behaviour, `b4` among 64 and more: docs/experiments.md.)
3. Where something was run, what was learned, if it is loaded: `features`, else the text `verifier`. (The features were
   the better judge of candidates that pass the examples; without execution neither beat likelihood: docs/verifier.md.)
4. `likelihood`, and then the program that was sampled most often: `select.order_by` ends so whatever the methods.

What was checked comes first because only that is true by somebody's word; agreement before the verifier, because it
needs no model that might be far from its training. Inputs made up from the examples are not used: among candidates that
pass the examples, likelihood chose better than any agreement on them.
"""

from __future__ import annotations

from collections.abc import Collection

from reranker.base import Evidence

CHECKED = ("tests", "examples")
"""Methods whose evidence is decisive: somebody vouches for it. What passes all of it needs no further candidate."""


def auto_methods(
    *, checked: str | None, evidence: Collection[Evidence], loaded: Collection[str] = ()
) -> tuple[str, ...]:
    """The methods by which `auto` puts candidates in order, the first decides.

    `checked`: `tests` or `examples` where one of them ran. `evidence`: what trials there are. `loaded`: scorers at hand
    that need a model of their own.
    """
    methods = [] if checked is None else [checked]
    if "tests" in evidence:
        methods.append("srank")
    if methods:
        methods += [name for name in ("features", "verifier") if name in loaded][:1]
    return tuple(methods) or ("likelihood",)
