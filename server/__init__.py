"""Speak OpenAI over HTTP: routes around an engine, a reranker, a sandbox and a log.

`create_app` takes built parts; `server.cli` builds them and serves.
"""

from server.app import create_app
from server.config import Config, ConfigError, load
from server.service import Isolation, Parts

__all__ = ["Config", "ConfigError", "Isolation", "Parts", "create_app", "load"]
