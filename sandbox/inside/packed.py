"""A plan of test code as bytes: made once by the server, used by every judge of the suite."""

from __future__ import annotations

import base64
import importlib.util
import marshal
from typing import Any

from sandbox.inside.suite import Piece, Plan

_MAGIC = importlib.util.MAGIC_NUMBER


def pack(plan: Plan) -> str:
    """The plan with its module compiled. Raises `SyntaxError` and `ValueError` for what does not compile."""
    functions = [_flat(piece) for piece in plan.functions]
    cases = {name: [_flat(piece) for piece in pieces] for name, pieces in plan.cases.items()}
    names = (plan.names, plan.mentioned, plan.called, plan.read_by, plan.judging)
    packed = (plan.compiled(), functions, cases, names, plan.skip, plan.uses_pytest)
    return base64.b64encode(_MAGIC + marshal.dumps(packed)).decode("ascii")


def unpack(text: str) -> Plan | None:
    """The plan that a server packed; None where its interpreter compiles to another bytecode than this one."""
    data = base64.b64decode(text)
    if not data.startswith(_MAGIC):
        return None
    code, functions, cases, names, skip, uses_pytest = marshal.loads(data[len(_MAGIC) :])  # noqa: S302  the server's
    plan = Plan(code, skip=skip, uses_pytest=uses_pytest)
    plan.functions = [_piece(flat) for flat in functions]
    plan.cases = {name: [_piece(flat) for flat in flats] for name, flats in cases.items()}
    plan.names, plan.mentioned, plan.called, plan.read_by, plan.judging = names
    return plan


def _flat(piece: Piece) -> tuple[Any, ...]:
    return piece.name, piece.tests.start, piece.tests.stop, piece.takes_candidate, piece.origin, piece.case


def _piece(flat: tuple[Any, ...]) -> Piece:
    name, start, stop, takes_candidate, origin, case = flat
    return Piece(name, range(start, stop), takes_candidate, origin, case)
