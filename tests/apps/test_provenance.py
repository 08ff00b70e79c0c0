import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import posekit
from posekit.apps.provenance import record_path, write_record


@dataclass(frozen=True)
class Config:
    out: Path
    share: float = float("nan")


def inputs_of(output: Path, *inputs: Path) -> dict[str, str]:
    write_record(output, "act", Config(output), list(inputs))
    return json.loads(record_path(output).read_text())["inputs"]


def test_a_record_stands_beside_its_output(tmp_path):
    assert record_path(tmp_path / "a.b.h5") == tmp_path / "a.b.run.json"
    assert record_path(tmp_path / "hand.safetensors") == tmp_path / "hand.run.json"
    assert record_path(tmp_path / "a.b.trc") == tmp_path / "a.b.trc.run.json"
    assert record_path(tmp_path) == tmp_path / "run.json"


def test_a_record_says_what_was_run_on_what(tmp_path):
    data = tmp_path / "data.bin"
    data.write_bytes(b"abc")
    write_record(tmp_path / "a.h5", "act", Config(tmp_path / "a.h5"), [data], seed=3, figures={"mean": None})
    record = json.loads((tmp_path / "a.run.json").read_text())
    assert record["command"] == "act"
    assert record["settings"] == {"out": str(tmp_path / "a.h5"), "share": None}
    assert record["inputs"] == {str(data): hashlib.sha256(b"abc").hexdigest()}
    assert (record["seed"], record["figures"]) == (3, {"mean": None})
    assert record["posekit"] == posekit.__version__
    assert record["made"][:2] == "20"
    write_record(tmp_path / "a.h5", "act", {"a": 1}, [])
    assert json.loads((tmp_path / "a.run.json").read_text())["settings"] == {"a": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.run.json", "data.bin"]


def test_a_folders_hash_is_of_names_and_contents(tmp_path):
    folder, output = tmp_path / "in", tmp_path / "a.h5"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "1.json").write_text("x")
    (folder / "2.json").write_text("y")
    hashes = [inputs_of(output, folder)[str(folder)]]
    assert inputs_of(output, folder)[str(folder)] == hashes[0]
    (folder / "2.json").write_text("z")
    hashes.append(inputs_of(output, folder)[str(folder)])
    (folder / "2.json").rename(folder / "3.json")
    hashes.append(inputs_of(output, folder)[str(folder)])
    (folder / "below" / "1.json").rename(folder / "1.json")
    hashes.append(inputs_of(output, folder)[str(folder)])
    assert len(set(hashes)) == 4
