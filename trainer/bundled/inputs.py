"""Random inputs of each kind: short, varied, with duplicates, signs, cases and digits where they matter."""

from random import Random
from typing import Any

from trainer.bundled.step import Kind

WORDS = (  # noqa: SIM905  (a list of a hundred would fill the page)
    "apple banana cat dog egg fig grape hat ice jam kite lemon map nut owl pear queen rose sun tree up van water box "
    "yes zoo level noon radar civic anna bob code test data list word python stone river hello world abc aab xyz a b "
    "at to be it red blue green one two three four five six seven ten moon star light open area idea under east Anna "
    "Bob Hello World Apple Paris Rome Dog Cat OK"
).split()
RANGES = ((0, 9), (-9, 9), (1, 9), (-5, 5), (0, 20), (1, 50), (-20, 20), (10, 99))
NUMBER_RANGES = ((0, 9), (1, 12), (1, 30), (-20, 20), (10, 99), (100, 999))


def _word(random: Random) -> str:
    word = random.choice(WORDS)
    draw = random.random()
    if draw < 0.06:
        return word.upper()
    if draw < 0.12:
        return word.capitalize()
    return word


def _ints(random: Random) -> list[int]:
    low, high = random.choice(RANGES)
    values = [random.randint(low, high) for _ in range(random.choice((3, 4, 4, 5, 5, 5, 6, 7)))]
    if random.random() < 0.45:
        values[random.randrange(len(values))] = random.choice(values)
    return values


def _words(random: Random) -> list[str]:
    words = [_word(random) for _ in range(random.choice((2, 3, 3, 4, 4, 5)))]
    if random.random() < 0.4:
        words.append(random.choice(words))
    return words


def _text(random: Random) -> str:
    draw = random.random()
    if draw < 0.3:
        return _word(random)
    text = " ".join(_word(random) for _ in range(random.choice((2, 2, 3, 3, 4))))
    if random.random() < 0.3:
        place = random.randrange(len(text) + 1)
        text = text[:place] + str(random.randint(0, 99)) + text[place:]
    if random.random() < 0.2:
        text += random.choice("!?.,")
    if random.random() < 0.06:
        text = f" {text} "
    return text.replace(" ", random.choice((",", ", ", "-", "  "))) if random.random() < 0.1 else text


def _counts(random: Random) -> dict[str, int]:
    keys = random.sample(WORDS, random.choice((2, 3, 3, 4)))
    low, high = random.choice(((0, 9), (1, 6), (-5, 9), (1, 20)))
    return {key: random.randint(low, high) for key in keys}


def draw_input(kind: Kind, random: Random) -> Any:
    """Draw a value of a kind that a function can take.

    Raises:
        ValueError: the kind is never an input (bool, float).
    """
    if kind == "ints":
        return _ints(random)
    if kind == "words":
        return _words(random)
    if kind == "text":
        return _text(random)
    if kind == "counts":
        return _counts(random)
    if kind == "int":
        return random.randint(*random.choice(NUMBER_RANGES))
    raise ValueError(kind)


def edge_inputs(kind: Kind) -> list[Any]:
    """Inputs at the edge of a kind, for hidden tests; a reference may be undefined on some."""
    edges: dict[Kind, list[Any]] = {
        "ints": [[], [0], [7], [-3, -3]],
        "words": [[], ["a"], ["Noon", "noon"]],
        "text": ["", "a", "Ab 12"],
        "counts": [{}, {"a": 0}],
        "int": [0, 1, 2],
    }
    return edges[kind]
