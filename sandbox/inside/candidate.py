"""The candidate's own process: compiles the untrusted source and answers calls with plain data.

Nothing here is trusted once the source runs, nor needs to be: there is no expected value, no test and no secret in this
process, and whatever it sends is only ever decoded as data by somebody else.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from types import CodeType, ModuleType
from typing import Any

from sandbox.inside.codec import (
    DICTIONARIES,
    LOST,
    Unsupported,
    decode,
    describe,
    encode,
    finish,
    frame,
    read_frame,
    read_job,
    write_all,
    write_frame,
)
from sandbox.inside.execute import put_file
from sandbox.inside.printed import take_count, take_time_us

_MODULE = "candidate"
_ROOM_FOR_ENVELOPE = 1024


def run_candidate(job_fd: int, result_fd: int, link_fd: int, reply_cap_bytes: int) -> None:
    """Load the program of the job and say so; then do what its mode asks for.

    `calls`: answer every call of the job on `result_fd`. `serve`: answer a judge on `link_fd` until it ends. `main`:
    run the program as a script.
    """
    job = read_job(job_fd)
    put_files(job)
    mode = job["mode"]
    if mode == "main":
        _run_as_script(job["source"], result_fd)
        return
    namespace, said = load_source(job["source"])
    write_frame(result_fd, {**said, "printed": _flush()})
    take_time_us()
    if namespace is None:
        finish(result_fd)
    elif mode == "calls":
        for index, request in zip(job["ids"], job["calls"], strict=True):
            _reply(result_fd, index, _answer(request, namespace), reply_cap_bytes)
        finish(result_fd)
    else:
        while (request := read_frame(link_fd)) is not None:
            _reply(link_fd, request["id"], _answer(request, namespace), reply_cap_bytes)


def put_files(job: dict[str, Any]) -> None:
    """Make the further files of the program, where it can import them."""
    for path, text in job.get("files", ()):
        put_file(path, text.encode("utf-8", "surrogatepass"))
    if "files" in job:
        sys.path.insert(0, os.getcwd())


def _reply(fd: int, number: int, answer: dict[str, Any], cap_bytes: int) -> None:
    head = {"id": number, "printed": _flush(), "us": take_time_us()}
    raw = frame({**head, **answer})
    if len(raw) + _ROOM_FOR_ENVELOPE > cap_bytes:
        raw = frame({**head, "too_big": len(raw)})
    write_all(fd, raw)


def _run_as_script(source: str, result_fd: int) -> None:
    code, said = _compile(source)
    write_frame(result_fd, said)
    if code is not None:
        module = sys.modules["__main__"] = ModuleType("__main__")
        write_frame(result_fd, _run_to_its_end(code, module.__dict__))
    finish(result_fd)


def _run_to_its_end(code: CodeType, namespace: dict[str, Any]) -> dict[str, Any]:
    """As the interpreter would: with its threads, its exit handlers and its exit code."""
    said: dict[str, Any] = {"ended": True}
    try:
        try:
            exec(code, namespace)  # noqa: S102  the purpose of this process
            for thread in threading.enumerate():
                if thread is not threading.main_thread() and not thread.daemon:
                    thread.join()
        finally:
            atexit._run_exitfuncs()  # programs register the flush of their own output buffer there
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            said = describe(leaving)
    except BaseException as error:  # noqa: BLE001  untrusted code may raise anything; all of it is reported
        said = describe(error)
    _flush()
    return said


def _compile(source: str) -> tuple[CodeType | None, dict[str, Any]]:
    try:
        return compile(source, f"<{_MODULE}>", "exec", dont_inherit=True), {"loaded": True}
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        return None, {"does_not_compile": describe(error)}


def load_source(source: str) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The names of the untrusted module, or None; and what to say of it."""
    code, said = _compile(source)
    if code is None:
        return None, said
    module = ModuleType(_MODULE)
    sys.modules[_MODULE] = module  # dataclasses and pickle look a class's module up by name
    try:
        exec(code, module.__dict__)  # noqa: S102  the purpose of this process
    except BaseException as error:  # noqa: BLE001  untrusted code may raise anything; all of it is reported
        return None, {"does_not_load": describe(error)}
    return module.__dict__, said


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
        reply: dict[str, Any] = {"unsupported": str(error), "type": type(value).__name__[:80]}
        with contextlib.suppress(BaseException):  # its class may answer with anything
            reply["shown"] = repr(value)[:200]
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


def _flush() -> int:
    """Push what was printed into its pipe; returns how many bytes it was since the last time."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):  # the candidate may have closed or replaced it
            stream.flush()
    return take_count()
