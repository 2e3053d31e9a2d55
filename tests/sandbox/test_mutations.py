from __future__ import annotations

from tests.sandbox.mutations import mutations

PROMPT = 'def f(x):\n    """Say é."""\n'


def changed(completion: str) -> set[tuple[str, str]]:
    return {(each.kind, each.completion.strip()) for each in mutations(PROMPT, completion)}


def test_each_kind_of_fault() -> None:
    assert changed("    return x + 1\n") == {
        ("operator", "return (x - 1)"),
        ("constant", "return x + (2)"),
        ("constant", "return x + (0)"),
        ("return None", "return"),
        ("dropped", "pass"),
    }
    assert ("comparison", "return (x <= 'é')") in changed("    return x < 'é'\n")
    assert ("comparison", "return (x > 'é')") in changed("    return x < 'é'\n")
    assert ("constant", "return x < ('')") in changed("    return x < 'é'\n")
    assert ("and or", "return (x or 1)") in changed("    return x and 1\n")
    assert ("sign", "return (x)") in changed("    return not x\n")
    assert ("range", "return (range(1, x + 1))") in changed("    return range(1, x)\n")
    assert ("range", "return (range(x - 1))") in changed("    return range(x)\n")
    assert ("condition", "return (1 if not x else 2)") in changed("    return 1 if x else 2\n")
    assert ("condition", "if not x:\n        return 1\n    return 2") in changed(
        "    if x:\n        return 1\n    return 2\n"
    )
    assert ("dropped", "y = 1\n    pass\n    return y") in changed("    y = 1\n    y += x\n    return y\n")


def test_prompts_docstrings_and_parts_of_texts_stay() -> None:
    assert changed("    'doc'\n    return f'{x + 1} é'\n") == {
        ("return None", "'doc'\n    return"),
        ("dropped", "'doc'\n    pass"),
    }
    assert all(each.line > 2 for each in mutations(PROMPT, "    return x\n"))


def test_what_does_not_compile_is_left_out() -> None:
    assert {each.kind for each in mutations("", "for x in []:\n    break\n")} == {"dropped"}
