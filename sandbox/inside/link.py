"""The judge's side of the calls to a candidate that lives in another process."""

from __future__ import annotations

import builtins
import contextlib
import functools
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from sandbox.inside.codec import LOST, BadFrame, Unsupported, decode, encode, read_frame, short_repr, write_frame
from sandbox.inside.opaque import is_opaque, only_called, opaque

_ENDS_A_LOOP = (StopIteration, StopAsyncIteration)
_LEADS_NOWHERE = (type(None), bool, int, float, complex, str, bytes, ModuleType)


class NoAnswer(BaseException):
    """The candidate gave no usable answer; test code must not take it for an exception of the candidate's."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


class Link:
    """The calls to the candidate."""

    def __init__(self, fd: int, reply_cap_bytes: int) -> None:
        self.calls = 0
        self.fault: NoAnswer | None = None
        """Set for good once the candidate is gone or broke the protocol, whatever the test code catches."""
        self.show_last: Callable[[], str] = str
        """A short text of the value the candidate returned last."""
        self.last_raised: BaseException | None = None
        self._unsupported: NoAnswer | None = None
        self._unasked: dict[NoAnswer, None] = {}
        """One for each opaque value that no test has asked yet whether it is true."""
        self._proxies: list[Callable[..., Any]] = []
        self._printed = 0
        self._fd = fd
        self._cap = reply_cap_bytes

    def proxy(self, name: str) -> Callable[..., Any]:
        """A function that calls the candidate's function of that name."""

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call(name, args, kwargs)

        call.__name__ = call.__qualname__ = name
        self._proxies.append(call)
        return call

    def maybe(self, name: str) -> Any:
        """The same where the tests never call the name themselves: whatever else they do with it cannot be judged."""
        return only_called(self.proxy(name), lambda: self._refuse(f"the test uses {name} other than by calling it"))

    def refused(self, name: str) -> Callable[..., Any]:
        """The same where a call would make the candidate the judge of its own results."""

        def call(*_: object, **__: object) -> Any:
            raise self._refuse(f"the test asks {name}, which only the program could define, whether a result is right")

        return call

    def raised(self, error: BaseException) -> bool:
        """Whether the candidate raised an exception, and not the test."""
        return error is self.last_raised

    def take_printed(self) -> int | None:
        """Bytes that the candidate says it printed since the last time; None where that cannot be told."""
        printed, self._printed = self._printed, 0
        return printed

    def take_unsupported(self) -> NoAnswer | None:
        """Why a test since the last time cannot be judged: a value that did not cross was used, or left unused."""
        if LOST.asked:
            self._refuse(f"the test asks for {LOST}")
        found = self._unsupported or next(iter(self._unasked), None)
        self._unsupported = None
        LOST.asked = False
        self._unasked.clear()
        return found

    def set_aside(self, values: Iterable[Any]) -> dict[NoAnswer, None]:
        """Take out what no test has asked yet, for the time of a test that reads these values, if none leads there."""
        if not self._unasked or any(map(self._may_lead_on, values)):
            return {}
        aside, self._unasked = self._unasked, {}
        return aside

    def bring_back(self, aside: dict[NoAnswer, None]) -> None:
        """Undo `set_aside`."""
        self._unasked = {**aside, **self._unasked}

    def _may_lead_on(self, value: Any) -> bool:
        """Whether a value that did not cross may be reached from this one; False only where it surely is not."""
        if is_opaque(value):
            return True
        kind = type(value)
        try:
            if kind in (list, tuple, set, frozenset):
                return any(map(self._may_lead_on, value))
            if kind is dict:
                return any(map(self._may_lead_on, [*value.keys(), *value.values()]))
        except RecursionError:
            return True
        return kind not in _LEADS_NOWHERE and all(value is not proxy for proxy in self._proxies)

    def _refuse(self, message: str) -> NoAnswer:
        self._unsupported = NoAnswer("unsupported_value", message)
        return self._unsupported

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.fault:
            raise self.fault
        self.calls += 1
        try:
            request = {"id": self.calls, "call": name, "args": encode(args), "kwargs": encode(kwargs), "mutations": 1}
        except Unsupported as error:
            raise self._refuse(f"the test passes {error}") from error
        try:
            write_frame(self._fd, request)
            value, raised = self._take(self._read(), args, kwargs)
        except OSError as error:
            self.fault = NoAnswer("gone", "the candidate ended")
            raise self.fault from error
        except (BadFrame, LookupError, TypeError, ValueError, AttributeError) as error:
            self.fault = NoAnswer("protocol_error", f"the candidate's answer is malformed: {error!s:.100}")
            raise self.fault from error
        if raised is not None:
            self.last_raised = raised
            raise raised
        return value

    def _read(self) -> dict[str, Any]:
        reply = read_frame(self._fd, self._cap)
        if reply is None:
            raise OSError("end of channel")
        return reply

    def _take(
        self, reply: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Exception | None]:
        """Apply a reply; returns the value, or the exception to raise in the test if the candidate raised one."""
        if reply["id"] != self.calls:
            raise BadFrame("an answer to another call")
        printed = reply.get("printed")
        self._printed += printed if type(printed) is int else 0
        if "too_big" in reply:
            self.fault = NoAnswer("output_limit", "the value returned is larger than the output limit")
            raise self.fault
        if "unsupported" in reply and "true" not in reply:
            raise self._refuse(_returned(reply))
        if "changed" in reply:
            positional, named = reply["changed"]
            for index, data in positional:
                _become(args[index], decode(data))
            for key, data in named:
                _become(kwargs[key], decode(data))
        if "raised" in reply:
            return None, _exception(reply)
        if "unsupported" in reply:
            return self._opaque(reply), None
        value = decode(reply["value"])
        self.show_last = functools.partial(short_repr, value)
        return value, None

    def _opaque(self, reply: dict[str, Any]) -> Any:
        """What stands for a value that cannot cross: until a test asks whether it is true, and for all else it asks."""
        message, true = _returned(reply), reply["true"]
        pending = NoAnswer("unsupported_value", message)
        self._unasked[pending] = None
        self.show_last = lambda: f"<{reply['unsupported']!s:.100}>"

        def answer() -> bool:
            self._unasked.pop(pending, None)
            if type(true) is not bool:
                raise self._refuse(f"{message}, and whether it is true cannot be told")
            return true

        def refuse() -> NoAnswer:
            return self._refuse(message)

        return opaque(answer, refuse)


