"""Measure a model and a way of choosing: suites of problems, and what came of answering them.

A second door of `reranker`, which does not import it (docs/decisions/0020).
"""

from reranker.evaluation.errors import EvaluationError, InvalidProblem, UnknownSuite, UnsupportedProblem
from reranker.evaluation.judging import check_supported, judge, task_of
from reranker.evaluation.problem import Problem, StdioCase, Tag
from reranker.evaluation.suite import ProblemSuite, load_suite, read_problems, write_problems

__all__ = [
    "EvaluationError",
    "InvalidProblem",
    "Problem",
    "ProblemSuite",
    "StdioCase",
    "Tag",
    "UnknownSuite",
    "UnsupportedProblem",
    "check_supported",
    "judge",
    "load_suite",
    "read_problems",
    "task_of",
    "write_problems",
]
