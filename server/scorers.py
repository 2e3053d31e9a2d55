"""The scorers that hold a model of their own, from the configuration: what `best_of_n` is given as `loaded`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from engine import EngineError, InvalidModel, ModelNotFound, find_verifier
from reranker import LEARNED, Loaded, RerankError
from server.config import Config

_log = logging.getLogger(__name__)
BUNDLED, BUNDLED_FAMILY = "touchstone-verifier", "touchstone:"


def load_scorers(config: Config, model: str) -> Loaded:
    """Load what the configuration names for a served model; blocks.

    Raises `ModelNotFound` and `InvalidModel` for what was named and cannot be used, naming the setting. The
    bundled verifier is done without, with a warning, where it cannot be loaded.
    """
    loaded, wanted = Loaded(), config.reranker
    if wanted.verifier == "auto":
        if model.startswith(BUNDLED_FAMILY):
            try:
                loaded.add_verifier(find_verifier(BUNDLED, config.state_dir))
            except (EngineError, RerankError) as error:
                _log.warning("the bundled verifier is left out: %s", error)
    elif wanted.verifier:
        with _naming("reranker.verifier"):
            loaded.add_verifier(find_verifier(wanted.verifier, config.state_dir))
    if wanted.discriminator:
        with _naming("reranker.discriminator"):
            loaded.add_discriminator(find_verifier(wanted.discriminator, config.state_dir))
    server = config.server
    for name in ("default_method", "default_method_fim", "default_method_stream"):
        if (method := getattr(server, name)) in LEARNED and method not in loaded.scorers:
            raise ModelNotFound(f"server.{name}: {method!r} needs a model of its own, and [reranker] names none")
    return loaded


@contextlib.contextmanager
def _naming(setting: str) -> Iterator[None]:
    """Say with an error which setting asked for what cannot be used."""
    try:
        yield
    except ModelNotFound as error:
        raise ModelNotFound(f"{setting}: {error}") from error
    except (EngineError, RerankError) as error:
        raise InvalidModel(f"{setting}: {error}") from error
