"""Programs with equal ASTs are one program."""

from reranker.dedupe import program_key


def test_layout_comments_and_brackets_do_not_count() -> None:
    assert program_key("x = (1 + 2)  # three\n") == program_key("x=1+2")


def test_a_name_a_value_or_a_docstring_counts() -> None:
    keys = {program_key(s) for s in ("x = 1", "y = 1", "x = 2", "x = 1.0", "def f():\n  'a'", "def f():\n  'b'")}
    assert len(keys) == 6


def test_every_kind_of_value_and_every_nesting_counts() -> None:
    programs = (
        *("x = '1'", "x = b'1'", "x = True", "x = None", "x = 'None'", "x = 1j", "x = -0.0", "x = 0.0", "x = ...", "x"),
        *("[[a], b]", "[[a, b]]", "[a, [b]]", "f(a, b)", "f(a)(b)", "f(a, *b)", "global a, b", "global a\nglobal b"),
        *(
            "if a:\n  b\nc",
            "if a:\n  b\n  c",
            "if a:\n  b\nelse:\n  c",
            "import a.b",
            "from a import b",
            "from . import b",
        ),
        *("def f(a, b): pass", "def f(a, *, b): pass", "def f(a, /, b): pass", "f'{a}{b}'", "f'{a:{b}}'", "f'{a!r}'"),
    )
    assert len({program_key(program) for program in programs}) == len(programs)
    assert program_key("+" * 400 + "x") != program_key("+" * 401 + "x")


def test_what_does_not_parse_stands_for_itself() -> None:
    assert program_key("def (") == program_key("def (")
    assert program_key("def (") != program_key("def ((")
    assert program_key("\ud800") == program_key("\ud800")


def test_in_another_language_the_text_counts() -> None:
    assert program_key("x = 1", "js") == program_key("x = 1", "js")
    assert program_key("x = 1", "js") != program_key("x = 1 # 2", "js")
