"""`auto`, stated: which method decides, and which after it among those it holds equal. Pure.

1. What was checked: the request's suite (`tests`), else the prompt's examples (`examples`), by the share passed.
2. Who agrees with whom: `b4` where the model wrote tests, else `clusters` where there are inputs to compare by; in a
   set of equals then `majority`, the program sampled most often.
3. The learned `verifier`, where one is loaded.
4. `likelihood`, which `select.order_by` ends with anyway.

What was checked comes first because only that is true by somebody's word; agreement before the verifier, because it
needs no model that might be far from its training.
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
    if "inputs" in evidence:
        methods += ["b4" if "tests" in evidence else "clusters", "majority"]
    if "verifier" in loaded:
        methods.append("verifier")
    return tuple(methods) or ("likelihood",)
