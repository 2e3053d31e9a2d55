"""The `cpu` engine: N samples of one prompt on a CPU, in eager torch.

network.py   one step: all rows through all layers; the prompt's keys and values once, small tails
linears.py   weights packed once, as this CPU multiplies fastest, and the probe that finds out
batch.py     requests that decode together, and what is drawn
loading.py   families, which type, and whether int8 is good enough
engine.py    the port: queue, admission, delivery
"""

import os

from engine.errors import MissingExtra

# Threads that spin at their barriers take the cores from whatever else runs (engine/ct2/model.py). Read once, by torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
try:
    import torch  # noqa: F401 - said here, once, for all modules of this folder
    import transformers  # noqa: F401
except ImportError as missing:
    raise MissingExtra(f"the cpu engine needs {missing.name}; run: pip install 'touchstone[transformers]'") from missing

from engine.cpu.engine import CpuEngine

load = CpuEngine.load

__all__ = ["CpuEngine", "load"]
