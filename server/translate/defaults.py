"""What a request gets when it does not say, and the caps on what it may say; a slice of the server's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine import EngineInfo
from sandbox import Limits
from server.wire.base import RerankFields


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """See `server/config.py` for the meaning of each; units in the names."""

    info: EngineInfo
    methods: tuple[str, ...]
    also: frozenset[str] = frozenset()
    """Names of other models that this one answers to."""
    can_run: bool
    """Whether untrusted code can be isolated here."""
    method: str = "auto"
    method_fim: str = "off"
    method_stream: str = "off"
    num_candidates: int = 8
    max_candidates: int = 64
    temperature: float = 0.8
    top_p: float = 0.95
    max_tokens: int = 256
    max_tokens_fim: int = 128
    max_prompts: int = 256
    limits: Limits = field(default_factory=Limits)
    profiles: Mapping[str, RerankFields] = field(default_factory=dict)
    profile: str | None = None
    """The caller's own, for plain completions and chats that name none."""
    max_wall_s: float = 60.0
    max_memory_bytes: int = 2048 * 1024 * 1024

    def method_for(self, *, fim: bool, stream: bool) -> str:
        """The method of a request that says nothing about reranking."""
        return self.method_fim if fim else self.method_stream if stream else self.method


Headers = Mapping[str, Any]
"""Request headers: names in lower case, values as text."""
