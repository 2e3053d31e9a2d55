"""Candidates that are the same program run once."""

from __future__ import annotations

import ast
import hashlib

from sandbox import MAX_SOURCE_BYTES, PARSER_ERRORS, is_python


def program_key(source: str, language: str = "python") -> bytes:
    """Equal for Python programs with equal ASTs: layout, comments and redundant brackets do not count.

    Source that does not parse, is over the size cap or in another language stands for itself. Call it off the event
    loop.
    """
    form = source
    if is_python(language) and len(source) <= MAX_SOURCE_BYTES:
        try:
            form = ast.dump(ast.parse(source), annotate_fields=False)
        except PARSER_ERRORS:
            form = source
    return hashlib.blake2b(form.encode("utf-8", "surrogatepass"), digest_size=16).digest()
