"""The table of steps, read from `steps/*.toml`.

An entry has `key`, `takes` and `gives` (kinds; `gives = "same"` repeats `takes`), the phrases `says`,
`nouns` and `vague`, the range `k` of its constant, and what it is defined on: `within` (an integer's bounds) or
`non_empty`. Its implementations are `codes`, then those of a form (`keep`, `each`, `tally`, `some`,
`keep_letters`: one condition or expression; `every`: a condition and its negation), then `more`. Entries that
take two kinds are read once for each, `{item}` and `{items}` becoming "number(s)" or "word(s)".
"""

import tomllib
from importlib import resources
from typing import Any

from trainer.bundled.forms import FORMS, every
from trainer.bundled.step import Kind, Step

FILES = ("ints", "ints_out", "words", "lists", "text", "counts", "number")
"""In this order, which is part of the corpus: with a seed it determines each problem."""

ITEMS: dict[Kind, str] = {"ints": "number", "words": "word"}
INPUT_KINDS: tuple[Kind, ...] = ("ints", "words", "text", "counts", "int")
FIELDS = {
    "key",
    "takes",
    "gives",
    "says",
    "nouns",
    "vague",
    "k",
    "within",
    "non_empty",
    "codes",
    "every",
    "more",
    *FORMS,
}


def _implementations(entry: dict[str, Any]) -> tuple[str, ...]:
    codes: list[str] = list(entry.get("codes", []))
    for name, expand in FORMS.items():
        if name in entry:
            codes += expand(entry[name])
    if "every" in entry:
        codes += every(*entry["every"])
    return tuple(codes + entry.get("more", []))


def _read_step(entry: dict[str, Any], kind: Kind, shared: bool) -> Step:
    """Build the step of an entry for one of the kinds it takes.

    Raises:
        ValueError: the entry has an unknown field.
    """
    if unknown := set(entry) - FIELDS:
        raise ValueError(f"step {entry.get('key')}: unknown {sorted(unknown)}")

    def phrases(name: str) -> tuple[str, ...]:
        item = ITEMS.get(kind, "")
        return tuple(text.replace("{items}", f"{item}s").replace("{item}", item) for text in entry.get(name, []))

    return Step(
        key=entry["key"] + ("_words" if shared and kind == "words" else ""),
        takes=kind,
        gives=kind if entry["gives"] == "same" else entry["gives"],
        says=phrases("says"),
        nouns=phrases("nouns"),
        vague=phrases("vague"),
        codes=_implementations(entry),
        k=tuple(entry["k"]) if "k" in entry else None,
        within=tuple(entry["within"]) if "within" in entry else None,
        non_empty=entry.get("non_empty", False),
    )


def _read_file(name: str) -> list[Step]:
    text = resources.files("trainer.bundled").joinpath("steps", f"{name}.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(text)["step"]
    if all(isinstance(entry["takes"], list) for entry in entries):
        return [_read_step(entry, kind, shared=True) for kind in entries[0]["takes"] for entry in entries]
    return [_read_step(entry, entry["takes"], shared=False) for entry in entries]


ALL: tuple[Step, ...] = tuple(step for name in FILES for step in _read_file(name))
BY_KIND: dict[Kind, tuple[Step, ...]] = {
    kind: tuple(step for step in ALL if step.takes == kind) for kind in INPUT_KINDS
}
