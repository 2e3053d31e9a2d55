"""What one request asks for, in the domain's words: the record between the wire and the work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from engine import Priority
from feedback import Purpose
from reranker import Options, Task
from server.keys.caller import NOBODY, Caller

Route = Literal["completions", "chat", "fim", "infill", "candidates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What the headers and the connection say of who asks, and why."""

    purpose: Purpose = "traffic"
    session_id: str | None = None
    fairness_key: str = ""
    priority: Priority = Priority.AS_YOU_TYPE
    """The most urgent class it may be of."""
    caller: Caller = NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One API call, understood. Every task gets the same options; its id is the key of its exchange in the log."""

    id: str
    route: Route
    model: str
    """As the reply names it: the name the client used."""
    tasks: tuple[Task, ...]
    options: Options
    client: Client = Client()
    stream: bool = False
    include_usage: bool = False
    logprobs: int | None = None
    """How many alternatives a token to show; None shows no log-probabilities."""
    echo: bool = False
    return_all: bool = False
    profile: str = ""
    """The profile that was asked for; empty: none."""
    ignored: tuple[str, ...] = ()
    """Keys nobody knows, named in `X-Touchstone-Ignored`."""
    normalised: str = ""
    """Of a prompt in which a layout was spelled out in another way than the model's own: from which, to which."""

    truncated: tuple[str, ...] = ()
    """What of a gap had no room in the model's context and was left out: `files`, `prefix`, `suffix`."""

    def asked_by(self, caller: Caller) -> Ask:
        """The same, asked by this caller: a key takes its turn as one, whatever its requests say of themselves."""
        fairness_key = self.client.fairness_key if caller.key is None else caller.key.id
        client = replace(self.client, caller=caller, fairness_key=fairness_key)
        most = caller.meter.limits.prompt_tokens
        options = self.options
        if (options.fairness_key, options.max_prompt_tokens) != (fairness_key, most):
            options = replace(options, fairness_key=fairness_key, max_prompt_tokens=most)
        return replace(self, client=client, options=options)

    @property
    def reranked(self) -> bool:
        return self.options.method != "off"
