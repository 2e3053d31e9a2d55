"""What is cut, what is kept, and what is tested."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Text
from reranker import Task, entry_point_of, extract
from reranker.extract import without_overlap
from reranker.types import Shape

HEADER = 'def add(a, b):\n    """Add.\n\n    >>> add(1, 2)\n    3\n    """\n'


def task(prefix: str, *, shape: Shape = "completion", entry_point: str | None = None, suffix: str = "") -> Task:
    return Task(id="t", prompt=Text(prefix), prefix=prefix, shape=shape, entry_point=entry_point, suffix=suffix)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("    return a + b\n", "    return a + b"),
        ("    return a + b\n\n\nprint(add(1, 2))\n", "    return a + b"),
        ("    return a + b\n\ndef sub(a, b):\n    return a - b\n", "    return a + b"),
        ("    return a + b\n\n# that was easy\nassert add(1, 1) == 2", "    return a + b"),
        ("    x = '''\nat the margin\n'''\n    return x\n", "    x = '''\nat the margin\n'''\n    return x"),
        ("    return (\n        a\n+ b\n)\nfoo(", "    return (\n        a\n+ b\n)"),
        ("    return a +\n", "    return a +\n"),
        # Helpers that the function reads belong to it, and theirs; others do not, nor names that it binds itself.
        (
            "    return sub(a, neg(b))\n\ndef sub(a, b):\n    return a + inv(b)\n\ndef neg(x):\n    return -x\n\n"
            "def inv(x):\n    return -x\n\ndef other():\n    pass\n",
            "    return sub(a, neg(b))\n\ndef sub(a, b):\n    return a + inv(b)\n\ndef neg(x):\n    return -x\n\n"
            "def inv(x):\n    return -x",
        ),
        (
            "    return P(a).x + b\nz = 1\nclass P(int):\n    x = 1\nz = 2\n",
            "    return P(a).x + b\nz = 1\nclass P(int):\n    x = 1",
        ),
        ("    return sub(a, b)\n\ndef sub(a, b):\n    return (a +\n", "    return sub(a, b)"),
        ("    sub = a + b\n    return sub\n\ndef sub(a, b):\n    return b\n", "    sub = a + b\n    return sub"),
        ("    return b + a\n\ndef a():\n    return 1\n", "    return b + a"),
        (
            "    return g(a)\n\ndef h(g):\n    return g\n\ndef g(x):\n    return x\n\ndef k():\n    g = 1\n",
            "    return g(a)\n\ndef h(g):\n    return g\n\ndef g(x):\n    return x",
        ),
    ],
)
def test_a_body_ends_where_its_function_ends(raw: str, text: str) -> None:
    assert extract(task(HEADER), raw).text == text


PIECES = [
    *(f"def {name}(x):\n    return {read}(x)\n" for name in "ghk" for read in "ghk"),
    *("def h(g):\n    return g\n", "g = h\n", "import k\n", "class k(g):\n    h = h\n", "\n", "for g in h: k\n"),
    *("x = '''\ndef g(): pass\n'''\n", "def k():\n    global h\n    h = g\n", "print((\n", "k = [h for h in g]\n"),
]


@settings(deadline=None, database=None)
@given(st.lists(st.sampled_from(PIECES), max_size=6), st.sampled_from("abghk"))
def test_cutting_twice_changes_nothing(pieces: list[str], read: str) -> None:
    once = extract(task(HEADER), f"    return {read}\n" + "".join(pieces)).text
    assert extract(task(HEADER), once).text == once


def test_the_program_holds_the_returned_text_unchanged() -> None:
    extracted = extract(task(HEADER), "    return a + b\n\n\nprint('more')\n")
    assert extracted.program.completion == extracted.text
    assert extracted.program.source == HEADER + extracted.text
    assert extracted.program.entry_point == "add"


def test_a_whole_function_is_kept_with_its_helpers_before_it() -> None:
    raw = "def helper(x):\n    return x\n\ndef add(a, b):\n    return helper(a) + b\n\nprint(add(1, 2))\n"
    extracted = extract(task("# Write add.\n", entry_point="add"), raw)
    assert extracted.text == "def helper(x):\n    return x\n\ndef add(a, b):\n    return helper(a) + b"


def test_a_chat_reply_is_taken_out_of_the_fence_that_defines_the_function() -> None:
    raw = "First:\n```python\nimport math\n```\nThen:\n```python\ndef add(a, b):\n    return a + b\n```\nDone."
    extracted = extract(task("Write add(a, b).", shape="chat", entry_point="add"), raw)
    assert extracted.text == "def add(a, b):\n    return a + b"
    assert extracted.program.prompt == ""


def test_an_unclosed_fence_still_opens() -> None:
    raw = "```python\ndef add(a, b):\n    return a + b\n"
    assert extract(task("add please", shape="chat", entry_point="add"), raw).text == "def add(a, b):\n    return a + b"


def test_a_chat_reply_may_continue_the_function_header_of_the_message() -> None:
    extracted = extract(task(HEADER, shape="chat"), "    return a + b\n")
    assert extracted.program.source == HEADER + "    return a + b"


def test_a_fill_in_stands_between_its_prefix_and_suffix_uncut() -> None:
    extracted = extract(task("def f(x):\n    y = ", shape="fim", suffix="\n    return y\n"), "x + 1\nz")
    assert extracted.text == "x + 1\nz"
    assert extracted.program.source == "def f(x):\n    y = x + 1\nz\n    return y\n"


def test_the_last_function_of_the_prompt_is_the_entry_point() -> None:
    assert entry_point_of("def poly(x):\n    return x\n\n\nasync def solve(x):\n    '''Solve.'''\n") == "solve"
    assert entry_point_of("class A:\n    def method(self): ...\n") is None


def test_in_words_alone_the_function_that_the_examples_call_is_the_entry_point() -> None:
    asked = "Add up the even numbers.\n>>> total([1, 2, 4])\n6"
    answer = "def total(numbers):\n    return sum(n for n in numbers if n % 2 == 0)\n\n\nprint(total([2]))\n"
    extracted = extract(Task(id="t", prompt=Text(asked), shape="chat", prefix=asked), answer)
    assert extracted.program.entry_point == "total"
    assert extracted.text == answer.partition("\n\n\n")[0]


PROGRAM = "n = int(input())\nprint(n)\n"


@pytest.mark.parametrize(
    ("shape", "raw", "prompt", "text"),
    [
        ("completion", PROGRAM, HEADER, PROGRAM),
        ("completion", f"```python\n{PROGRAM}```\n", HEADER, PROGRAM),
        ("chat", PROGRAM, "", PROGRAM),
        ("chat", f"Like so:\n\n~~~\nx\n~~~\n\n```\n{PROGRAM}```\nThat is it.\n", "", PROGRAM),
        ("fim", f"```\n{PROGRAM}```", HEADER, f"```\n{PROGRAM}```"),
    ],
)
@pytest.mark.parametrize("language", ["python", "java"])
def test_a_program_that_runs_as_a_whole_is_not_cut(
    shape: Shape, raw: str, prompt: str, text: str, language: str
) -> None:
    whole = replace(
        task(HEADER, shape=shape, entry_point="main.py", suffix="\n" if shape == "fim" else ""),
        whole=language == "python",  # programs in other languages always are
        language=language,
        files=(("a.txt", "a"),),
    )
    found = extract(whole, raw)
    program = found.program
    assert (found.text, program.completion, program.prompt) == (text, text, prompt)
    assert (program.language, program.files, program.entry_point) == (language, (("a.txt", "a"),), "main.py")
    assert extract(whole, found.text) == found


@pytest.mark.parametrize(
    ("text", "suffix", "kept"),
    [
        ("1 + 1\nprint(x)", "\nprint(x)\n", "1 + 1"),
        ("1 + 1\nprint(x)\n", "\nprint(x)\n", "1 + 1"),
        ("a\nb1 = 1\nc = 2", "\nb1 = 1\nc = 2\nd = 3\n", "a"),
        ("g()", ")\n", "g()"),
        ("a\n}\n", "\n}\n", "a\n}\n"),
        ("abc", "", "abc"),
        ("", "abc\n", ""),
        ("return y", "return y", ""),
        ("x = ret", "return y\n", "x = ret"),
    ],
)
def test_a_fill_in_loses_what_it_repeats_of_the_suffix(text: str, suffix: str, kept: str) -> None:
    assert without_overlap(text, suffix) == kept
    assert extract(task("x = ", shape="fim", suffix=suffix), text).text == kept
