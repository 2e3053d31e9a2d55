"""Programs in the languages that are executed, each with the verdict that is expected of it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pytest

from sandbox import Call, CallSuite, Status, StdioCase, StdioSuite, UnsupportedLanguage, check_language

ADD = StdioSuite((StdioCase("1 2\n", "3\n"), StdioCase("40 2\n", "42\n")))
"""Two numbers in, their sum out."""


@dataclass(frozen=True)
class Given:
    """A program that reads two numbers, and what running it comes to."""

    name: str
    language: str
    source: str
    status: Status
    says: str = ""
    """What stands in the outcome's message."""
    files: tuple[tuple[str, str], ...] = ()
    suite: StdioSuite = ADD


@functools.cache
def missing(language: str) -> str | None:
    """Why programs of a language cannot be run on this host; None where they can."""
    try:
        check_language(language)
    except UnsupportedLanguage as error:
        return str(error)
    return None


def need(language: str) -> None:
    """Skip the test, with the reason, where the language's tools are not there."""
    if reason := missing(language):
        pytest.skip(reason)


CPP_ADD = (
    '#include <iostream>\nint main() {\n    long a, b;\n    std::cin >> a >> b;\n    std::cout << a + b << "\\n";\n}\n'
)
JS_ADD = 'const [a, b] = require("fs").readFileSync(0, "utf8").split(" ").map(Number);\nconsole.log(a + b);\n'
JAVA_ADD = """import java.util.Scanner;

public class Main {
    public static void main(String[] words) {
        Scanner input = new Scanner(System.in);
        System.out.println(input.nextInt() + input.nextInt());
    }
}
"""
TRACE = """module bench;
    reg [3:0] a, b;
    wire [4:0] sum;
    integer at;
    adder unit(.a(a), .b(b), .sum(sum));
    initial begin
        for (at = 0; at < 4; at = at + 1) begin
            a = at * 3; b = at + 9;
            #1 $display("%0d + %0d = %0d", a, b, sum);
        end
        $finish;
    end
endmodule
"""
VERILOG_TRACE = StdioSuite((StdioCase("", "0 + 9 = 9\n3 + 10 = 13\n6 + 11 = 17\n9 + 12 = 21\n"),))
BENCH = (("bench.sv", TRACE),)
ADDER = "module adder(input [3:0] a, b, output [4:0] sum);\n    assign sum = a + b;\nendmodule\n"

STACK_TEST = """import java.util.List;

public class StackTest {
    public static void main(String[] words) {
        Stack<Integer> stack = new LinkedStack<>();
        for (int value : List.of(1, 2, 3)) stack.push(value);
        System.out.println("pop " + stack.pop() + " " + stack.pop() + " size " + stack.size());
        try {
            stack.pop();
            stack.pop();
            System.out.println("no exception");
        } catch (IllegalStateException error) {
            System.out.println("empty: " + error.getMessage());
        }
    }
}
"""
STACK = "public interface Stack<T> {\n    void push(T value);\n    T pop();\n    int size();\n}\n"
STACK_FILES = (("Stack.java", STACK), ("StackTest.java", STACK_TEST))
STACK_TRACE = StdioSuite((StdioCase("", "pop 3 2 size 1\nempty: nothing here\n"),))
LINKED_STACK = """import java.util.ArrayDeque;

public class LinkedStack<T> implements Stack<T> {
    private final ArrayDeque<T> items = new ArrayDeque<>();
    public void push(T value) { items.push(value); }
    public T pop() {
        if (items.isEmpty()) throw new IllegalStateException("nothing here");
        return items.pop();
    }
    public int size() { return items.size(); }
    public static void main(String[] words) { System.out.println("a main of its own is not run"); }
}
"""
SHAPES_TEST = '#include "shapes.h"\n#include <cstdio>\nint main() { std::printf("%d\\n", area(3, 4)); }\n'

