"""The `openai` engine: any server that speaks the OpenAI API, over HTTP."""

from engine.upstream.engine import UpstreamEngine, load

__all__ = ["UpstreamEngine", "load"]
