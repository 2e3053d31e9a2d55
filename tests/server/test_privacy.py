"""What is kept of a request, by its key and by the server's setting: the database's own bytes are searched."""

from pathlib import Path
from typing import Any

import pytest

from engine import ScriptedEngine
from feedback import FeedbackLog, RedactingStore, SqlStore
from sandbox import ScriptedSandbox
from server.build import opened_store
from server.config import Config, FeedbackConfig
from server.keys.file import add_key
from server.keys.types import new_key
from server.service import Log
from trainer.groups import Settings, Tally, groups_from

from .conftest import Serve, judge

SECRET = "AKIAIOSFODNN7EXAMPLE"
WORD = "xyzzyplugh"
"""In every text of a user's that a request has."""
PROMPT = f'def one():\n    """{WORD}"""\n'
ANSWERS = [f"    return 1  # {WORD}", f"    return 2  # {WORD}", f"    raise KeyError('{WORD}')"]
ASKED: dict[str, Any] = {
    "stop": [f"{WORD}!"],
    "rerank": {"tests": {"code": f"assert one() == 1, '{WORD}'"}, "num_candidates": 3},
}


def added(folder: Path, **what: Any) -> dict[str, str]:
    """The header that carries a new key."""
    key, secret = new_key("somebody", **what)
    add_key(folder / "keys.json", key)
    return {"Authorization": f"Bearer {secret}"}


async def kept_of(serve: Serve, store: Log, headers: dict[str, str], prompt: str = PROMPT, more: str = "") -> str:
    """Ask, accept the answer, close the log: the reply's text. It is never changed."""
    engine = ScriptedEngine({prompt: [text + more for text in ANSWERS]}, model_name="scripted:1m-none.r0")
    async with serve(store=store, engine=engine) as server:
        answered = await server.complete(prompt, {**headers, "X-Session-Id": WORD}, **ASKED)
        assert answered.status_code == 200, answered.text
        reply = answered.json()
        told = await server.post("/v1/feedback", headers, id=reply["id"], type="accept")
        assert told.status_code in (202, 404)
    await store.aclose()
    return str(reply["choices"][0]["text"])


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("log.db*"))


@pytest.mark.parametrize(
    ("privacy", "exchanges", "word"), [("full", 1, True), ("no_text", 1, False), ("off", 0, False)]
)
async def test_a_keys_privacy_down_to_the_bytes(
    serve: Serve, tmp_path: Path, privacy: Any, exchanges: int, word: bool
) -> None:
    headers = added(tmp_path, privacy=privacy)
    await kept_of(serve, SqlStore.open(tmp_path / "log.db"), headers)
    store = SqlStore.open(tmp_path / "log.db")
    assert await store.count() == exchanges
    assert (WORD.encode() in on_disk(tmp_path)) == word
    assert await groups_of(store, tmp_path) == int(privacy == "full")
    await store.aclose()


@pytest.mark.parametrize("train", [True, False])
async def test_logged_but_never_trained_on(serve: Serve, tmp_path: Path, train: bool) -> None:
    headers = added(tmp_path, train=train)
    await kept_of(serve, SqlStore.open(tmp_path / "log.db"), headers)
    store = SqlStore.open(tmp_path / "log.db")
    assert await store.count() == 1
    assert WORD.encode() in on_disk(tmp_path)
    assert await groups_of(store, tmp_path) == int(train)
    await store.aclose()


@pytest.mark.parametrize("redact", [True, False])
async def test_a_secret_is_in_the_reply_and_not_in_the_log(serve: Serve, tmp_path: Path, redact: bool) -> None:
    opened = SqlStore.open(tmp_path / "log.db")
    store: Log = RedactingStore(opened) if redact else opened
    text = await kept_of(serve, store, {}, PROMPT + f"    token = '{SECRET}'\n", f"  # {SECRET}")
    assert SECRET in text
    assert (SECRET.encode() in on_disk(tmp_path)) != redact
    assert WORD.encode() in on_disk(tmp_path)


async def test_a_server_redacts_unless_told_not_to(tmp_path: Path) -> None:
    for wanted in (True, False):
        config = Config(state_dir=tmp_path, feedback=FeedbackConfig(redact=wanted))
        store = await opened_store(config)
        assert isinstance(store, RedactingStore) is wanted
        await store.aclose()


async def groups_of(store: FeedbackLog, scratch: Path) -> int:
    """How many groups a trainer makes of the log."""
    made = groups_from(store.exchanges(), Settings(), tally=Tally(), scratch=scratch, sandbox=ScriptedSandbox(judge))
    return len([group async for group in made])
