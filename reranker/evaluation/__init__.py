"""Measure a model and a way of choosing: suites of problems, and what came of answering them.

A second door of `reranker`, which does not import it (docs/decisions/0020). `evaluate` is the story; start there.
"""

from reranker.evaluation.beside import begun, check_same_run, whole_lines
from reranker.evaluation.compare import Comparison, Difference, compare
from reranker.evaluation.errors import (
    DifferentRun,
    EvaluationError,
    IncompleteSampling,
    InvalidProblem,
    InvalidSamples,
    InvalidSetting,
    NotComparable,
    ProblemFailed,
    ServerFailed,
    UnknownSuite,
    UnreadableFile,
    UnsupportedProblem,
)
from reranker.evaluation.files import Header, RunFile, check_writable, read_report, report_data, write_json
from reranker.evaluation.judging import check_supported, judge, task_of
from reranker.evaluation.measures import Estimate, best_of_k, difference, estimate, pass_at_k
from reranker.evaluation.page import fill, write_page
from reranker.evaluation.problem import Problem, StdioCase, Tag
from reranker.evaluation.record import GREEDY, ORACLE, RANDOM, Record
from reranker.evaluation.remote import ServerSource, open_server
from reranker.evaluation.report import ByTag, Counts, Host, Measure, Report, make_report, this_host
from reranker.evaluation.run import evaluate, info_of
from reranker.evaluation.settings import Settings, SourceInfo, SuiteInfo, default_ks
from reranker.evaluation.sources import EngineSource, GivenSource, Sampled, Source, canonical, read_samples
from reranker.evaluation.suite import ProblemSuite, load_suite, read_problems, write_problems

__all__ = [
    "GREEDY",
    "ORACLE",
    "RANDOM",
    "ByTag",
    "Comparison",
    "Counts",
    "Difference",
    "DifferentRun",
    "EngineSource",
    "Estimate",
    "EvaluationError",
    "GivenSource",
    "Header",
    "Host",
    "IncompleteSampling",
    "InvalidProblem",
    "InvalidSamples",
    "InvalidSetting",
    "Measure",
    "NotComparable",
    "Problem",
    "ProblemFailed",
    "ProblemSuite",
    "Record",
    "Report",
    "RunFile",
    "Sampled",
    "ServerFailed",
    "ServerSource",
    "Settings",
    "Source",
    "SourceInfo",
    "StdioCase",
    "SuiteInfo",
    "Tag",
    "UnknownSuite",
    "UnreadableFile",
    "UnsupportedProblem",
    "begun",
    "best_of_k",
    "canonical",
    "check_same_run",
    "check_supported",
    "check_writable",
    "compare",
    "default_ks",
    "difference",
    "estimate",
    "evaluate",
    "fill",
    "info_of",
    "judge",
    "load_suite",
    "make_report",
    "open_server",
    "pass_at_k",
    "read_problems",
    "read_report",
    "read_samples",
    "report_data",
    "task_of",
    "this_host",
    "whole_lines",
    "write_json",
    "write_page",
    "write_problems",
]
