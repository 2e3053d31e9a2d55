"""Model folders: their layout, their names, their manifests; champion, challenger and refused rounds.

<state_dir>/models/<id>/manifest.json   written last; a folder without one does not exist
<state_dir>/models/<id>/hf/             safetensors, tokenizer, chat template
<state_dir>/models/<id>/ct2-<dtype>/    conversions, with the tokenizer files served without torch
<state_dir>/models/champion.json        which model is served now
<state_dir>/models/challenger.json      which is in a contest against it
<state_dir>/models/refused/<id>.json    rounds the gate refused
"""

from engine.models.checksums import Damage
from engine.models.manifest import MANIFEST_NAME, Manifest, read_manifest, seal, write_json
from engine.models.names import ModelName, check_id, render_size
from engine.models.pointer import Challenger, ContestMode, Refusal
from engine.models.store import Draft, Model, ModelStore

__all__ = [
    "MANIFEST_NAME",
    "Challenger",
    "ContestMode",
    "Damage",
    "Draft",
    "Manifest",
    "Model",
    "ModelName",
    "ModelStore",
    "Refusal",
    "check_id",
    "read_manifest",
    "render_size",
    "seal",
    "write_json",
]