PROGRAMS = (
    Given("adds", "cpp", CPP_ADD, Status.PASSED),
    Given("subtracts", "cpp", CPP_ADD.replace("a + b", "a - b"), Status.WRONG_ANSWER, "got '-1', expected '3'"),
    Given("does not compile", "cpp", CPP_ADD.replace(";", ""), Status.COMPILE_ERROR, "expected"),
    Given("has no main", "cpp", "int f() { return 1; }\n", Status.COMPILE_ERROR, "main"),
    Given("exits with 3", "cpp", CPP_ADD.replace("}\n", "    return 3;\n}\n"), Status.RUNTIME_ERROR, "code 3"),
    Given(
        "throws",
        "cpp",
        "#include <vector>\nint main() { std::vector<int> v; return v.at(3); }\n",
        Status.RUNTIME_ERROR,
        "out_of_range",
    ),
    Given(
        "several files",
        "cpp",
        '#include "shapes.h"\nint area(int a, int b) { return a * b; }\n',
        Status.PASSED,
        files=(("shapes.h", "int area(int a, int b);\n"), ("test/main.cpp", SHAPES_TEST)),
        suite=StdioSuite((StdioCase("", "12"),)),
    ),
    Given(
        "a test that includes it",
        "cpp",
        "int area(int a, int b) { return a * b; }\n",
        Status.PASSED,
        files=(
            ("test.cpp", '#include "solution.cpp"\n#include <cstdio>\nint main() { std::printf("%d", area(1, 2)); }\n'),
        ),
        suite=StdioSuite((StdioCase("", "2"),)),
    ),
    Given("adds", "javascript", JS_ADD, Status.PASSED),
    Given("prints the first only", "javascript", "console.log(3);\n", Status.WRONG_ANSWER, "expected '42'"),
    Given("does not compile", "javascript", "const x = (;\n", Status.COMPILE_ERROR, "SyntaxError"),
    Given("throws", "javascript", 'throw new TypeError("so it is");\n', Status.RUNTIME_ERROR, "TypeError: so it is"),
    Given("a module", "javascript", f'import fs from "fs";\nconst require = () => fs;\n{JS_ADD}', Status.PASSED),
    Given(
        "reads its files",
        "javascript",
        'console.log(require("./lib/words.js").join(" "), require("fs").readFileSync("data.txt", "utf8"));\n',
        Status.PASSED,
        files=(("lib/words.js", 'module.exports = ["a", "b"];\n'), ("data.txt", "é")),
        suite=StdioSuite((StdioCase("", "a b é"),)),
    ),
    Given("adds", "java", JAVA_ADD, Status.PASSED),
    Given("in a package", "java", f"package one.two;\n{JAVA_ADD}", Status.PASSED),
    Given(
        "does not compile", "java", JAVA_ADD.replace("Scanner input", "Scaner input"), Status.COMPILE_ERROR, "Scaner"
    ),
    Given("has no main", "java", "class A { }\n", Status.COMPILE_ERROR, "main"),
    Given(
        "throws",
        "java",
        JAVA_ADD.replace("input.nextInt() +", "new int[1][1] +"),
        Status.COMPILE_ERROR,
        "incompatible|bad operand",
    ),
    Given(
        "raises", "java", JAVA_ADD.replace("input.nextInt() +", "1 / 0 +"), Status.RUNTIME_ERROR, "ArithmeticException"
    ),
    Given("a test class", "java", LINKED_STACK, Status.PASSED, files=STACK_FILES, suite=STACK_TRACE),
    Given(
        "a test class sees a fault",
        "java",
        LINKED_STACK.replace("nothing here", "nothing"),
        Status.WRONG_ANSWER,
        "line 2",
        files=STACK_FILES,
        suite=STACK_TRACE,
    ),
    Given(
        "takes the test class's place",
        "java",
        STACK_TEST,
        Status.COMPILE_ERROR,
        "StackTest.java",
        files=STACK_FILES,
        suite=STACK_TRACE,
    ),
    Given("a bench", "verilog", ADDER, Status.PASSED, files=BENCH, suite=VERILOG_TRACE),
    Given(
        "a bench sees a fault",
        "verilog",
        ADDER.replace("a + b", "a | b"),
        Status.WRONG_ANSWER,
        "line 2",
        files=BENCH,
        suite=VERILOG_TRACE,
    ),
    Given("does not compile", "verilog", "module adder(;\n", Status.COMPILE_ERROR, "syntax error", files=BENCH),
    Given("lacks the module", "verilog", "module other; endmodule\n", Status.COMPILE_ERROR, "adder", files=BENCH),
)

