"""Programs with equal ASTs are one program."""

from reranker.dedupe import program_key


def test_layout_comments_and_brackets_do_not_count() -> None:
    assert program_key("x = (1 + 2)  # three\n") == program_key("x=1+2")


def test_a_name_a_value_or_a_docstring_counts() -> None:
    keys = {program_key(s) for s in ("x = 1", "y = 1", "x = 2", "x = 1.0", "def f():\n  'a'", "def f():\n  'b'")}
    assert len(keys) == 6


def test_what_does_not_parse_stands_for_itself() -> None:
    assert program_key("def (") == program_key("def (")
    assert program_key("def (") != program_key("def ((")
    assert program_key("\ud800") == program_key("\ud800")


def test_in_another_language_the_text_counts() -> None:
    assert program_key("x = 1", "js") == program_key("x = 1", "js")
    assert program_key("x = 1", "js") != program_key("x = 1 # 2", "js")
