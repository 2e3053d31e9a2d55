from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.stops import StopFilter
from engine.transcript import Transcript
from engine.types import Sampling, TokenLogprob

text = st.text("ab\n", max_size=24)
stop = st.text("ab\n", min_size=1, max_size=4)


def through(stops: list[str], pieces: list[str]) -> tuple[list[str], bool]:
    """What a filter lets through, piece by piece, and whether it stopped."""
    filtered, shown = StopFilter(stops), []
    for piece in pieces:
        safe, stopped = filtered.push(piece)
        shown.append(safe)
        if stopped:
            return shown, True
    return [*shown, filtered.flush()], False


@given(st.lists(stop, max_size=3), text)
def test_the_text_ends_before_the_stop_string_that_is_complete_first(stops: list[str], whole: str) -> None:
    shown, stopped = through(stops, list(whole))  # a character at a time, the finest cut
    ends = [(whole.index(each) + len(each), whole.index(each)) for each in stops if each in whole]
    first_end = min((end for end, _ in ends), default=None)
    expected = whole if first_end is None else whole[: min(begin for end, begin in ends if end == first_end)]
    assert ("".join(shown), stopped) == (expected, first_end is not None)


@given(st.lists(stop, min_size=1, max_size=3), st.lists(text, max_size=6))
def test_nothing_shown_has_to_be_taken_back(stops: list[str], pieces: list[str]) -> None:
    shown, stopped = through(stops, pieces)
    whole = "".join(pieces)
    assert whole.startswith("".join(shown))
    assert all(each not in "".join(shown) for each in stops)
    assert stopped == any(each in whole for each in stops)


@given(st.lists(stop, min_size=1, max_size=3), st.lists(text, max_size=6))
def test_only_what_may_become_a_stop_string_is_held_back(stops: list[str], pieces: list[str]) -> None:
    filtered, shown, given_in = StopFilter(stops), "", ""
    for piece in pieces:
        safe, stopped = filtered.push(piece)
        shown, given_in = shown + safe, given_in + piece
        if stopped:
            return
        held = given_in[len(shown) :]
        assert not held or any(each.startswith(held) and each != held for each in stops)


def token(text: str) -> TokenLogprob:
    return TokenLogprob(1, text, -1.0)


def test_a_token_that_begins_before_the_stop_string_belongs_to_the_text() -> None:
    transcript = Transcript(0, Sampling(stop=("END",)))
    assert transcript.push(token("one"), "one") is None
    assert transcript.push(token(" E"), " E") is None
    assert transcript.push(token("ND"), "ND") == "stop"
    piece = transcript.finish()
    assert piece is not None
    assert piece.text == "one "
    end = transcript.finished("stop")
    assert ([each.text for each in end.tokens], end.token_count) == (["one", " E"], 3)


def test_tokens_wait_for_their_text() -> None:
    transcript = Transcript(0, Sampling(stop=("ab",)))
    transcript.push(token("xa"), "xa")
    first = transcript.take()
    assert first is not None
    assert (first.text, len(first.tokens)) == ("x", 1)
    transcript.push(token("a"), "a")
    second = transcript.take()
    assert second is not None
    assert (second.text, len(second.tokens)) == ("a", 0)
    last = transcript.finish()
    assert last is not None
    assert (last.text, len(last.tokens)) == ("a", 1)


def test_a_character_never_completed_is_left_out_but_its_tokens_count() -> None:
    transcript = Transcript(0, Sampling(max_tokens=2))
    transcript.push(token("a"), "a")
    assert transcript.push(token("�"), "") == "length"
    transcript.finish()
    end = transcript.finished("length")
    assert (end.text, len(end.tokens), end.token_count) == ("a", 2, 2)
