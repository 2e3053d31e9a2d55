"""One serving process: bind, answer at once, load in the background, drain on SIGTERM, exit 0.

The port answers before the model is there (`/health` says loading), so probes see a live process early. A second
SIGTERM or SIGINT ends at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator

import uvicorn

from server.build import build
from server.config import Config
from server.protocol import protocol_of
from server.service import Parts
from server.serving import Serving

_TRY = (
    'def total_of_even(numbers):\n    """Keep the even numbers and return their sum.\n\n'
    '    >>> total_of_even([1, 2, 4])\n    6\n    """\n'
)
"""For a first request: an example in the prompt, so that there is evidence to see."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_AFTER_DRAIN_S = 2
"""How long connections may take to close once their requests are done."""
_KEEP_ALIVE_S = 75
"""Longer than clients keep idle connections, so that it is never the server that closes one just being used."""


class StartFailed(Exception):
    """The server could not start; the message says why."""


class Process:
    """The process's server and what it was told by signals."""

    def __init__(self, config: Config, make: Callable[[Config], Awaitable[Parts]] = build) -> None:
        serving = Serving(config, make, loaded=self._announce, failed=self._give_up)
        self._config = config
        self._service = serving.service
        self._signals = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._url = ""
        self._server = _Server(
            uvicorn.Config(
                serving.app,
                http=protocol_of(config.server.receive_timeout_s),
                access_log=False,
                log_config=None,
                server_header=False,
                lifespan="on",
                timeout_graceful_shutdown=_AFTER_DRAIN_S,
                timeout_keep_alive=_KEEP_ALIVE_S,
                ws="none",
            )
        )

    def run(self) -> None:
        """Serve until told to stop. Raises `StartFailed`."""
        listener = listen(self._config.server.host, self._config.server.port)
        host, port = listener.getsockname()[:2]
        self._url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            runner.run(self._serve(listener))
        if self._service.failure is not None:
            raise StartFailed(self._service.failure)

    async def _serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)
        await self._server.serve(sockets=[listener])

    def _give_up(self) -> None:
        self._server.should_exit = True

    def _announce(self, parts: Parts) -> None:
        if self._service.lifecycle.phase != "ok":
            return
        model, tier = parts.engine.info.model, parts.isolation.tier
        body = json.dumps({"model": model, "prompt": _TRY, "rerank": {"num_candidates": 16}})
        say(f"serving {model} on {self._url} (isolation: {tier or 'none, see ' + self._url + '/ready'})")
        if not self._service.keys.in_use:
            say("  no keys are in use: whoever reaches this address may do everything (touchstone keys create)")
        say(f"  curl -s {self._url}/v1/completions -H 'Content-Type: application/json' -d '{body}'")

    def _signalled(self, number: int) -> None:
        self._signals += 1
        if self._signals > 1:
            # Told twice: nothing is worth waiting for. Sandboxed processes die with this one, by the kernel's hand.
            os._exit(128 + number)
        self._tasks.append(asyncio.create_task(self._stop()))

    async def _stop(self) -> None:
        say(f"draining {self._service.lifecycle.num_running} requests")
        await self._service.lifecycle.drain(self._config.server.drain_s)
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn's server without its own signal handlers: they would stop accepting before the drain."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises `StartFailed` naming host and port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartFailed(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener


def say(line: str) -> None:
    """A line for whoever started the process."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
