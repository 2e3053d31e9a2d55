"""Programs that write frames where no program should: what they write, where, when, and how they end."""

from __future__ import annotations

import ast
import functools
import json
import random
import re
from pathlib import Path
from typing import Any

_SOURCES = Path(__file__).parents[2] / "sandbox"
_WORD = re.compile(r"[a-z?_]{1,20}")
_FDS = 12
_TAGS = "ifbcdktsz?"

_PROGRAM = """\
import os, sys, threading, atexit
WRITES = {writes!r}
def spray():
    for fd, data in WRITES:
        try: os.write(fd, data)
        except (OSError, ValueError): pass
def mirror():
    for fd in {mirrored!r}:
        try:
            os.set_blocking(fd, False)
            data = os.read(fd, 65536)
            for other in {mirrored!r}: os.write(other, data)
        except (OSError, ValueError, TypeError): pass
def spoil():
    for fd in {spoiled!r}:
        try:
            os.pwrite(fd, {spoiling!r}, 0)
            os.ftruncate(fd, {length!r})
        except (OSError, ValueError): pass
def move():
    for one, other in {moved!r}:
        try: os.dup2(one, other)
        except (OSError, ValueError): pass
def close():
    for fd in {closed!r}:
        try: os.close(fd)
        except OSError: pass
for fd in range(3, {fds}):
    try: os.set_blocking(fd, False)
    except (OSError, ValueError): pass
class Last:
    def __del__(self, spray=spray): spray()
{at_import}
def f(x):
    {in_call}
print({printed!r})
{at_end}
"""
_DEEDS = ("spray()", "spray()", "spray()", "mirror()", "spoil()", "move()", "close()")
_LATER = (
    "threading.Thread(target=spray).start()",
    "threading.Thread(target=lambda: [spray() for _ in range(20)], daemon=True).start()",
    "atexit.register(spray)",
    "last = Last()",
    "sys.settrace(lambda *a: spray())",
)
_ENDS = (
    *("return {value!r}",) * 12,
    "raise ValueError({value!r})",
    "os._exit(0)",
    "sys.exit(0)",
    "return Last()",
    "spray(); return {value!r}",
    "[spray() for _ in range(30)]; return {value!r}",
)


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """Every word that the sandbox's own sources write as text: what its messages are made of, and more."""
    words = {"id", "value"}
    for path in _SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _WORD.fullmatch(node.value):
                words.add(node.value)
    return tuple(sorted(words))


def program(rng: random.Random, *, whole: bool) -> str:
    """One program; it never computes an answer. `whole`: nobody will call its function, so it does."""
    deeds = [rng.choice(_DEEDS) for _ in range(rng.randint(0, 2))]
    deeds += [rng.choice(_LATER)] if rng.random() < 0.4 else []
    if rng.random() < 0.1:
        deeds.append(rng.choice(("os._exit(0)", "sys.exit(0)", "raise ValueError")))
    inside = [rng.choice(_DEEDS) for _ in range(rng.randint(0, 2))] or ["spray()"]
    end = rng.choice(_ENDS).format(value=_value(rng))
    fds = [rng.randrange(_FDS) for _ in range(rng.randint(1, 4))]
    return _PROGRAM.format(
        writes=[
            (fd, _bytes(rng)) for _ in range(rng.randint(1, 3)) for fd in (fds if rng.random() < 0.5 else range(1, 8))
        ],
        mirrored=[rng.randrange(3, 8) for _ in range(2)],
        spoiled=fds,
        spoiling=_bytes(rng),
        length=rng.choice((0, 1, 100, 1 << 20)),
        moved=[(rng.randrange(8), rng.randrange(8)) for _ in range(2)],
        closed=fds[:2],
        fds=_FDS,
        at_import="\n".join(deeds),
        in_call="; ".join([*inside, end]),
        at_end="f(input())" if whole else "",
        printed=rng.choice(("", "1", "passed", "x" * 100)),
    )


def _bytes(rng: random.Random) -> bytes:
    """What is written at once: one frame or several, whole or broken."""
    data = b"".join(_frame(rng) for _ in range(rng.randint(1, 4)))
    match rng.randrange(6):
        case 0:  # some bytes changed
            broken = bytearray(data)
            for _ in range(rng.randint(1, 4)):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            return bytes(broken)
        case 1:  # cut
            return data[rng.randrange(len(data)) :] or b"\0"
        case 2:
            return data[: rng.randrange(len(data)) + 1]
    return data


def _frame(rng: random.Random) -> bytes:
    match rng.randrange(10):
        case 0:
            return rng.randbytes(rng.randint(1, 200))
        case 1:
            return b"\0\0\0\0"
        case 2:
            return rng.choice((0xFFFFFFF0, 1 << 24, 1 << 16)).to_bytes(4, "big") + rng.randbytes(8)
        case 3:
            depth = rng.choice((100, 2000))
            return _framed(b'{"value":' + b"[" * depth + b"]" * depth + b"}")
        case 4:
            return _framed(
                rng.choice((b'{"id":0,"value":NaN}', b'{"id":0,"value":1.5}', b"[]", b"1", b'""', b"{", b""))
            )
        case _:
            return _framed(json.dumps(_message(rng)).encode())


def _framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def _message(rng: random.Random) -> Any:
    """An object of the sandbox's own words; now and then one that a real answer or report looks like."""
    words = vocabulary()
    match rng.randrange(6):
        case 0:
            return {"id": rng.randrange(4), "value": _value(rng)}
        case 1:
            return {"test": rng.randrange(3), "status": rng.choice(("passed", "wrong_answer", "gone")), "value": "1"}
        case 2:
            return {rng.choice(("end", "loaded", "begin", "ready", "done", "exit")): rng.choice((True, 0, 1, None))}
        case 3:
            return {"id": rng.randrange(4), "value": 0, "changed": [[[rng.randrange(3), _value(rng)]], []]}
        case 4:
            return {"id": rng.randrange(4), "unsupported": "x", "true": rng.choice((True, False, None, 1))}
    return {rng.choice(words): rng.choice((_value(rng), rng.choice(words), rng.randrange(4))) for _ in range(4)}


def _value(rng: random.Random, depth: int = 0) -> Any:
    match rng.randrange(9 if depth < 3 else 5):
        case 0:
            return rng.choice((True, False, None))
        case 1:
            return rng.choice((0, 1, -1, 2, 1 << 63, 10**20))
        case 2:
            return rng.choice(("", "passed", "\ud800", "1"))
        case 3:
            return {"f": rng.choice(("0x1p0", "nan", "inf", "x"))}
        case 4:
            return {"i": rng.choice(("0x10", "zz", ""))}
        case 5:
            return {rng.choice(_TAGS): [_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]}
        case 6:
            return [_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
        case 7:
            return {"d": [[_value(rng, depth + 1), _value(rng, depth + 1)]]}
    return {"k": [rng.choice(("Counter", "defaultdict", "OrderedDict", "Popen")), None, []]}
