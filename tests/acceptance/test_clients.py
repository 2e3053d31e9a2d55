"""Clients from their registries against a real server: `make test-clients`."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from .conftest import ROOT, Served, Start

pytestmark = pytest.mark.clients
HERE = Path(__file__).parent / "clients"
CLIENTS = ROOT / ".clients"
"""Where `make test-clients` installs them."""


def said_by(*command: str, **environment: str) -> Any:
    """The JSON that a client's script prints."""
    env = {**os.environ, "CLIENTS": str(CLIENTS), **environment}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def until_idle(served: Served) -> None:
    """Until nothing is sampled any more."""
    end = time.monotonic() + 10
    while served.metric("touchstone_requests_running"):
        assert time.monotonic() < end
        time.sleep(0.05)


def exchanges(served: Served) -> int:
    """How many requests were answered and logged, by what the server says of itself."""
    text = httpx.get(f"{served.url}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("touchstone_rerank_requests_total{")]
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


def test_the_official_client_for_node(served: Served, start_slow_server: Start) -> None:
    slow = start_slow_server()
    said = said_by("node", str(HERE / "openai_sdk.mjs"), served.url, slow.url)
    assert said.pop("fingerprint").startswith("scripted-")
    assert said == {
        "plain": "first",
        "usage": 6,
        "best": 2,
        "method": "likelihood",
        "hole": "\n    y = x",
        "chat": "first",
        "stream": "first",
        "streamUsage": 11,
        "refused": ["BadRequestError", "frequency_penalty"],
        "slow": 40,
    }
    until_idle(slow)
    assert exchanges(slow) == 1  # the retried one; the one that was broken off was not answered


def test_langchain_reaches_the_evidence(served: Served) -> None:
    said = said_by(str(CLIENTS / "venv/bin/python"), str(HERE / "langchain_sdk.py"), served.url)
    assert said["text"] in ("first", "second", "third")
    assert said["fingerprint"].startswith("scripted-")
    assert said["model"].startswith("scripted")
    assert said["id"].startswith("chatcmpl-")
    assert said["status"] == "complete"
    assert float(said["score"]) < 0
    assert said["details"]["discarded_tokens"] > 0
    assert said["stream"] == "first"
    assert said["completion"] in ("first", "second", "third")


def test_tabbys_agent_completes_and_tells_what_became_of_it(served: Served) -> None:
    before = served.metric("touchstone_suggestions_accepted_total")
    said = said_by("node", str(HERE / "tabby_agent.mjs"), served.url)
    assert (said["status"], said["model"]) == ("ready", "scripted")
    assert said["texts"] == ["\n    y = x"]
    assert (said["viewed"], said["selected"]) == (True, True)
    assert served.metric("touchstone_suggestions_accepted_total") == before + 1


def test_neovim_sends_what_llama_vim_sends(start_server: Start) -> None:
    if shutil.which("nvim") is None:
        pytest.skip("no Neovim here: apt-get install neovim")
    real = start_server(engine='type = "ctranslate2"')  # the bundled model
    command = ("nvim", "--clean", "--headless", "-S", str(HERE / "llama_vim.vim"))
    said = said_by(*command, TOUCHSTONE_URL=real.url)
    assert said["warmed"] == {}
    assert said["several"] == 3
    reply = said["reply"]
    assert set(reply) == {"content", "timings/prompt_n", "timings/predicted_n", "truncated", "tokens_cached"}
    assert (reply["truncated"], reply["timings/prompt_n"] > 20, reply["timings/predicted_n"] > 0) == (False, True, True)
    assert "".join(said["buffer"]).startswith("def vowels(text):    count = 0    for c in text:        ")
    assert reply["content"].strip()
    assert reply["content"].split("\n")[0] in said["buffer"][3]
    until_idle(real)  # the request that the next key stopped too


def test_retries_of_the_official_client_for_python_run_the_work_once(start_slow_server: Start) -> None:
    slow = start_slow_server()
    hasty = OpenAI(base_url=f"{slow.url}/v1", api_key="none", max_retries=6, timeout=0.7)
    reply = hasty.completions.create(
        model="scripted",
        prompt="slow",
        extra_body={"rerank": {"method": "off"}},
        extra_headers={"Idempotency-Key": "python"},
    )
    assert reply.choices[0].text == "x" * 40
    assert exchanges(slow) == 1
    with pytest.raises(openai.APITimeoutError):  # without a key the work ends with its client
        hasty.with_options(max_retries=0).completions.create(
            model="scripted", prompt="endless", max_tokens=5000, extra_body={"rerank": {"method": "off"}}
        )
    until_idle(slow)
