"""What fits the context, and what is refused by name."""

import pytest

from engine import ContextTooLong, EngineInfo, GenerationRequest, Sampling, Text
from engine.admission import fit_context

INFO = EngineInfo(engine="scripted", model="m", dtype="none", context_length=100)


def asked(**sampling: int | bool) -> GenerationRequest:
    return GenerationRequest(id="r", prompt=Text("x"), sampling=Sampling(**sampling))  # type: ignore[arg-type]


def test_a_number_that_was_asked_for_is_honoured_or_refused() -> None:
    assert fit_context(INFO, asked(max_tokens=60), 40).sampling.max_tokens == 60
    with pytest.raises(ContextTooLong, match="lower max_tokens"):
        fit_context(INFO, asked(max_tokens=61), 40)


def test_a_default_is_cut_to_the_room_that_is_left() -> None:
    assert fit_context(INFO, asked(max_tokens=60, fits_context=True), 70).sampling.max_tokens == 30
    assert fit_context(INFO, asked(max_tokens=20, fits_context=True), 70).sampling.max_tokens == 20


def test_without_any_room_or_less_than_min_tokens_it_is_refused() -> None:
    with pytest.raises(ContextTooLong):
        fit_context(INFO, asked(max_tokens=60, fits_context=True), 100)
    with pytest.raises(ContextTooLong):
        fit_context(INFO, asked(max_tokens=60, min_tokens=31, fits_context=True), 70)
