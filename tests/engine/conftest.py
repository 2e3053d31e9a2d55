"""Models that the tests of engines share, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine is no failure: the time an example takes says nothing about what is tested here.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `hf` folder of a random Llama-like model."""
    pytest.importorskip("torch")
    from tests.engine.checkpoints import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("model") / "hf")


@pytest.fixture(scope="session")
def converted(checkpoint: Path) -> Path:
    """The same model converted for CTranslate2, in float32."""
    import ctranslate2

    target = checkpoint.parent / "ct2-float32"
    ctranslate2.converters.TransformersConverter(str(checkpoint)).convert(str(target))
    return target
