"""Training prompts that hold a problem of an evaluation suite, found by shared runs of words.

As GPT-3 was checked (arXiv 2005.14165, appendix C): lower-case words without punctuation, runs of 13 of them, of as
many as there are (at least 8) for shorter problems. There one shared run was enough. Prompts for code share more than
prose does (signatures, headers of examples), so here a problem counts as held when a stated share of its runs is
there. A problem of fewer than 8 words is held only by a prompt of the very same words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from reranker.evaluation import ProblemSuite

WORDS, FEWEST_WORDS = 13, 8
SHARE = 0.2
"""Of a problem's runs."""

_WORD = re.compile(r"\w+")


class Contamination:
    """The runs of words of some suites' prompts."""

    def __init__(self, suites: Sequence[ProblemSuite], share: float = SHARE) -> None:
        """`share` in (0, 1]; something near 0 makes one shared run enough."""
        self._share = share
        self._problems: list[tuple[str, int]] = []
        """Suite and number of distinct runs, of each problem."""
        self._holding: dict[int, dict[str, list[int]]] = {}
        """For each length the runs of that length, with the problems that have them."""
        self._whole: dict[str, str] = {}
        """Suite by all the words of a short problem."""
        for suite in suites:
            for problem in suite.problems:
                self._add(suite.name, words_of(problem.prompt + "\n" + (problem.suffix or "")))

    def suite_of(self, prompt: dict[str, Any]) -> str | None:
        """Name of the first suite of which the prompt holds a problem; None: of none."""
        words = words_of(text_of(prompt))
        if (whole := self._whole.get(" ".join(words))) is not None:
            return whole
        shared: Counter[int] = Counter()
        for length, holding in self._holding.items():
            for run in set(_runs(words, length)):
                shared.update(holding.get(run, ()))
        held = [number for number, runs in shared.items() if runs >= self._share * self._problems[number][1]]
        return self._problems[min(held)][0] if held else None

    def _add(self, suite: str, words: list[str]) -> None:
        if len(words) < FEWEST_WORDS:
            if words:
                self._whole.setdefault(" ".join(words), suite)
            return
        length = min(WORDS, len(words))
        runs = set(_runs(words, length))
        for run in runs:
            self._holding.setdefault(length, {}).setdefault(run, []).append(len(self._problems))
        self._problems.append((suite, len(runs)))


def words_of(text: str) -> list[str]:
    """Lower-case words, without punctuation and layout."""
    return _WORD.findall(text.lower())


def text_of(prompt: dict[str, Any]) -> str:
    """All the text of a prompt as the log keeps it."""
    match prompt:
        case {"kind": "text", "text": str(text)}:
            return text
        case {"kind": "fim", "prefix": str(prefix), "suffix": str(suffix)}:
            return f"{prefix}\n{suffix}"
        case {"kind": "chat", "messages": list(messages)}:
            return "\n".join(message["content"] for message in messages)
    return ""


def _runs(words: Sequence[str], length: int) -> Iterator[str]:
    return (" ".join(words[start : start + length]) for start in range(len(words) - length + 1))
