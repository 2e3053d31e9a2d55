"""Candidates of a running Touchstone server, over its own API: what is measured is the server's own ranking."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx

from reranker.evaluation.errors import InvalidSetting, ServerFailed
from reranker.evaluation.problem import Problem
from reranker.evaluation.settings import Settings, SourceInfo
from reranker.evaluation.sources import AUTO, Sampled

ATTEMPTS = 6
TEMPORARY = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
_LONGEST_PAUSE_S = 30.0
_TIMEOUT = httpx.Timeout(900.0, connect=10.0, pool=None)


class ServerSource:
    """Samples from `POST /v1/completions` with purpose `eval`. Make it with `open_server`."""

    def __init__(self, client: httpx.AsyncClient, info: SourceInfo, model: str | None, first_pause_s: float) -> None:
        self._client, self._info, self._model, self._first_pause_s = client, info, model, first_pause_s

    @property
    def info(self) -> SourceInfo:
        """See `Source`."""
        return self._info

    def has(self, problem: Problem) -> bool:
        """See `Source`."""
        return True

    def check(self, settings: Settings) -> None:
        """See `Source`. The server itself refuses the rest by name, at the first problem."""
        if settings.method == "off":
            raise InvalidSetting("method", "'off' chooses nothing; there would be nothing to measure")

    async def sample(self, problem: Problem, settings: Settings) -> Sampled:
        """See `Source`. Raises `ServerFailed`."""
        prompt: dict[str, Any] = {"prompt": problem.prompt, "model": self._model, "seed": settings.seed}
        prompt |= {"suffix": problem.suffix, "max_tokens": settings.max_tokens}
        said = {name: value for name, value in prompt.items() if value is not None}
        reply = await self._ask(said | {"rerank": _rerank(problem, settings)})
        sampled = _read(reply, settings)
        if not settings.greedy:
            return sampled
        plain = await self._ask(said | {"temperature": 0, "rerank": {"method": "off"}})
        return _with_greedy(sampled, plain)

    async def aclose(self) -> None:
        """Hang up."""
        await self._client.aclose()

    async def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        """The reply's JSON; a server that is busy or not ready yet is asked again, at most `ATTEMPTS` times."""
        for attempt in range(ATTEMPTS):
            try:
                response = await self._client.post("completions", json=body)
            except httpx.HTTPError as error:
                raise ServerFailed(f"the server cannot be reached or broke off: {error!r}") from error
            if response.status_code not in TEMPORARY or attempt == ATTEMPTS - 1:
                break
            await asyncio.sleep(max(_retry_after_s(response), self._first_pause_s * 2**attempt))
        return _json(response)


async def open_server(
    url: str, *, api_key: str | None = None, model: str | None = None, first_pause_s: float = 0.5
) -> ServerSource:
    """Connect to `http://host:port/v1` and ask what it serves. Raises `ServerFailed`, `InvalidSetting` for a key."""
    if api_key and not all("!" <= character <= "~" for character in api_key):
        raise InvalidSetting("api_key", "must be ASCII without spaces")  # the key itself is not for printing
    headers = {"X-Purpose": "eval"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
    try:
        client = httpx.AsyncClient(base_url=url.rstrip("/") + "/", headers=headers, timeout=_TIMEOUT)
    except httpx.InvalidURL as error:
        raise ServerFailed(f"{url} cannot be reached: {error!r}") from error
    try:
        return ServerSource(client, await _served(client, url, model), model, first_pause_s)
    except BaseException:
        await client.aclose()
        raise


async def _served(client: httpx.AsyncClient, url: str, model: str | None) -> SourceInfo:
    """What the server says that it serves."""
    try:
        response = await client.get("models")
        if response.status_code == 404:
            raise ServerFailed(f"{url} has no list of models (HTTP 404); an address ends in /v1: http://host:port/v1")
        served = _json(response)["data"][0]
        return SourceInfo(
            kind="server",
            engine=str(served["engine"]),
            model=str(model or served["id"]),
            dtype=str(served["effective_dtype"]),
            weights=str(served.get("weights", "")),
            place=url,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServerFailed(f"{url} cannot be reached: {error!r}") from error
    except (LookupError, TypeError) as error:
        raise ServerFailed(f"{url} is no Touchstone server: {error!r} in its list of models") from error


def _rerank(problem: Problem, settings: Settings) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "method": settings.method or AUTO,
        "num_candidates": settings.n,
        "include_greedy": False,
        "return": "all",
        "early_exit": "off",
        "on_error": "fail",
        "temperature": settings.temperature,
        "top_p": settings.top_p,
    }
    if problem.visible_test is not None:
        tests = {"code": problem.visible_test, "entry_point": problem.entry_point, "visible": True}
        fields["tests"] = {name: value for name, value in tests.items() if value is not None}
    return {name: value for name, value in fields.items() if value is not None}


def _read(reply: dict[str, Any], settings: Settings) -> Sampled:
    """The candidates of a reply, back in the order they were sampled. Raises `ServerFailed` and `InvalidSetting`."""
    try:
        whole = reply["rerank"]
        if whole["status"] != "complete":
            raise ServerFailed(f"the ranking is {whole['status']}: {whole.get('reason', '')}")
        if settings.seed is not None and not whole["seed_honoured"]:
            raise InvalidSetting("seed", "the server's engine does not honour it")
        choices = {choice["rerank"]["candidate"]: choice for choice in reply["choices"]}
        ranked = [choice["rerank"]["candidate"] for choice in reply["choices"]]
        samples = [choices[position] for position in range(settings.n)]
        logprobs = tuple(choice["rerank"]["mean_logprob"] for choice in samples)
        orders = {settings.method or AUTO: tuple(ranked), str(whole["method"]): tuple(ranked)}
        if all(value is not None for value in logprobs):
            likeliest = sorted(range(settings.n), key=lambda position: -logprobs[position])
            orders.setdefault("likelihood", tuple(likeliest))
        return Sampled(
            texts=tuple(choice["text"] for choice in samples),
            orders=orders,
            logprobs=logprobs,
            tokens=reply["usage"]["completion_tokens"],
        )
    except (LookupError, TypeError) as error:
        raise ServerFailed(f"the reply has another shape: {error!r}") from error


def _with_greedy(sampled: Sampled, plain: dict[str, Any]) -> Sampled:
    try:
        tokens = sampled.tokens + plain["usage"]["completion_tokens"]
        return replace(sampled, greedy=str(plain["choices"][0]["text"]), tokens=tokens)
    except (LookupError, TypeError) as error:
        raise ServerFailed(f"the reply has another shape: {error!r}") from error


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.is_success and isinstance(body, dict):
        return body
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else response.text[:300]
    raise ServerFailed(f"the server answered HTTP {response.status_code}: {message}")


def _retry_after_s(response: httpx.Response) -> float:
    try:
        return min(_LONGEST_PAUSE_S, float(response.headers.get("retry-after", 0)))
    except ValueError:  # an HTTP date
        return 1.0
