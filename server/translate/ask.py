"""What one request asks for, in the domain's words: the record between the wire and the work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from feedback import Purpose
from reranker import Options, Task

Route = Literal["completions", "chat", "fim", "infill", "candidates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What the headers and the connection say of who asks, and why."""

    purpose: Purpose = "traffic"
    session_id: str | None = None
    fairness_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One API call, understood. Every task gets the same options; its id is the key of its exchange in the log."""

    id: str
    route: Route
    model: str
    """As the reply names it: the name the client used."""
    tasks: tuple[Task, ...]
    options: Options
    client: Client = field(default_factory=Client)
    stream: bool = False
    include_usage: bool = False
    logprobs: int | None = None
    """How many alternatives a token to show; None shows no log-probabilities."""
    echo: bool = False
    return_all: bool = False
    ignored: tuple[str, ...] = ()
    """Keys nobody knows, named in `X-Touchstone-Ignored`."""
    normalised: str = ""
    """Of a prompt in which a layout was spelled out in another way than the model's own: from which, to which."""

    @property
    def reranked(self) -> bool:
        return self.options.method != "off"
