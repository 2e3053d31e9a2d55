"""Model folders, names, manifests, the champion pointer and refused rounds, on real folders and real processes."""

from __future__ import annotations

import json
import multiprocessing
from datetime import UTC
from pathlib import Path

import pytest

from engine.errors import ChampionMoved, InvalidModel, ModelExists, ModelNotFound, ModelReadOnly
from engine.models import MANIFEST_NAME, Model, ModelName, ModelStore, read_manifest, seal
from engine.models.names import render_size


def make_store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "state", bundled_dir=tmp_path / "bundled")


def add_model(store: ModelStore, round_number: int = 0, family: str = "qwen2.5-coder", size: str = "7b") -> Model:
    with store.add(family=family, size=size, round=round_number, source="made in a test") as draft:
        (draft.folder / "hf").mkdir()
        (draft.folder / "hf" / "config.json").write_text(json.dumps({"round": round_number}))
        (draft.folder / "ct2-int8").mkdir()
        (draft.folder / "ct2-int8" / "model.bin").write_bytes(b"weights")
        draft.evaluation = {"pass_at_1": 0.5}
    return store.get(draft.id)


def bundle(tmp_path: Path) -> None:
    folder = tmp_path / "bundled" / "touchstone-3m"
    (folder / "ct2-int8").mkdir(parents=True)
    (folder / "ct2-int8" / "model.bin").write_bytes(b"small")
    seal(folder, id="touchstone-3m", family="touchstone", size="3m")


class TestNames:
    @pytest.mark.parametrize(
        "text",
        [
            "qwen2.5-coder:7b-int8.r3",
            "touchstone:3m-int8_bfloat16.r0",
            "deepseek-coder:1.3b-float16.r12",
            "starcoder2:15b-auto.r0",
        ],
    )
    def test_a_name_parses_and_renders_to_itself(self, text: str) -> None:
        assert str(ModelName.parse(text)) == text

    @pytest.mark.parametrize(
        "text", ["", "qwen", "qwen:7b", "qwen:7b-int8", "qwen:7b-int8.r03", "Qwen:7b-int8.r3", "q:7b-int8.r3+tests8"]
    )
    def test_what_is_no_name_is_refused_with_the_form(self, text: str) -> None:
        with pytest.raises(InvalidModel, match="<family>:<size>-<dtype>"):
            ModelName.parse(text)

    @pytest.mark.parametrize(
        ("parameters", "size"),
        [(7_615_616_512, "7.62b"), (15_000_000_000, "15b"), (164_000_000, "164m"), (3_560_000, "3.56m"), (900, "900")],
    )
    def test_sizes_read_as_people_say_them(self, parameters: int, size: str) -> None:
        assert render_size(parameters) == size


