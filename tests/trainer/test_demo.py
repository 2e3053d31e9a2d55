"""The demonstration's parts by themselves; the whole of it is tests/acceptance/test_loop.py."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from reranker.evaluation import Problem
from trainer import DemoFailed
from trainer.demo.traffic import send

PROBLEMS = [Problem(task_id=f"p/{number}", prompt="def f():\n", test="assert f()") for number in range(6)]


@asynccontextmanager
async def _answering(reply: bytes) -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _send(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        await send(client, PROBLEMS, 2, lambda done, total: None)


async def test_a_server_that_refuses_is_one_error_with_what_it_said() -> None:
    body = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\nConnection: close\r\n\r\nswitching"
    async with _answering(body) as url:
        with pytest.raises(DemoFailed, match=r"p/\d: 503: switching"):
            await _send(url)


async def test_a_server_that_is_gone_is_one_error() -> None:
    async with _answering(b"") as url:
        with pytest.raises(DemoFailed, match="gave no answer"):
            await _send(url)