JS_CALLED = """const add = (a, b) => a + b;
function same(x) { return x; }
function big(x) { return x * 2n; }
async function later() { return [1, null, undefined]; }
var fail = () => { throw new TypeError("no good"); };
class Solution { method(a) { return a.length; } }
let strange = () => same, made = () => new Set([1, [2, 3]]), keyed = () => new Map([[1, "one"]]);
function deep(n) { return deep(n + 1); }
"""
JAVA_CALLED = """import java.math.BigInteger;
import java.util.*;

class Solution {
    static double add(double a, double b) { return a + b; }
    public Object same(Object x) { return x; }
    BigInteger big(BigInteger x) { return x.shiftLeft(1); }
    List<Integer> later() { return Arrays.asList(1, null, null); }
    int fail() { throw new IllegalStateException("no good"); }
    static int method(String a) { return a.length(); }
    static int[] sorted(int[] a) { Arrays.sort(a); return a; }
    static List<List<Long>> rows(List<List<Long>> rows) { return rows; }
    static char letter(char c) { return ++c; }
    Runnable strange() { return () -> { }; }
    Set<Object> made() { return new LinkedHashSet<>(List.of(1, List.of(2, 3))); }
    Map<Integer, String> keyed() { return Map.of(1, "one"); }
    static int deep(int n) { return deep(n + 1); }
}
"""


def calls(*pairs: tuple[str, tuple[object, ...], object]) -> CallSuite:
    """A suite from triples of function, arguments and expected value."""
    return CallSuite(tuple(Call(function=name, args=args, expected=expected) for name, args, expected in pairs))


PLAIN = (
    None,
    True,
    0,
    -7,
    2**53 - 1,
    2**53 + 1,
    -(2**63),
    2**70,
    0.5,
    -1e300,
    5e-324,
    float("inf"),
    "",
    'é \u2028 \U0001f600 \ud800 "quoted" \\ \n',
    [1, [2.5, [None]]],
    {"a": 1, "b": [{"c": None}]},
    {1: 2, 3: 4},
    {1, 2, 3},
)
"""Values that come back as they went."""

BOTH = (
    ("add", (1, 2), 3, Status.PASSED),
    ("add", (0.1, 0.2), 0.3, Status.WRONG_ANSWER),
    ("big", (2**80,), 2**81, Status.PASSED),
    ("later", (), [1, None, None], Status.PASSED),
    ("fail", (), None, Status.RUNTIME_ERROR),
    ("method", ("four",), 4, Status.PASSED),
    ("strange", (), None, Status.UNSUPPORTED_VALUE),
    ("made", (), {1, (2, 3)}, Status.PASSED),
    ("keyed", (), {1: "one"}, Status.PASSED),
    ("deep", (0,), 0, Status.RUNTIME_ERROR),
    ("absent", (), 0, Status.RUNTIME_ERROR),
    ("same", ((1, 2),), [1, 2], Status.PASSED),
    *(("same", (value,), value, Status.PASSED) for value in PLAIN),
)
"""Calls that node and Java answer alike: function, arguments, expected value, verdict."""

CALLED = {"javascript": JS_CALLED, "java": JAVA_CALLED}
