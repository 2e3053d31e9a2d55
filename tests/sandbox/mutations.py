"""One small fault at a time in a program: what `mutants` runs to compare verdicts."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_DROPPED = (ast.Assign, ast.AugAssign, ast.Expr, ast.Return, ast.If, ast.For, ast.While, ast.Break, ast.Continue)


@dataclass(frozen=True, slots=True)
class Mutation:
    """One fault: its kind, its line in the program, and the completion that has it."""

    kind: str
    line: int
    completion: str


def mutations(prompt: str, completion: str) -> list[Mutation]:
    """Every completion with one fault that still compiles after its prompt; each text once. Raises `SyntaxError`."""
    source = (prompt + completion).encode()
    own = len(prompt.encode())
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    tree = ast.parse(source)
    found: dict[str, Mutation] = {}
    for node in _outside_texts(tree):
        if not isinstance(node, ast.expr | ast.stmt):
            continue
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        if first < own:
            continue
        for kind, new in _faults(node):
            text = ast.unparse(ast.fix_missing_locations(new))
            text = f"({text})" if isinstance(new, ast.expr) else text.replace("\n", "\n" + " " * node.col_offset)
            changed = (source[own:first] + text.encode() + source[last:]).decode()
            if changed != completion and _compiles(prompt + changed):
                found.setdefault(changed, Mutation(kind, node.lineno, changed))
    return list(found.values())


def _outside_texts(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those inside an f-string, whose places are not those in the source, and docstrings."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        is_text = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if not is_text and not isinstance(child, ast.JoinedStr):
            yield from _outside_texts(child)


def _faults(node: ast.expr | ast.stmt) -> Iterator[tuple[str, ast.expr | ast.stmt]]:
    new = copy.deepcopy(node)
    match new:
        case ast.BinOp() | ast.AugAssign() if type(new.op) in _OPERATORS:
            new.op = _OPERATORS[type(new.op)]()
            yield "operator", new
        case ast.BoolOp():
            new.op = ast.And() if isinstance(new.op, ast.Or) else ast.Or()
            yield "and or", new
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield "sign", new.operand
        case ast.Compare(ops=[op, *_]):
            for other in _COMPARISONS[type(op)]:
                changed = copy.deepcopy(new)
                changed.ops[0] = other()
                yield "comparison", changed
        case ast.Constant(value=bool() as value):
            yield "constant", ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield "constant", ast.Constant(value + 1)
            yield "constant", ast.Constant(value - 1)
        case ast.Constant(value=str() as value):
            yield "constant", ast.Constant(value[1:] if value else "x")
        case ast.Call(func=ast.Name(id="range"), args=args) if args:
            position = min(1, len(args) - 1)
            for change in (ast.Add(), ast.Sub()):
                bound = ast.BinOp(args[position], change, ast.Constant(1))
                yield "range", ast.Call(new.func, [*args[:position], bound, *args[position + 1 :]], [])
        case ast.If() | ast.While() | ast.IfExp():
            new.test = ast.UnaryOp(ast.Not(), new.test)
            yield "condition", new
        case ast.Return(value=ast.expr()):
            yield "return None", ast.Return(None)
    if isinstance(node, _DROPPED):
        yield "dropped", ast.Pass()


def _compiles(source: str) -> bool:
    try:
        compile(source, "<mutant>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True