def _returned(reply: dict[str, Any]) -> str:
    return f"the candidate returned {reply['unsupported']!s:.100}"


def _become(old: Any, new: Any) -> None:
    """Give a container of ours the contents the candidate left in its copy, inner containers in place."""
    if type(old) is not type(new):
        raise BadFrame("a changed argument of another type")
    if isinstance(old, list):
        same = len(old) == len(new) and all(map(_both_containers, old, new))
        if not same:
            old[:] = new
            return
        for inner, changed in zip(old, new, strict=True):
            _become(inner, changed)
    elif isinstance(old, dict | set):
        old.clear()
        old.update(new)
    else:
        raise BadFrame("a change of something that cannot change")


def _both_containers(old: Any, new: Any) -> bool:
    return type(old) is type(new) and isinstance(old, list | dict | set)


def _exception(reply: dict[str, Any]) -> Exception:
    """The exception a candidate raised, by its nearest builtin name; never one that would leave the test early.

    Nor one that would quietly end a loop of the test's own: as in a generator, that becomes a `RuntimeError`.
    """
    kind = getattr(builtins, str(reply["base"]), None)
    message = str(reply["message"])[:200]
    if isinstance(kind, type) and issubclass(kind, Exception):
        kind = RuntimeError if issubclass(kind, _ENDS_A_LOOP) else kind
        with contextlib.suppress(TypeError):  # UnicodeDecodeError and the like want more than a message
            error: Exception = kind(message)
            error.__dict__["touchstone_name"] = str(reply["raised"])[:80]
            return error
    return RuntimeError(f"{reply['raised']}: {message}"[:200])
