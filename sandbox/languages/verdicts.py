"""What one executed process came to, in the words of an outcome. Pure functions."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from typing import Any

from sandbox.compare import equal, same_output
from sandbox.inside.codec import BadFrame, decode, short_repr
from sandbox.languages.base import Language, Shim
from sandbox.languages.jobs import Executed
from sandbox.outcome import Status
from sandbox.types import Call

Fields = dict[str, Any]
"""Fields of a `TestOutcome`, its status among them."""

OutputVerdict = Callable[[int, str], Fields]
"""From a test's number and all that its process printed, where that counts as an answer."""

ValueVerdict = Callable[[int, Any], Fields]
"""From a test's number and the value that came back, which is plain data."""

_TEXT_CHARS, _TAIL_CHARS = 200, 2000
_RAISED = re.compile(rb"([A-Za-z_][\w.$:]*(?:Error|Exception))(?:: ([^\n]*)|\s*$)", re.MULTILINE)
_THROWN = re.compile(rb"terminate called after throwing an instance of '([^'\n]+)'(?:\n  what\(\):  ([^\n]*))?")
"""A C++ exception that nobody caught; the process then ends itself by a signal."""


class BadAnswer(Exception):
    """A message of a shim's process is none of the protocol's."""


def text(value: Any, cap: int = _TEXT_CHARS) -> str | None:
    """A short text out of an untrusted message; None for anything else."""
    return value[:cap] if type(value) is str else None


def tail(printed: bytes) -> str:
    """The end of what was printed."""
    return printed[-_TAIL_CHARS:].decode("utf-8", "replace")


def fault_of(executed: Executed, language: Language) -> Fields | None:
    """Why a whole run of a program does not count as an answer; None where it does."""
    if executed.exit == 0 and executed.ended is None:
        return None
    said = executed.stderr
    if executed.ended in (None, Status.KILLED) and any(mark.encode() in said for mark in language.exhausted):
        return {"status": Status.MEMORY_LIMIT, "exception_message": "out of memory"}
    if executed.ended is not None:
        return {"status": executed.ended, "exception_message": executed.message[:_TEXT_CHARS]}
    thrown = _THROWN.search(said)
    if executed.exit < 0 and thrown is None:
        return {"status": Status.KILLED, "exception_message": f"killed by {_signal_name(-executed.exit)}"}
    found = thrown or _RAISED.search(said)
    if found is None:
        last = said.strip().rpartition(b"\n")[2].decode("utf-8", "replace")[:_TEXT_CHARS]
        return {"status": Status.RUNTIME_ERROR, "exception_message": last or f"exited with code {executed.exit}"}
    name = found.group(1).decode("utf-8", "replace").replace("::", ".").rpartition(".")[2]
    message = (found.group(2) or b"").decode("utf-8", "replace").strip()
    return {
        "status": Status.RUNTIME_ERROR,
        "exception_type": name[:80],
        "exception_message": message[:_TEXT_CHARS],
    }


def expect_outputs(expected: Sequence[str]) -> OutputVerdict:
    """Whole outputs compared with those expected."""

    def verdict(index: int, got: str) -> Fields:
        difference = same_output(got, expected[index])
        if difference is None:
            return {"status": Status.PASSED}
        return {"status": Status.WRONG_ANSWER, "exception_message": difference[:_TEXT_CHARS]}

    return verdict


def expect_values(calls: Sequence[Call], shim: Shim) -> ValueVerdict:
    """Values compared with those expected, as the language has them."""

    def verdict(index: int, value: Any) -> Fields:
        call = calls[index]
        right = equal(plain(value, shim), plain(call.expected, shim), call.tolerance)
        return {"status": Status.PASSED if right else Status.WRONG_ANSWER, "value": short_repr(value)}

    return verdict


def answered_fields(index: int, answer: Fields, verdict: ValueVerdict) -> Fields:
    """What an answer of a shim came to. Raises `BadAnswer`."""
    fields = raised_fields(answer)
    if fields is not None:
        return fields
    try:
        value = decode(answer["value"])
    except (BadFrame, KeyError) as error:
        raise BadAnswer(f"no value: {error!s:.100}") from error
    return {"value_type": type(value).__name__, **verdict(index, value)}


def raised_fields(answer: Fields) -> Fields | None:
    """What an answer without a value came to; None for one that should have a value."""
    if "raised" in answer:
        return {
            "status": Status.MEMORY_LIMIT if answer.get("base") == "MemoryError" else Status.RUNTIME_ERROR,
            "exception_type": text(answer["raised"], 80),
            "exception_message": text(answer.get("message")),
        }
    if "unsupported" in answer:
        return {"status": Status.UNSUPPORTED_VALUE, "exception_message": text(answer["unsupported"])}
    if "too_big" in answer:
        return {"status": Status.OUTPUT_LIMIT, "exception_message": "the value returned is over the output limit"}
    return None


def plain(value: Any, shim: Shim) -> Any:
    """A value as languages without Python's kinds have it: tuples are lists, sets one kind, dictionaries one kind."""
    if isinstance(value, list | tuple):
        return [plain(item, shim) for item in value]
    if isinstance(value, dict):
        return {_key(key, shim): plain(item, shim) for key, item in value.items()}
    if isinstance(value, frozenset):
        return set(value)
    return value


def narrow(data: Any) -> Any:
    """Encoded data with every integer over 53 bits in hexadecimal: JSON's numbers are doubles to some readers."""
    if isinstance(data, list):
        return [narrow(item) for item in data]
    if isinstance(data, dict):
        return {tag: narrow(body) for tag, body in data.items()}
    if type(data) is int and data.bit_length() > 53:
        return {"i": hex(data)}
    return data


def _key(key: Any, shim: Shim) -> Any:
    return str(key) if shim.text_keys and type(key) in (int, str) else key


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
