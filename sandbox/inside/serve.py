"""The launcher: a fresh interpreter that moves into the private root and forks one keeper a run.

It holds no secret (empty environment, no inherited descriptor, no module of the server's) and never runs anything of a
candidate's, so every run starts from the same clean memory. It ends when the server's side of its socket closes.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import traceback

from sandbox.inside.keeper import keep
from sandbox.inside.root import SetupRefused, enter_private_root
from sandbox.inside.seccomp import available, build_program

_PRELOADED = (
    "abc array ast base64 bisect bz2 calendar cmath collections collections.abc contextlib copy csv dataclasses "
    "datetime decimal enum fractions functools hashlib heapq inspect io itertools json locale lzma math numbers "
    "operator queue random re statistics string struct textwrap threading time traceback types typing unittest zlib"
)
"""Modules loaded before the host's shared libraries are out of sight, and so that runs need not load them."""

_MAX_ORDER_BYTES = 65536
_MAX_FDS = 8


def main(fd: int) -> None:
    """Serve orders until the socket closes: each is a JSON object with the descriptors of its run."""
    control = socket.socket(fileno=fd)
    for name in _PRELOADED.split():
        with contextlib.suppress(ImportError):  # an interpreter may be built without some of them
            importlib.import_module(name)
    try:
        proc = enter_private_root()
    except SetupRefused as error:
        control.send(json.dumps({"refused": str(error)}).encode())
        return
    program = build_program() if available() else None
    base_bytes = _address_space(proc)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers report to the server; nobody waits for them here
    gc.collect()
    gc.disable()
    gc.freeze()  # a later collection in a child would copy every page
    control.send(json.dumps({"ready": True, "seccomp": program is not None}).encode())
    while True:
        message, fds, _, _ = socket.recv_fds(control, _MAX_ORDER_BYTES, _MAX_FDS)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            try:
                gc.enable()
                keep({**json.loads(message), "base_bytes": base_bytes}, fds, proc, program)
            except Exception:  # noqa: BLE001  to the launcher's log; the server sees a run without an end
                traceback.print_exc()
            finally:
                os._exit(0)
        for received in fds:
            os.close(received)


def _address_space(proc: int) -> int:
    fd = os.open("self/statm", os.O_RDONLY, dir_fd=proc)
    try:
        return int(os.read(fd, 200).split()[0]) * os.sysconf("SC_PAGE_SIZE")
    finally:
        os.close(fd)
