"""A zygote's start: loads what programs import, moves out of reach, becomes the zygote.

It holds no secret (empty environment, no inherited descriptor, no module of the server's) and never runs anything of a
candidate's itself.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import signal
import socket
from typing import Any

from sandbox.inside.confine import Setup
from sandbox.inside.landlock import abi, prepare
from sandbox.inside.printed import install
from sandbox.inside.root import SetupRefused, become, enter_namespaces, library_paths
from sandbox.inside.seccomp import KINDS, Filter, available, build_program
from sandbox.inside.system import PR_SET_PDEATHSIG, drop_bounding_set, fork, prctl
from sandbox.inside.used import open_proc
from sandbox.inside.warm import warm_up
from sandbox.inside.zygote import serve

_PRELOADED = (
    "abc array ast base64 bisect bz2 calendar cmath collections collections.abc contextlib copy csv dataclasses "
    "datetime decimal enum fractions functools hashlib heapq inspect io itertools json locale lzma math numbers "
    "operator queue random re statistics string struct textwrap threading time traceback types typing unittest zlib"
)
"""Modules loaded before the host's shared libraries are out of sight, and so that runs need not load them."""

_PACKAGES = {"numpy": ("numpy",), "pandas": ("numpy", "pandas", "scipy")}
"""Packages loaded by import profile, where the interpreter has them."""


def main(fd: int, config: dict[str, Any]) -> None:
    """Set up as the configuration says, tell the server what holds, serve until it closes the socket.

    `config`: `tier` A or B, `user` (what root becomes; None: not root), `profile`, `shown` (further paths),
    `packages` (whether installed packages are there to import), `tools` (programs of the shown paths may be executed).
    """
    control = socket.socket(fileno=fd)
    loaded = _preload(config["profile"])
    if loaded:
        # A package may have started threads (pyarrow's allocator does, and pandas imports it), and namespaces are for
        # processes with one. This fork has the handlers that the package registered to mend its locks.
        _go_on_in(os.fork())
    own_user = config["tier"] == "A" or config["user"] is not None
    setup = Setup(base_bytes=_address_space(), proc=open_proc(), own_user=own_user)
    try:
        _move(config, setup)
    except (SetupRefused, OSError) as error:
        control.send(json.dumps({"refused": str(error)}).encode())
        return
    if config["tier"] == "A":
        _become_first_process(setup)
    with contextlib.suppress(OSError):  # without the right to it there is nothing to give up
        drop_bounding_set()
    if available():
        setup.filters = {kind: Filter(build_program(kind)) for kind in KINDS}
    install()
    warm_up()
    random.seed(0)  # of every run: repeatable verdicts
    gc.collect()
    gc.disable()
    gc.freeze()  # a later collection in a child would copy every page
    facts = {"seccomp": bool(setup.filters), "landlock": abi(), "loaded": loaded}
    control.send(json.dumps({"ready": True, **facts}).encode())
    serve(control, setup)


def _preload(profile: str) -> list[str]:
    for name in _PRELOADED.split():
        with contextlib.suppress(ImportError):  # an interpreter may be built without some of them
            importlib.import_module(name)
    loaded = []
    for name in _PACKAGES.get(profile, ()):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
            loaded.append(name)
    return loaded


def _move(config: dict[str, Any], setup: Setup) -> None:
    """Into namespaces (A), or to an own user only (B). Raises `SetupRefused` and `OSError`."""
    shown = [path for path in config["shown"] if os.path.exists(path)]
    setup.tools = config["tools"]
    programs = shown if setup.tools else []
    if config["tier"] == "A":
        enter_namespaces(config["user"], shown, packages=config["packages"])
        if abi() > 0:
            setup.ruleset = prepare(["/"], ["/box"], [*programs, "/box"] if setup.tools else [])
    else:
        if abi() == 0:
            raise SetupRefused("Landlock: the kernel does not offer it")
        if not available():
            raise SetupRefused(f"seccomp: there is no table of system calls for {os.uname().machine}")
        setup.ruleset = prepare([*library_paths(), *shown, "/dev/null", "/dev/urandom"], [], programs)
        if config["user"] is not None:
            become(config["user"])
        os.chdir("/")


def _become_first_process(setup: Setup) -> None:
    """Go on as the first process of the new pid namespace, whose end is the end of all in it; this one waits for it."""
    _go_on_in(fork())
    setup.pid_namespace = os.pidfd_open(os.getpid())


def _go_on_in(child: int) -> None:
    """Return in the child that was just forked; the parent only waits for its end, and ends."""
    if child:
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.waitpid(child, 0)
        os._exit(0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _address_space() -> int:
    """Bytes this process has mapped. Asked while /proc is in sight."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
