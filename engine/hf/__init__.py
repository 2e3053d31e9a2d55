"""The `transformers` engine: the reference the others are measured against. Right before fast; needs torch."""

from engine.hf.engine import TransformersEngine

load = TransformersEngine.load

__all__ = ["TransformersEngine", "load"]
