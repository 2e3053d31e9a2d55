"""What every `Classifier` must do. Subclass `ClassifierContract` and give it `classifier` and `texts` fixtures.

class TestMine(ClassifierContract):
    @pytest.fixture
    async def classifier(self) -> AsyncIterator[Classifier]:
        yield mine
        await mine.aclose()

    @pytest.fixture
    def texts(self) -> list[str]:
        return three texts of different lengths
"""

from __future__ import annotations

import asyncio

import pytest

from engine import Classifier, EngineFailed


class ClassifierContract:
    """Probabilities, one a text, in their order and the same every time; none after the end."""

    async def test_every_text_has_a_probability_of_its_own(self, classifier: Classifier, texts: list[str]) -> None:
        found = await classifier.probabilities(texts)
        assert len(found) == len(texts) == 3
        assert all(0.0 <= value <= 1.0 for value in found)
        assert await classifier.probabilities(texts[::-1]) == pytest.approx(found[::-1], abs=1e-5)
        assert await classifier.probabilities([]) == []

    async def test_calls_at_once_do_not_disturb_each_other(self, classifier: Classifier, texts: list[str]) -> None:
        alone = await classifier.probabilities(texts)
        together = await asyncio.gather(*(classifier.probabilities([text]) for text in texts))
        assert [value for (value,) in together] == pytest.approx(alone, abs=1e-5)

    async def test_it_says_what_it_is(self, classifier: Classifier) -> None:
        info = classifier.info
        assert info == classifier.info
        assert info.id
        assert info.backend
        assert info.max_tokens > 0

    async def test_after_the_end_it_fails_and_ending_twice_is_nothing(
        self, classifier: Classifier, texts: list[str]
    ) -> None:
        await classifier.aclose()
        await classifier.aclose()
        with pytest.raises(EngineFailed):
            await classifier.probabilities(texts)
