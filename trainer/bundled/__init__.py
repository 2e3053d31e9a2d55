"""The bundled model: a Llama of 3.8 M parameters trained from nothing on a synthetic corpus of small Python functions.

Problems are chains of typed steps told in words, with examples; everything up to the held-out problems is plain Python.
`tokenizer` needs tokenizers; `model`, `batches`, `train`, `export` and `make` need torch, so they are not
imported here.
"""

from trainer.bundled.compose import Problem
from trainer.bundled.corpus import Document, documents, stream
from trainer.bundled.problems import apart, gaps, held_out

__all__ = ["Document", "Problem", "apart", "documents", "gaps", "held_out", "stream"]
