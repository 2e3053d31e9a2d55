"""`touchstone models` as a process: folders and a small hub of our own, real downloads, real conversions."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from engine.errors import InvalidModel, ModelExists, UnsupportedDtype
from engine.models import ModelStore
from engine.pull import count_parameters, guess_name, pull
from tests.engine.checkpoints import make_checkpoint
from tests.engine.hub_server import COMMIT, REPOSITORY, Hub
from tests.engine.upstream_server import serve

pytest.importorskip("torch")

Run = Callable[..., "CompletedProcess[str]"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_checkpoint(tmp_path_factory.mktemp("checkpoints") / "Tiny-Coder-30k")
    (folder / "modeling_custom.py").write_text("raise SystemExit('a model brought its own code')")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `touchstone models` with this test's state folder and an empty hub cache."""

    def run(*arguments: str, hub: str = "http://127.0.0.1:9") -> CompletedProcess[str]:
        environment = os.environ | {
            "TOUCHSTONE_STATE_DIR": str(tmp_path / "state"),
            "HF_HOME": str(tmp_path / "cache"),
            "HF_ENDPOINT": hub,
            "HF_HUB_DISABLE_XET": "1",
        }
        command = [sys.executable, "-m", "touchstone", "models", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)

    return run


@pytest.fixture
def hub(checkpoint: Path) -> Iterator[tuple[Hub, str]]:
    side = Hub(checkpoint)
    with serve(side.app()) as url:
        yield side, url


def own(run: Run) -> list[dict[str, Any]]:
    done = run("list", "--json")
    assert done.returncode == 0, done.stderr
    return [entry for entry in json.loads(done.stdout) if not entry["bundled"]]


