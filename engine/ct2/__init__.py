"""The CTranslate2 engine. The library itself is imported when a model is loaded."""

from engine.ct2.engine import Ct2Engine
from engine.ct2.model import available_cores
from engine.types import Threads

__all__ = ["Ct2Engine", "Threads", "available_cores", "load"]

load = Ct2Engine.load
