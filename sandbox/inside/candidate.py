"""The candidate's own process: compiles the untrusted source and answers calls with plain data.

Nothing here is trusted once the source runs, nor needs to be: there is no expected value, no test and no secret in this
process, and whatever it sends is only ever decoded as data by somebody else.
"""

from __future__ import annotations

import contextlib
import sys
from types import ModuleType
from typing import Any

from sandbox.inside.codec import (
    DICTIONARIES,
    LOST,
    Unsupported,
    decode,
    describe,
    dumps,
    encode,
    read_frame,
    write_frame,
)

_MODULE = "candidate"
_ROOM_FOR_ENVELOPE = 1024


def run_candidate(job_fd: int, call_fd: int, reply_cap_bytes: int) -> None:
    """Read the source from `job_fd`, load it, say so there; then answer calls on `call_fd` until it ends."""
    job = read_frame(job_fd)
    if job is None:
        return
    namespace, said = load_source(job["source"])
    _flush()
    write_frame(job_fd, said)
    if namespace is None:
        return
    while (request := read_frame(call_fd)) is not None:
        reply = {"id": request["id"], **_answer(request, namespace)}
        size = len(dumps(reply))
        if size + _ROOM_FOR_ENVELOPE > reply_cap_bytes:
            reply = {"id": request["id"], "too_big": size}
        _flush()
        write_frame(call_fd, reply)


def load_source(source: str) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The names of the untrusted module, or None; and what to say of it."""
    try:
        code = compile(source, f"<{_MODULE}>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        return None, {"does_not_compile": describe(error)}
    module = ModuleType(_MODULE)
    sys.modules[_MODULE] = module  # dataclasses and pickle look a class's module up by name
    try:
        exec(code, module.__dict__)  # noqa: S102  the purpose of this process
    except BaseException as error:  # noqa: BLE001  untrusted code may raise anything; all of it is reported
        return None, {"does_not_load": describe(error)}
    return module.__dict__, {"loaded": True}


def _answer(request: dict[str, Any], namespace: dict[str, Any]) -> dict[str, Any]:
    name = request["call"]
    args, kwargs = decode(request["args"]), decode(request["kwargs"])
    LOST.asked = False
    try:
        reply = _value(_lookup(namespace, name)(*args, **kwargs), judged=bool(request.get("mutations")))
    except BaseException as error:  # noqa: BLE001  untrusted code may raise anything; all of it is reported
        reply = describe(error)
    if LOST.asked:
        return {"unsupported": f"what hangs on {LOST}"}
    if request.get("mutations"):
        try:
            reply["changed"] = [
                _changes(args, request["args"]["t"]),
                _changes(kwargs, dict(request["kwargs"]["d"])),
            ]
        except Exception:  # noqa: BLE001  an argument may now hold anything at all
            return {"unsupported": "an argument changed to hold something without a plain form"}
    return reply


def _value(value: Any, *, judged: bool) -> dict[str, Any]:
    """What was returned; where it cannot cross, a judge may still ask whether it is true, if that can be told."""
    try:
        return {"value": encode(value)}
    except Unsupported as error:
        reply: dict[str, Any] = {"unsupported": str(error)}
    if judged:
        reply["true"] = None
        with contextlib.suppress(BaseException):  # its class may answer with anything
            reply["true"] = bool(value)
    return reply


def _lookup(namespace: dict[str, Any], name: str) -> Any:
    if name not in namespace:
        raise NameError(f"name {name!r} is not defined")
    return namespace[name]


def _changes(values: Any, sent: Any) -> list[Any]:
    """The containers that differ from what was sent, as pairs of key and new value."""
    found = []
    for key, value in values.items() if type(values) is dict else enumerate(values):
        if type(value) in (list, dict, set, *DICTIONARIES):
            now = encode(value)
            if now != sent[key]:
                found.append([key, now])
    return found


def _flush() -> None:
    """Push what was printed into its pipe, so that it is seen with the test that printed it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):  # the candidate may have closed or replaced it
            stream.flush()