def test_a_folder_is_pulled_converted_listed_and_verified(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    done = run("pull", str(checkpoint), "--no-convert")
    assert (done.returncode, done.stdout) == (0, "tiny-coder-30k.r0\n"), done.stderr
    names = {path.name for path in (tmp_path / "state/models/tiny-coder-30k.r0/hf").iterdir()}
    assert "model.safetensors" in names
    assert not names & {"modeling_custom.py", "pytorch_model.bin"}, "only data, never code"

    converted = run("convert", "tiny-coder:30k")
    assert converted.stdout.endswith("tiny-coder-30k.r0/ct2-int8\n"), converted.stderr
    assert "already" in run("convert", "tiny-coder:30k").stderr
    (entry,) = own(run)
    assert (entry["names"], entry["source"]) == (["tiny-coder:30k-int8.r0"], f"file:{checkpoint}")
    assert "tiny-coder:30k" in run("list").stdout

    sound = run("verify", "tiny-coder-30k.r0")
    assert (sound.returncode, sound.stdout) == (0, "tiny-coder-30k.r0: sound\n")
    (tmp_path / "state/models/tiny-coder-30k.r0/ct2-int8/model.bin").write_bytes(b"x")
    damaged = run("verify", "tiny-coder-30k.r0")
    assert (damaged.returncode, damaged.stdout) == (1, "tiny-coder-30k.r0: DAMAGED\n  ct2-int8/model.bin: changed\n")


def test_figures_are_measured_printed_and_kept(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "state")
    pull(store, str(checkpoint), name="one:30k")
    done = run("calibrate", "one:30k", "--threads", "1")
    head, *lines = done.stdout.splitlines()
    assert head.split()[:2] == ["COMPUTED", "IN"], done.stderr
    assert [line.replace("*", "").split()[0] for line in lines] == ["int8_float32", "float32"]
    assert [line[0] for line in lines].count("*") == 1
    (kept,) = (tmp_path / "state/calibration").iterdir()
    assert json.loads(kept.read_text())["key"]["cores"] == 1

    pull(store, str(checkpoint), name="two:30k", dtype="float32")
    assert run("calibrate", "two:30k").stdout == "two-30k.r0: nothing to choose between (conversions: float32)\n"


def test_the_bundled_model_is_converted_as_its_refusal_says(run: Run) -> None:
    bundled = next(entry["id"] for entry in json.loads(run("list", "--json").stdout) if entry["bundled"])
    refused = run("convert", bundled, "--dtype", "float32")
    assert refused.returncode == 1
    command = refused.stderr.strip().split("run: touchstone models ")[1]
    assert run(*command.split()).returncode == 0
    assert [entry["conversions"] for entry in own(run)] == [["float32"]]


def test_pulling_converts_and_never_overwrites(checkpoint: Path, tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    said: list[str] = []
    model = pull(store, f"file:{checkpoint}", dtype="float32", say=said.append)
    assert (model.manifest.conversions, store.verify(model)) == (("float32",), ())
    assert [line.split()[0] for line in said] == ["copying", "converting"]
    with pytest.raises(ModelExists, match=r"tiny-coder-30k.r0 is already in place"):
        pull(store, str(checkpoint), dtype=None)
    with pytest.raises(UnsupportedDtype, match="int3"):
        pull(store, str(checkpoint), dtype="int3")


def test_a_repository_is_pulled_over_http_without_code(run: Run, hub: tuple[Hub, str]) -> None:
    side, url = hub
    done = run("pull", REPOSITORY, "--no-convert", hub=url)
    assert (done.returncode, done.stdout) == (0, "tiny-coder-instruct-30k.r0\n"), done.stderr
    (entry,) = own(run)
    assert (entry["source"], entry["conversions"]) == (f"hub:{REPOSITORY}@{COMMIT}", [])
    assert "model.safetensors" in side.fetched
    assert not set(side.fetched) & {"modeling_custom.py", "pytorch_model.bin"}
    assert side.fetched.count("model.safetensors") == 1
    run("pull", REPOSITORY, "--no-convert", "--name", "other:30k", hub=url)
    assert side.fetched.count("model.safetensors") == 1, "the second time it comes from the cache"


@pytest.mark.parametrize(
    ("source", "revision", "message"),
    [
        ("acme/nothing-here", "main", "acme/nothing-here: no such repository"),
        ("acme/Gated-7B", "main", "acme/Gated-7B: its licence must be accepted"),
        (REPOSITORY, "v9", f"{REPOSITORY}: no such revision"),
    ],
)
def test_a_hubs_refusal_is_one_line(run: Run, hub: tuple[Hub, str], source: str, revision: str, message: str) -> None:
    done = run("pull", source, "--revision", revision, hub=hub[1])
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message}"), done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_network_the_way_out_is_named(run: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = run("pull", "acme/Tiny-Coder-30k", hub=f"http://127.0.0.1:{port}")
    assert done.returncode == 1
    assert "acme/Tiny-Coder-30k: the hub cannot be reached" in done.stderr
    assert "pull file:FOLDER" in done.stderr.splitlines()[-1]


def test_what_cannot_be_converted_is_refused_before_its_weights_are_fetched(
    run: Run, tmp_path: Path, checkpoint: Path
) -> None:
    folder = tmp_path / "mixture"
    folder.mkdir()
    for path in checkpoint.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "config.json").write_text(json.dumps({"architectures": ["MixtralForCausalLM"]}))
    side = Hub(folder)
    with serve(side.app()) as url:
        done = run("pull", REPOSITORY, hub=url)
    assert (done.returncode, done.stderr.splitlines()[-1][:41]) == (1, "error: CTranslate2 cannot load MixtralFor")
    assert side.fetched == ["config.json"]
    assert own(run) == []


def test_wrong_words_are_told(run: Run, tmp_path: Path) -> None:
    assert "is neither a folder nor a hub repository" in run("pull", "tiny").stderr
    assert "no config.json" in run("pull", f"file:{tmp_path}").stderr
    assert "no model 'nothing'" in run("convert", "nothing").stderr


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("Qwen/Qwen2.5-Coder-7B-Instruct", ("qwen2.5-coder-instruct", "7b")),
        ("deepseek-ai/deepseek-coder-1.3b-base", ("deepseek-coder-base", "1.3b")),
        ("bigcode/starcoderbase-164M", ("starcoderbase", "164m")),
        ("mistralai/Mixtral-8x7B-v0.1", ("mixtral-v0.1", "8x7b")),
        ("bigcode/tiny_starcoder", ("tiny_starcoder", "39k")),
        ("/somewhere/checkpoint-100", ("llama", "39k")),
    ],
)
def test_names_are_guessed_from_the_repository_or_the_weights(
    checkpoint: Path, source: str, name: tuple[str, str]
) -> None:
    guessed = guess_name(source, checkpoint)
    assert (guessed.family, guessed.size) == name


def test_parameters_are_counted_from_the_headers(checkpoint: Path, tmp_path: Path) -> None:
    import safetensors.torch

    tensors = safetensors.torch.load_file(checkpoint / "model.safetensors")
    assert count_parameters(checkpoint) == sum(tensor.numel() for tensor in tensors.values())
    (tmp_path / "model.safetensors").write_bytes(b"\x00")
    with pytest.raises(InvalidModel, match="not a safetensors file"):
        count_parameters(tmp_path)
