"""Files that ask too much of whoever reads them: one clear line, wherever they come in."""

import pytest
from conftest import one_line_error, run_here

from unbabble.base.reading import from_json, from_yaml
from unbabble.errors import CorpusError, ModelError
from unbabble.files.results import read_sidecar
from unbabble.inference.model_folder import open_model
from unbabble.sets.read import read_set

DEEP = {
    "by a little": "[" * 150 + "]" * 150,
    "by far": "[" * 100_000 + "]" * 100_000,
    "objects": '{"a": ' * 5_000 + "1" + "}" * 5_000,
}
BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 20)
)


@pytest.fixture(params=DEEP.values(), ids=DEEP)
def deep(request) -> str:
    return request.param


def test_plain_values_are_read():
    assert from_json('{"a": [1, null, {"b": "c"}]}') == {"a": [1, None, {"b": "c"}]}
    assert from_yaml("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}
    assert from_yaml("") is None
    assert from_json("[" * 90 + "]" * 90) is not None


def test_what_is_nested_too_deeply_is_no_value(deep):
    for read in (from_json, from_yaml):
        with pytest.raises(ValueError, match="nested more than 100 deep"):
            read(deep)


@pytest.mark.parametrize(
    "text", [BOMB, "&a [*a]", "a: !!int ''", "!!timestamp x", "!!python/name:os.system", "{[1]: 2}", "a: ]"]
)
def test_yaml_that_is_no_plain_value_is_told_in_a_line(text):
    with pytest.raises(ValueError) as told:
        from_yaml(text)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("recipe.yaml", ["train", "{}", "--out", "{}-out"]),
        ("recipe.yaml", ["train-listener", "{}", "--out", "{}-out"]),
        ("comparison.yaml", ["compare", "{}", "--out", "{}-out"]),
        ("rooms.yaml", ["rooms", "--recipe", "{}", "--out", "{}-out.npz", "--count", "1"]),
        ("speech.jsonl", ["corpus", "{}", "--out", "{}-out.csv"]),
        ("list.json", ["simulate", "--speech", "SPEECH", "--list", "{}", "--out", "{}-out"]),
        ("splits.json", ["simulate", "--speech", "SPEECH", "--splits", "{}", "--count", "1", "--out", "{}-out"]),
    ],
)
def test_every_file_that_a_command_reads(tmp_path, corpora, deep, name, command):
    path = tmp_path / name
    path.write_text(deep)
    done = run_here(*(part.replace("{}", str(path)).replace("SPEECH", str(corpora[0])) for part in command))
    assert done.returncode == 1
    one_line_error(done, str(path), "nested more than 100 deep")


def test_changes_on_the_command_line(tmp_path, corpora, deep):
    (tmp_path / "recipe.yaml").write_text("{}")
    done = run_here("train", tmp_path / "recipe.yaml", "--speech", corpora[0], f"training.batch_size={deep}")
    assert done.returncode == 1
    one_line_error(done, "training.batch_size: the value is no YAML: nested more than 100 deep")


def test_the_recipe_of_a_run(tmp_path, deep):
    (tmp_path / "recipe.yaml").write_text(deep)
    for command in (["train", "--resume", tmp_path], ["export", tmp_path, "--out", tmp_path / "model"]):
        done = run_here(*command)
        assert done.returncode == 1
        one_line_error(done, str(tmp_path / "recipe.yaml"), "nested more than 100 deep")


def test_model_folders_sets_and_sidecars(tmp_path, deep):
    for name in ("model.json", "manifest.jsonl", "separation.json"):
        (tmp_path / name).write_text(deep)
    with pytest.raises(ModelError, match=r"model\.json: .*nested more than 100 deep"):
        open_model(tmp_path)
    with pytest.raises(CorpusError, match=r"manifest\.jsonl, line 1: .*nested more than 100 deep"):
        read_set(tmp_path)
    assert read_sidecar(tmp_path / "separation.json") == {}
