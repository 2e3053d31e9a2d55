"""Pictures as inline SVG: who passes which test, and stated against right. Colours come from the page's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from reranker.pool.calibration import Calibration
from reranker.pool.gather import Gathered
from reranker.pool.ranking import Ranked
from sandbox import Outcome, Status

_WIDTH = 960
_LEFT, _RIGHT, _TOP = 26, 72, 34
_GAP = 46
"""Room for the title of a block of one column."""
_KINDS = ("pass", "wrong", "error", "unknown")
_SQUARE, _EDGE = 300, 46


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Columns that belong together: the visible suite's tests, or the trials."""

    title: str
    weights: tuple[int, ...]
    """One a column, as it is drawn."""
    rows: tuple[tuple[str, ...], ...]
    """One a program, of `_KINDS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """One problem as a picture: a row a distinct program, best first, a column a test."""

    programs: tuple[int, ...]
    """By the number of the first candidate that is it."""
    votes: tuple[int, ...]
    """How often each was sampled."""
    right: tuple[bool, ...] | None
    blocks: tuple[Block, ...]


def matrix_of(gathered: Gathered, ranked: Ranked) -> Matrix:
    """The matrix of a problem, its programs in the order of a ranking, its tests by how much passes them."""
    candidates = gathered.candidates
    roots = [each.original for each in candidates]
    programs = tuple(dict.fromkeys(roots[index] for index in ranked.ranking))
    blocks = []
    suite, trials = gathered.task.suite, gathered.task.trials
    if suite is not None and any(each.outcome for each in candidates):
        name = "shown" if gathered.posed.suite_from == "examples" else "visible"
        blocks.append(_block(name, [candidates[p].outcome for p in programs], None))
    if trials is not None and any(each.trial for each in candidates):
        blocks.append(_block("trials", [candidates[p].trial for p in programs], trials.weights))
    return Matrix(
        programs=programs,
        votes=tuple(roots.count(program) for program in programs),
        right=None if gathered.passes is None else tuple(gathered.passes[program] for program in programs),
        blocks=tuple(blocks),
    )


def _block(title: str, outcomes: Sequence[Outcome | None], weights: Sequence[int] | None) -> Block:
    columns = max((len(each.tests) for each in outcomes if each is not None), default=0)
    rows = [_row(each, columns) for each in outcomes]
    order = sorted(range(columns), key=lambda column: -sum(row[column] == "pass" for row in rows))
    return Block(
        title=title,
        weights=tuple((weights or [1] * columns)[column] for column in order),
        rows=tuple(tuple(row[column] for column in order) for row in rows),
    )


def _row(outcome: Outcome | None, columns: int) -> list[str]:
    if outcome is None:
        return ["unknown"] * columns
    if outcome.not_run == len(outcome.tests) and outcome.status is not Status.NOT_RUN:
        return ["error"] * columns  # it did not even load
    found = ["unknown"] * columns
    for test in outcome.tests:
        found[test.index] = _kind(test.status)
    return found


def _kind(status: Status) -> str:
    match status:
        case Status.PASSED:
            return "pass"
        case Status.WRONG_ANSWER | Status.UNSUPPORTED_VALUE:
            return "wrong"
        case Status.NOT_RUN:
            return "unknown"
    return "error"


def draw_matrix(matrix: Matrix, name: str) -> Markup:
    """The picture; what it shows is said in words beside it."""
    columns = sum(len(block.weights) for block in matrix.blocks) or 1
    wide = (_WIDTH - _LEFT - _RIGHT - _GAP * (len(matrix.blocks) - 1)) / columns
    wide, high = min(wide, 26.0), max(4.0, min(12.0, 560 / len(matrix.programs)))
    bottom = _TOP + high * len(matrix.programs)
    parts, left = [_verdicts(matrix, high)], float(_LEFT)
    for block in matrix.blocks:
        parts += [_heading(block, left, wide), *_cells(block, left, wide, high)]
        left += wide * len(block.weights) + _GAP
    parts.append(_votes(matrix, left - _GAP + 14, high))
    opening = (
        f'<svg class="matrix" viewBox="0 0 {_WIDTH} {bottom + 4:.1f}" role="img" aria-labelledby="matrix-title">'
        f'<title id="matrix-title">{escape(name)}</title>'
    )
    return Markup("".join((opening, *parts, "</svg>")))  # noqa: S704  numbers, and text escaped above


def _verdicts(matrix: Matrix, high: float) -> str:
    """Whether each program is right, at the left; nothing without labels."""
    rows = enumerate(matrix.right or ())
    marks = "".join(
        f'<rect x="4" y="{_TOP + high * row + 0.5:.1f}" width="14" height="{high - 1:.1f}"/>' for row, ok in rows if ok
    )
    return f'<g class="right">{marks}</g>'


def _heading(block: Block, left: float, wide: float) -> str:
    """The block's title, and over each column how often its test was sampled."""
    most = max(block.weights, default=1)
    bars = "".join(
        f"M{left + wide * column:.2f} {_TOP - 3}v{-14 * weight / most:.2f}h{wide:.2f}V{_TOP - 3}z"
        for column, weight in enumerate(block.weights)
    )
    drawn = f'<path class="weight" d="{bars}"/>' if most > 1 else ""
    return f'<text class="tick" x="{left:.1f}" y="11">{escape(block.title)}</text>{drawn}'


