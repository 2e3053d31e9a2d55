"""`touchstone eval` on suites of whole programs: stdio cases, several files, other languages than Python."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine import Scripted, ScriptedEngine
from reranker.evaluation import (
    EngineSource,
    Problem,
    ProblemSuite,
    Settings,
    StdioCase,
    evaluate,
    load_suite,
    read_problems,
    task_of,
    write_problems,
)
from reranker.evaluation.cli import app
from sandbox import StdioCase as Case
from sandbox import StdioSuite, UnsupportedLanguage, check_language

from .evaluations import confined

CASES = (
    StdioCase(input="3\n1 2 3\n", output="6\n", visible=True),
    StdioCase(input="1\n-5\n", output="-5\n"),
    StdioCase(input="0\n\n", output="0\n"),
)
WORDS = "Read n and then n numbers. Print their sum.\n"

PYTHON_WORDS = Problem(
    task_id="python/words",
    prompt=WORDS,
    answer="program",
    stdio=CASES,
    canonical_solution="Like so:\n\n```python\nn = int(input())\nprint(sum(map(int, input().split())))\n```\n",
)
PYTHON_REST = Problem(
    task_id="python/rest",
    prompt=f'"""{WORDS}"""\nn = int(input())\n',
    stdio=CASES,
    canonical_solution="numbers = map(int, input().split())\n\nprint(sum(numbers))\n",
)
PYTHON_FILES = Problem(
    task_id="python/files",
    prompt="Write `Stack` with push, pop and len for run.py to import from solution.\n",
    answer="program",
    entry_point="run.py",
    files={
        "run.py": "from solution import Stack\n\nstack = Stack()\nfor word in input().split():\n    stack.push(word)\n"
        "print(stack.pop(), len(stack))\n"
    },
    stdio=(StdioCase(input="a b c", output="c 2"),),
    canonical_solution="class Stack(list):\n    push = list.append\n",
)
JAVASCRIPT = Problem(
    task_id="javascript/stdio",
    language="javascript",
    prompt="// Read n and then n numbers; print their sum.\n",
    stdio=CASES,
    canonical_solution='const [, ...a] = require("fs").readFileSync(0, "utf8").split(/\\s+/).map(Number);\n'
    "console.log(a.reduce((x, y) => x + y, 0));\n",
)
JAVASCRIPT_CALLS = Problem(
    task_id="javascript/calls",
    language="js",
    prompt="// add(1, 2) == 3\nfunction add(a, b) {\n",
    entry_point="add",
    test="assert add(1, 2) == 3\nassert add('a', 'b') == 'ab'\n",
    canonical_solution="    return a + b;\n}\n",
)
JAVA_CALLS = Problem(
    task_id="java/calls",
    language="java",
    prompt="class Solution {\n    // twice([1, 2]) == [2, 4]\n    static int[] twice(int[] a) {\n",
    entry_point="twice",
    test="assert twice([1, 2]) == [2, 4]\nassert twice([]) == []\n",
    canonical_solution="        return java.util.Arrays.stream(a).map(x -> 2 * x).toArray();\n    }\n}\n",
)
# JavaBench's way: interfaces and classes that are there, a class to write, a test class whose trace is compared.
JAVA_CLASSES = Problem(
    task_id="java/classes",
    language="java",
    prompt="Write the class `Square implements Shape`, with a constructor from its side.\n",
    answer="program",
    files={
        "shapes/Shape.java": "package shapes;\n\npublic interface Shape {\n    double area();\n    String name();\n}\n",
        "shapes/ShapeTest.java": "package shapes;\n\npublic class ShapeTest {\n"
        "    public static void main(String[] words) {\n"
        "        for (int side = 0; side < 3; side++) {\n            Shape shape = new Square(side);\n"
        '            System.out.println(shape.name() + " " + shape.area());\n        }\n    }\n}\n',
    },
    stdio=(StdioCase(input="", output="square 0.0\nsquare 1.0\nsquare 4.0\n"),),
    canonical_solution="```java\npackage shapes;\n\npublic class Square implements Shape {\n"
    "    private final double side;\n    public Square(double side) { this.side = side; }\n"
    '    public double area() { return side * side; }\n    public String name() { return "square"; }\n}\n```\n',
)
CPP = Problem(
    task_id="cpp/stdio",
    language="c++",
    prompt=f"// {WORDS}#include <iostream>\n\nint main() {{\n",
    stdio=CASES,
    canonical_solution="    long n, x, sum = 0;\n    std::cin >> n;\n    while (std::cin >> x) sum += x;\n"
    "    std::cout << sum << std::endl;\n}\n",
)
# VerilogEval's way: a bench drives the module and prints what it does; the trace of the right one is compared.
VERILOG = Problem(
    task_id="verilog/bench",
    language="verilog",
    prompt="// A counter of four bits with a synchronous reset.\n"
    "module TopModule(input clk, input reset, output reg [3:0] q);\n",
    entry_point="bench",
    files={
        "bench.sv": "module bench;\n    reg clk = 0, reset = 1;\n    wire [3:0] q;\n"
        "    TopModule top(.clk(clk), .reset(reset), .q(q));\n    always #1 clk = ~clk;\n    initial begin\n"
        '        @(negedge clk) reset = 0;\n        repeat (18) @(negedge clk) $write("%0d ", q);\n'
        '        reset = 1; @(negedge clk) $display("%0d", q);\n        $finish;\n    end\nendmodule\n'
    },
    stdio=(StdioCase(input="", output="1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 0 1 2 0\n"),),
    canonical_solution="    always @(posedge clk) q <= reset ? 0 : q + 1;\nendmodule\n",
)
PROBLEMS = (
    PYTHON_WORDS,
    PYTHON_REST,
    PYTHON_FILES,
    JAVASCRIPT,
    JAVASCRIPT_CALLS,
    JAVA_CALLS,
    JAVA_CLASSES,
    CPP,
    VERILOG,
)
WRONG = {
    "python/words": "print(6)\n",
    "python/rest": "print(n)\n",
    "python/files": "class Stack(list):\n    push = list.append\n    __len__ = lambda self: 3\n",
    "javascript/stdio": "console.log(6);\n",
    "javascript/calls": "    return 3;\n}\n",
    "java/calls": "        return new int[] {2, 4};\n    }\n}\n",
    "java/classes": "package shapes;\npublic class Square implements Shape {\n    public Square(double side) { }\n"
    '    public double area() { return 0; }\n    public String name() { return "square"; }\n}\n',
    "cpp/stdio": "    std::cout << 6 << std::endl;\n}\n",
    "verilog/bench": "    always @(posedge clk) q <= q + 1;\nendmodule\n",
}
"""Answers that are right somewhere, and not everywhere."""


def runnable() -> tuple[Problem, ...]:
    """The problems whose tools this host has."""
    found = []
    for problem in PROBLEMS:
        try:
            check_language(problem.language)
        except UnsupportedLanguage:
            continue
        found.append(problem)
    return tuple(found)


@pytest.fixture
async def isolated() -> None:
    async with confined() as sandbox:
        if (await sandbox.probe()).name != "A":
            pytest.skip("programs in other languages need tier A")


def eval_on(folder: Path, problems: tuple[Problem, ...], samples: str) -> dict[str, bool | None]:
    """Whether each problem was solved, by the command; None: not judged."""
    write_problems(folder / "suite.jsonl", problems)
    words = ["--suite", str(folder / "suite.jsonl"), "--samples", samples, "--json", str(folder / "report.json")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    records = json.loads((folder / "report.json").read_text())["records"]
    return {record["task_id"]: None if record.get("unjudged") else "pass" in record["classes"] for record in records}


@pytest.mark.isolation
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.task_id)
def test_the_reference_solution_passes_and_another_does_not(problem: Problem, tmp_path: Path, isolated: None) -> None:
    if problem not in runnable():
        pytest.skip(f"no tools for {problem.language} here")
    assert eval_on(tmp_path, (problem,), "canonical") == {problem.task_id: True}
    samples = {"task_id": problem.task_id, "completion": WRONG[problem.task_id]}
    (tmp_path / "samples.jsonl").write_text(json.dumps(samples) + "\n")
    assert eval_on(tmp_path, (problem,), str(tmp_path / "samples.jsonl")) == {problem.task_id: False}


@pytest.mark.isolation
def test_a_problem_whose_tools_are_missing_is_named_and_not_failed(
    tmp_path: Path, isolated: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert eval_on(tmp_path, (CPP, PYTHON_REST), "canonical") == {"cpp/stdio": None, "python/rest": True}
    report = json.loads((tmp_path / "report.json").read_text())
    assert "C++ needs g++, which is not installed: apt-get install g++" in report["records"][0]["unjudged"]


@pytest.mark.isolation
async def test_visible_cases_choose_among_samples() -> None:
    problem = PYTHON_WORDS
    right = problem.canonical_solution or ""
    script = {problem.prompt: [Scripted("print(0)\n", -0.1), Scripted(right, -0.5), Scripted("print(6)\n", -0.2)]}
    suite = ProblemSuite(name="one", problems=(problem,), source="memory")
    async with confined() as sandbox:
        source = EngineSource(ScriptedEngine(script), sandbox)
        settings = Settings(n=3, ks=(1, 3), greedy=False)
        report = await evaluate(suite, source, settings, sandbox=sandbox)
    (record,) = report.records
    assert record.passes == (False, True, False)
    # The visible case lets `print(6)` through as well; the more likely of the two comes first.
    assert record.orders["tests"] == (2, 1, 0)


def test_visible_cases_are_the_tasks_suite_and_the_answer_says_what_is_cut() -> None:
    task = task_of(PYTHON_WORDS)
    assert task.suite == StdioSuite((Case("3\n1 2 3\n", "6\n"),), visible=True)
    assert (task.shape, task.whole, task.language, task.files) == ("chat", True, "python", ())
    rest = task_of(JAVASCRIPT_CALLS)
    assert (rest.shape, rest.whole, rest.suite) == ("completion", False, None)
    assert task_of(PYTHON_FILES).files == tuple(PYTHON_FILES.files.items())
    assert task_of(replace(PYTHON_WORDS, stdio=CASES[1:])).suite is None


def test_the_problems_are_written_and_read(tmp_path: Path) -> None:
    write_problems(tmp_path / "suite.jsonl", PROBLEMS)
    assert read_problems(tmp_path / "suite.jsonl") == PROBLEMS
    assert load_suite(str(tmp_path / "suite.jsonl")).problems == PROBLEMS