class TestFolders:
    def test_an_added_model_is_listed_with_its_manifest(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        model = add_model(store, 3)
        assert [found.id for found in store.list()] == ["qwen2.5-coder-7b.r3"]
        manifest = model.manifest
        assert (manifest.round, manifest.conversions, manifest.evaluation) == (3, ("int8",), {"pass_at_1": 0.5})
        assert set(manifest.checksums) == {"hf/config.json", "ct2-int8/model.bin"}
        assert manifest.created_at.tzinfo == UTC
        assert str(manifest.name("int8")) == "qwen2.5-coder:7b-int8.r3"

    def test_a_model_is_found_by_id_by_name_and_by_family(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        add_model(store, 2)
        add_model(store, 3)
        assert store.get("qwen2.5-coder-7b.r2").manifest.round == 2
        assert store.get("qwen2.5-coder:7b-int8.r2").manifest.round == 2
        assert store.get("qwen2.5-coder:7b").manifest.round == 3
        with pytest.raises(ModelNotFound, match=r"known: qwen2.5-coder-7b.r2"):
            store.get("nothing")

    def test_a_failed_or_discarded_write_leaves_nothing(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        with pytest.raises(FileNotFoundError), store.add(family="a", size="1b") as draft:
            (draft.folder / "half").write_bytes((tmp_path / "no such file").read_bytes())
        with store.add(family="a", size="1b") as draft:
            draft.discard()
        assert store.list() == ()
        assert [path.name for path in store.root.iterdir()] == [".lock"]

    def test_folders_without_a_manifest_are_never_listed(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        add_model(store)
        (store.root / "half-copied" / "hf").mkdir(parents=True)
        with store.add(family="b", size="1b"):
            assert [model.id for model in store.list()] == ["qwen2.5-coder-7b.r0"]

    def test_what_a_died_writer_left_is_swept(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        leftover = store.root / ".adding-dead-x"
        leftover.mkdir(parents=True)
        (leftover / ".owner").touch()
        with store.add(family="b", size="1b") as alive, store.add(family="c", size="1b"):
            assert not leftover.exists()
            assert alive.folder.exists()

    def test_an_id_is_never_overwritten(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        add_model(store)
        with pytest.raises(ModelExists, match=r"qwen2.5-coder-7b.r0"):
            add_model(store)

    def test_unsafe_ids_and_families_are_refused(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        with pytest.raises(InvalidModel, match=r"id: '\.\./x'"), store.add(family="a", size="1b", id="../x"):
            pass
        with pytest.raises(InvalidModel, match="family: 'A B'"), store.add(family="A B", size="1b"):
            pass

    def test_a_conversion_is_added_in_place_and_hashed(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        model = add_model(store)

        def convert(source: Path, target: Path) -> None:
            (target / "model.bin").write_bytes((source / "config.json").read_bytes())

        changed = store.add_conversion(model, "float32", convert)
        assert changed.manifest.conversions == ("float32", "int8")
        assert store.verify(store.get(model.id)) == ()
        assert read_manifest(model.folder) == changed.manifest

    def test_damage_is_found_file_by_file(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        model = add_model(store)
        (model.hf / "config.json").unlink()
        (model.folder / "ct2-int8" / "model.bin").write_bytes(b"Weights")
        (model.folder / "stray.txt").touch()
        assert {(damage.path, damage.problem) for damage in store.verify(model)} == {
            ("hf/config.json", "missing"),
            ("ct2-int8/model.bin", "changed"),
            ("stray.txt", "not in the manifest"),
        }


class TestManifest:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"schema_version": 2}, "schema_version"),
            ({"round": "3"}, "round"),
            ({"round": -1}, "round"),
            ({"created_at": "yesterday"}, "created_at"),
            ({"checksums": {"a": "md5:1"}}, "checksums.a"),
            ({"checksums": {"../a": "b2:" + "0" * 64}}, "checksums: '../a'"),
            ({"colour": "red"}, "colour"),
            ({"family": "a:b"}, "family"),
        ],
    )
    def test_a_faulty_field_is_named(self, tmp_path: Path, change: dict[str, object], message: str) -> None:
        store = make_store(tmp_path)
        path = add_model(store).folder / MANIFEST_NAME
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(InvalidModel, match=message):
            store.list()

    def test_a_faulty_neighbour_does_not_hide_a_model_asked_for_by_id(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        model = add_model(store, 1)
        (add_model(store, 2).folder / MANIFEST_NAME).write_text("{")
        assert store.get(model.id) == model


def _swap(state: Path, expected: str, new: str, results: multiprocessing.Queue[bool]) -> None:
    try:
        ModelStore(state, bundled_dir=state / "none").set_champion(expected, new)
        results.put(True)
    except ChampionMoved:
        results.put(False)


class TestChampion:
    def test_the_bundled_model_is_the_champion_until_another_is(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        assert store.champion() is None
        bundle(tmp_path)
        champion = store.champion()
        assert champion is not None
        assert (champion.id, champion.read_only) == ("touchstone-3m", True)
        store.set_champion("touchstone-3m", add_model(store, 1).id)
        assert [model.id for model in store.list()] == ["touchstone-3m", "qwen2.5-coder-7b.r1"]
        assert store.previous_champion() == "touchstone-3m"
        moved = store.champion()
        assert moved is not None
        assert moved.id == "qwen2.5-coder-7b.r1"

    def test_a_stale_expectation_moves_nothing(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        first, second = add_model(store, 1), add_model(store, 2)
        store.set_champion(None, first.id)
        with pytest.raises(ChampionMoved, match=r"7b.r1, not None"):
            store.set_champion(None, second.id)
        assert store.champion() == first

    def test_only_one_of_many_processes_wins(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        models = [add_model(store, number) for number in range(1, 6)]
        store.set_champion(None, models[0].id)
        context = multiprocessing.get_context("spawn")
        results: multiprocessing.Queue[bool] = context.Queue()
        processes = [
            context.Process(target=_swap, args=(tmp_path / "state", models[0].id, model.id, results))
            for model in models[1:]
        ]
        for process in processes:
            process.start()
        won = [results.get(timeout=60) for _ in processes]
        for process in processes:
            process.join()
        assert sorted(won) == [False, False, False, True]

    def test_a_pointer_to_a_model_that_is_gone_says_so(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        store.set_champion(None, add_model(store, 1).id)
        (store.root / "qwen2.5-coder-7b.r1" / MANIFEST_NAME).unlink()
        with pytest.raises(ModelNotFound, match=r"qwen2.5-coder-7b.r1"):
            store.champion()

    def test_a_refused_round_is_remembered_and_never_champion(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        model = add_model(store, 4)
        store.refuse(model.id, round=4, reason="pass@1 fell", evaluation={"pass_at_1": 0.1})
        store.refuse("qwen2.5-coder-7b.r5", round=5, reason="pass@1 fell again")
        assert [refusal.round for refusal in store.refused()] == [4, 5]
        assert store.next_round("qwen2.5-coder", "7b") == 6
        with pytest.raises(InvalidModel, match="refused"):
            store.set_champion(None, model.id)

    def test_the_bundled_model_is_read_only(self, tmp_path: Path) -> None:
        bundle(tmp_path)
        store = make_store(tmp_path)
        with pytest.raises(ModelReadOnly):
            store.add_conversion(store.get("touchstone-3m"), "float32", lambda source, target: None)


class TestChallenger:
    def test_the_champion_set_once_more_keeps_what_to_roll_back_to(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        first, second = add_model(store, 0), add_model(store, 1)
        store.set_champion(None, first.id)
        store.set_champion(first.id, second.id)
        before = store.written()
        store.set_champion(second.id, second.id)
        assert store.written() != before
        assert (store.champion_id(), store.previous_champion()) == (second.id, first.id)

    def test_a_contest_is_against_the_champion_and_ends_with_it(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        first, second = add_model(store, 0), add_model(store, 1)
        store.set_champion(None, first.id)
        before = store.written()
        set_ = store.set_challenger(first.id, second.id, mode="canary", share=0.25)
        assert store.challenger() == set_
        assert (set_.mode, set_.share, set_.champion, set_.since.tzinfo) == ("canary", 0.25, first.id, UTC)
        assert store.written() != before
        store.set_champion(first.id, second.id)
        assert store.challenger() is None
        assert store.champion_id() == second.id

    def test_a_contest_left_by_a_writer_that_died_counts_for_nothing(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        first, second = add_model(store, 0), add_model(store, 1)
        store.set_champion(None, first.id)
        store.set_challenger(first.id, second.id, mode="shadow", share=1.0)
        left = (store.root / "challenger.json").read_text()
        store.set_champion(first.id, second.id)
        (store.root / "challenger.json").write_text(left)
        assert store.challenger() is None

    def test_what_cannot_be_a_challenger(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        first, second = add_model(store, 0), add_model(store, 1)
        store.set_champion(None, first.id)
        with pytest.raises(ChampionMoved):
            store.set_challenger("another", second.id, mode="shadow", share=1.0)
        with pytest.raises(ModelNotFound):
            store.set_challenger(first.id, "none", mode="shadow", share=1.0)
        with pytest.raises(InvalidModel, match="champion's name"):
            store.set_challenger(first.id, first.id, mode="shadow", share=1.0)
        for share in (0.0, 1.5, float("nan")):
            with pytest.raises(InvalidModel, match="share"):
                store.set_challenger(first.id, second.id, mode="shadow", share=share)
        store.refuse(second.id, round=1, reason="worse")
        with pytest.raises(InvalidModel, match="refused"):
            store.set_challenger(first.id, second.id, mode="shadow", share=1.0)
        (store.root / "challenger.json").write_text('{"id": "x", "mode": "loud"}')
        with pytest.raises(InvalidModel, match=r"challenger\.json"):
            store.challenger()

    def test_a_refusal_ends_the_contest_and_so_does_clearing(self, tmp_path: Path) -> None:
        store = make_store(tmp_path)
        first, second, third = add_model(store, 0), add_model(store, 1), add_model(store, 2)
        store.set_champion(None, first.id)
        store.set_challenger(first.id, second.id, mode="shadow", share=1.0)
        store.refuse(third.id, round=2, reason="worse")
        assert store.challenger() is not None
        store.refuse(second.id, round=1, reason="worse")
        assert store.challenger() is None
        store.set_challenger(first.id, add_model(store, 4).id, mode="shadow", share=1.0)
        assert not store.clear_challenger(second.id)
        assert store.clear_challenger("qwen2.5-coder-7b.r4")
        assert store.challenger() is None
