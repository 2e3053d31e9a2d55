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
            form = _form(ast.parse(source))
        except PARSER_ERRORS:
            form = source
    return hashlib.blake2b(form.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _form(tree: ast.AST) -> str:
    """A tree as text, the same for equal trees alone: `ast.dump` in half its time.

    Every kind of node has its fields in one order and every list says its length, so no brackets are needed.
    """
    parts: list[str] = []
    todo: list[object] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.AST):
            parts.append(type(node).__name__)
            for name in node._fields:
                todo.append(getattr(node, name, None))  # a list for each node would take longer
        elif isinstance(node, list):
            parts.append(str(len(node)))
            todo += node
        else:
            parts.append(repr(node))
    return "\n".join(parts)
