"""Streamed text with the tokenizers of shipped models: whole characters, and stop strings wherever tokens end."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine import Tokenizer
from engine.tokens import Detokeniser
from engine.transcript import Transcript
from engine.types import Sampling, TokenLogprob

BUNDLED = Path(engine.__file__).parent / "bundled"
FOLDERS = ["touchstone-3.8m/hf", "touchstone-3.8m-early/hf"]
CODE = st.text(st.sampled_from("def f(x): return 0\n\té😀漢字ß\u0301\u200d👩"), max_size=40)


@cache
def shipped(folder: str) -> Tokenizer:
    return Tokenizer.load(BUNDLED / folder)


def streamed(tokenizer: Tokenizer, text: str, stops: tuple[str, ...]) -> tuple[list[str], bool]:
    """The pieces that a stream of this text's tokens sends, and whether a stop string ended it."""
    transcript = Transcript(0, Sampling(max_tokens=10_000, stop=stops))
    push, pieces, reason = Detokeniser(tokenizer).push, [], None
    for token_id in tokenizer.encode(text):
        reason = transcript.push(TokenLogprob(token_id, tokenizer.text_of(token_id), -1.0), push(token_id))
        if reason is not None:
            break
        pieces.append(transcript.take())
    pieces.append(transcript.finish())
    return [piece.text for piece in pieces if piece is not None], reason == "stop"


@pytest.mark.parametrize("folder", FOLDERS)
@given(text=CODE | st.text(st.characters(exclude_categories=["Cs"]), max_size=24))
def test_no_piece_of_a_stream_ends_inside_a_character(folder: str, text: str) -> None:
    pieces, _ = streamed(shipped(folder), text, ())
    assert "".join(pieces) == text
    assert sum(piece.count("\ufffd") for piece in pieces) == text.count("\ufffd")


@pytest.mark.parametrize("folder", FOLDERS)
@given(text=CODE, stop=CODE.filter(bool).map(lambda text: text[:3]), rest=CODE)
def test_a_stop_string_across_tokens_ends_the_text_before_it(folder: str, text: str, stop: str, rest: str) -> None:
    whole = text + stop + rest
    pieces, stopped = streamed(shipped(folder), whole, (stop,))
    assert stopped
    assert "".join(pieces) == whole[: whole.index(stop)]