def _cells(block: Block, left: float, wide: float, high: float) -> list[str]:
    """One path a kind; cells of one kind that touch in a row are one piece."""
    paths: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for number, row in enumerate(block.rows):
        y, start = _TOP + high * number, 0
        for column in range(1, len(row) + 1):
            if column == len(row) or row[column] != row[start]:
                x, w = left + wide * start, wide * (column - start)
                paths[row[start]].append(f"M{x:.2f} {y:.1f}h{w:.2f}v{high - 0.6:.1f}h{-w:.2f}z")
                start = column
    return [f'<path class="cell {kind}" d="{"".join(path)}"/>' for kind, path in paths.items() if path]


def _votes(matrix: Matrix, left: float, high: float) -> str:
    """How often each program was sampled, at the right."""
    most = max(matrix.votes, default=1)
    bars = "".join(
        f'<rect x="{left:.1f}" y="{_TOP + high * row:.1f}" width="{40 * votes / most:.1f}" height="{high - 0.6:.1f}"/>'
        for row, votes in enumerate(matrix.votes)
    )
    return f'<text class="tick" x="{left:.1f}" y="{_TOP - 5}">samples</text><g class="votes">{bars}</g>'


def draw_calibration(calibration: Calibration, style: str, number: int) -> Markup:
    """Share right against stated, a dot a bin with its number of candidates; on the diagonal what is stated is so."""
    size = _SQUARE + _EDGE
    parts = [_square(), f'<path class="zero" d="M{_EDGE} {_SQUARE}L{size} 0"/>']
    most = max((each.count for each in calibration.bins), default=1)
    placed = [(_EDGE + _SQUARE * each.stated, _SQUARE * (1 - each.right), each) for each in calibration.bins]
    parts.append(f'<g class="line {escape(style)}">')
    for x, y, each in placed:
        said = f"stated {100 * each.stated:.0f} %: {100 * each.right:.0f} % of {each.count} right, in {each.problems}"
        radius = 3 + 7 * (each.count / most) ** 0.5
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{said} problems</title></circle>')
        anchor = f'text-anchor="{"end" if each.stated > 0.9 else "start"}"'
        side = -radius - 3 if each.stated > 0.9 else radius + 3
        parts.append(f'<text class="count" x="{x + side:.1f}" y="{y - 4:.1f}" {anchor}>{each.count}</text>')
    parts.append("</g>")
    opening = (
        f'<svg class="square" viewBox="-4 -14 {size + 20} {size + 14}" role="img" aria-labelledby="stated-{number}">'
        f'<title id="stated-{number}">{escape(calibration.method)}, {escape(calibration.label)}</title>'
    )
    return Markup("".join((opening, *parts, "</svg>")))  # noqa: S704  numbers, and text escaped above


def _square() -> str:
    parts = []
    for tenth in range(0, 11, 2):
        x, y = _EDGE + _SQUARE * tenth / 10, _SQUARE * (1 - tenth / 10)
        parts.append(f'<path class="grid" d="M{_EDGE} {y:.1f}h{_SQUARE}M{x:.1f} 0v{_SQUARE}"/>')
        parts.append(f'<text class="tick" x="{_EDGE - 6}" y="{y + 4:.1f}" text-anchor="end">{10 * tenth}</text>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{_SQUARE + 18}" text-anchor="middle">{10 * tenth}</text>')
    middle = _EDGE + _SQUARE / 2
    parts.append(f'<text class="tick" x="{middle}" y="{_SQUARE + 38}" text-anchor="middle">stated, %</text>')
    turned = f'transform="rotate(-90 8 {_SQUARE / 2})"'
    parts.append(f'<text class="tick" x="8" y="{_SQUARE / 2}" text-anchor="middle" {turned}>right, %</text>')
    return "".join(parts)


def counts_of(matrix: Matrix) -> Mapping[str, int]:
    """Cells of each kind."""
    cells = [kind for block in matrix.blocks for row in block.rows for kind in row]
    return {kind: cells.count(kind) for kind in _KINDS}
