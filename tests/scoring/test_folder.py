"""A folder holds one job, the one that was asked for; its files are checked when they are read back."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lenet_zoo.errors import InputError, ScoringError
from lenet_zoo.scoring import folder

from .conftest import Digits, Score, files_of, png, refused, rows_of, stop_after


def test_another_jobs_folder_is_refused(tmp_path: Path, pictures: Path, run: Score, finished: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    before = files_of(out)
    remedy = "name another folder with --out, or begin anew with --overwrite"
    assert refused(run, pictures, out, part_rows=40, top_k=5) == (
        f"{out} holds another job (top_k 3 and not 5): {remedy}"
    )
    assert refused(run, pictures, out, part_rows=50, min_confidence=0.5) == (
        f"{out} holds another job (min_confidence 0.0 and not 0.5, part_rows 40 and not 50): {remedy}"
    )
    assert refused(run, pictures, out, part_rows=40, model="lenet5_classic.mnist") == (
        f"{out} holds another job (name digits.onnx and not lenet5_classic.mnist): {remedy}"
    )
    assert refused(run, pictures / "a", out, part_rows=40) == (
        f"{out} holds another job (name scans and not a, files 300 and not 150, bytes "
        f"{size_of(pictures):} and not {size_of(pictures / 'a')}, rows 300 and not 150): {remedy}"
    )
    assert files_of(out) == before
    run(pictures / "a", out, part_rows=40, overwrite=True)
    assert len(rows_of(out)) == 150
    assert len(list((out / "parts").iterdir())) == 4


@pytest.mark.parametrize("model", ["lenet5_modern", "out/job/model.onnx"])
def test_beginning_anew_keeps_the_network_that_lies_in_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path, run: Score, model: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run(pictures, "out", model="lenet5_modern")
    before = rows_of(tmp_path / "out")
    run(pictures, "out", model=model, overwrite=True)
    assert rows_of(tmp_path / "out") == before


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.png"))


def test_an_input_that_has_changed_is_refused(tmp_path: Path, pictures: Path, run: Score) -> None:
    source, out = tmp_path / "scans", tmp_path / "out"
    shutil.copytree(pictures, source)
    with pytest.raises(KeyboardInterrupt):
        run(source, out, part_rows=40, progress=stop_after(100))
    bytes_then = size_of(source)
    (source / "new.png").write_bytes(b"x")
    assert refused(run, source, out, part_rows=40) == (
        f"scans has changed since the job in {out} was started: 300 rows in {bytes_then:,} bytes then, 301 in "
        f"{bytes_then + 1:,} bytes now, or newer files; name another folder with --out, or begin anew with --overwrite"
    )
    run(source, out, part_rows=40, overwrite=True)
    assert len(rows_of(out)) == 301


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_files_are_never_touched(tmp_path: Path, pictures: Path, run: Score, overwrite: bool) -> None:
    out = tmp_path / "out"
    for name in ("manifest.json", "model.onnx", "thesis.tex", "weights.pt"):
        out.mkdir(exist_ok=True)
        (out / name).write_text("mine")
    before = files_of(out)
    assert refused(run, pictures, out, overwrite=overwrite) == (
        f"{out} holds other files (manifest.json, model.onnx, thesis.tex, …): name a new or an empty folder with --out"
    )
    assert {name: data for name, data in files_of(out).items() if name != ".lock"} == before


def test_input_and_output_keep_apart(tmp_path: Path, pictures: Path, run: Score) -> None:
    assert refused(run, pictures, pictures) == f"{pictures} is the input as well: name another folder with --out"
    assert refused(run, pictures, pictures / "out") == (
        f"{pictures}/out lies within the input {pictures}: its files would be read as input"
    )
    assert refused(run, pictures, pictures.parent) == (
        f"the input {pictures} lies within {pictures.parent}: name another folder with --out"
    )
    (tmp_path / "file").touch()
    assert refused(run, pictures, tmp_path / "file") == f"{tmp_path}/file is a file: --out names a folder"
    assert not (pictures / "out").exists()


# ------------------------------------------------------------------------------------------------ files read back

DEEP = "[" * 100_000
NOT_JOBS: list[tuple[str, str]] = [
    ("", "Expecting value: line 1 column 1 (char 0)"),
    (DEEP, "it is nested too deeply"),
    ("[]", "it is not a job's description"),
    ('{"format": ["lenet_zoo.score/1"]}', "it is not a job's description"),
    ('{"format": "\\ud800"}', "it holds half of a surrogate pair"),
    (
        '{"format": "lenet_zoo.score/2"}',
        "it has format 'lenet_zoo.score/2', and this version of lenet-zoo reads 'lenet_zoo.score/1'",
    ),
    ('{"format": "lenet_zoo.score/1", "model": 7}', "it lacks one of model, input, options"),
]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(("text", "why"), NOT_JOBS)
def test_a_job_that_cannot_be_read(
    tmp_path: Path, pictures: Path, run: Score, text: str, why: str, overwrite: bool
) -> None:
    out = tmp_path / "out"
    (out / "job").mkdir(parents=True)
    (out / "job" / "job.json").write_text(text)
    assert refused(run, pictures, out, overwrite=overwrite, error=ScoringError) == (
        f"{out}/job/job.json cannot be used: {why}; name another folder with --out, or delete {out} yourself"
    )
    assert [path.name for path in out.rglob("*") if path.is_file() and path.name != ".lock"] == ["job.json"]


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    document = json.loads(json.dumps(document))
    inner = document
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return document


@pytest.mark.parametrize("value", [None, 7, -1, float("nan"), "", "\ud800", [], {}, [[{}]]])
def test_a_job_of_which_one_value_was_changed(
    tmp_path: Path, pictures: Path, run: Score, finished: Path, value: Any
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    job = json.loads((out / "job" / "job.json").read_text("utf-8"))
    inner = [(part, name) for part in ("model", "input", "options") for name in job[part]]
    for path in [(name,) for name in job] + inner:
        document = changed(job, path, value)
        if document == job:
            continue
        for with_its_hash in (False, True):
            if with_its_hash and path != ("id",) and isinstance(document, dict):
                document.pop("id")
                document = {"id": folder._id_of(document), **document}
            (out / "job" / "job.json").write_text(json.dumps(document))
            with pytest.raises((ScoringError, InputError)) as caught:
                run(pictures, out, part_rows=40)
            said = (f"{out}/job/job.json cannot be used: ", f"{out} holds another job (", "scans has changed since ")
            network = f"{out}/job/model.onnx was damaged or altered since the job began"  # its checksum is another
            assert str(caught.value).startswith((*said, *[network] * (path == ("onnx_sha256",))))


def test_a_manifest_that_cannot_be_read(tmp_path: Path, pictures: Path, run: Score, finished: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    manifest = json.loads((finished / "manifest.json").read_text("utf-8"))
    counts = "its totals are not the counts of a job's rows"
    for text, why in (
        ("", "Expecting value: line 1 column 1 (char 0)"),
        (DEEP, "it is nested too deeply"),
        ("[]", "it is not this job's"),
        (json.dumps(changed(manifest, ("job",), "0" * 64)), "it is not this job's"),
        (json.dumps(changed(manifest, ("totals",), None)), counts),
        (json.dumps(changed(manifest, ("totals", "rows"), "300")), counts),
        (json.dumps(changed(manifest, ("totals", "rows"), float("nan"))), "it holds a number that is not finite"),
        (json.dumps(changed(manifest, ("totals", "labels"), ["0"])), counts),
        (json.dumps(changed(manifest, ("totals", "labels", "0"), -1)), counts),
        (json.dumps(changed(manifest, ("totals", "labels", "0"), manifest["totals"]["labels"]["0"] + 1)), counts),
        (json.dumps(changed(manifest, ("totals", "unreadable"), 1)), counts),
        (json.dumps(changed(manifest, ("parts",), {})), "it does not list the parts"),
        (json.dumps(changed(manifest, ("parts",), [])), "it does not list the parts"),
        (json.dumps(changed(manifest, ("parts", 0), "parts/part-00000.parquet")), "it does not list the parts"),
        (json.dumps(changed(manifest, ("input", "name"), "\ud800")), "it holds half of a surrogate pair"),
    ):
        (out / "manifest.json").write_text(text)
        assert refused(run, pictures, out, part_rows=40, error=ScoringError) == (
            f"{out}/manifest.json cannot be used: {why}; delete it, and start the same command again, to write it anew"
        )
    (out / "manifest.json").unlink()
    assert run(pictures, out, part_rows=40)["run"]["rows"] == 0
    assert files_of(out) == files_of(finished)


def test_a_list_of_units_that_is_damaged_while_the_job_runs(
    tmp_path: Path, pictures: Path, run: Score, finished: Path
) -> None:
    out = tmp_path / "out"
    path = out / "job" / "units.jsonl"
    said = f"{path} was damaged, at unit 3: start the same command again, to write it anew"

    def damage(done: int, total: int) -> None:
        if done == 80:
            path.write_bytes(path.read_bytes().replace(b"0120.png", b"0120.\xffng"))

    message = refused(run, pictures, out, part_rows=40, progress=damage, error=ScoringError)
    assert message == f"{said}; 120 of 300 rows are done and kept: start the same command again to go on"
    for line in (
        b"",
        DEEP.encode(),
        b"[]",
        b'{"rows": "40", "files": []}',
        b'{"rows": 40, "files": 7}',
        b'{"rows": 1, "file": [1]}',
        b'{"rows": -1, "files": []}',
        b'{"rows": 1, "file": "a", "start": null}',
    ):
        path.write_bytes(line)
        assert refused(folder.read_unit_at, out, 3, 0, error=ScoringError) == said
    run(pictures, out, part_rows=40)  # the list is written anew, and nothing is lost
    assert files_of(out) == files_of(finished)


def test_a_part_whose_own_account_is_damaged(tmp_path: Path, pictures: Path, run: Score, finished: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    (out / "manifest.json").unlink()
    path = out / "parts" / "part-00007.parquet"
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"lenet_zoo"])
    for document in (
        "[]",
        DEEP,
        json.dumps({**about, "totals": 7}),
        json.dumps({**about, "totals": {**about["totals"], "labels": [1]}}),
        json.dumps({**about, "totals": {**about["totals"], "rows": None}}),
        json.dumps({**about, "totals": {**about["totals"], "labels": {"x": 1}}}),
    ):
        pq.write_table(table.replace_schema_metadata({"lenet_zoo": document}), path)
        assert refused(run, pictures, out, part_rows=40, error=ScoringError) == (
            f"{path} is not what this job wrote: delete it, and start the same command again"
        )
    path.unlink()
    run(pictures, out, part_rows=40)
    assert files_of(out) == files_of(finished)


def test_a_part_in_which_a_bit_was_flipped(tmp_path: Path, pictures: Path, run: Score, finished: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    (out / "manifest.json").unlink()
    path = out / "parts" / "part-00002.parquet"
    good = path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(0).column(2)  # the confidences
    place = column.dictionary_page_offset + column.total_compressed_size // 2
    path.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
    assert refused(run, pictures, out, part_rows=40, error=ScoringError) == (
        f"{path} is not what this job wrote: delete it, and start the same command again"
    )


@pytest.mark.parametrize("model", ["digits.onnx", "lenet5_modern"])
def test_a_network_that_was_altered_in_a_jobs_folder(
    tmp_path: Path, network: Path, pictures: Path, run: Score, model: str
) -> None:
    out, asked = tmp_path / "out", str(network) if model == "digits.onnx" else model
    with pytest.raises(KeyboardInterrupt):
        run(pictures, out, model=asked, part_rows=40, progress=stop_after(100))
    path, described = out / "job" / "model.onnx", out / "job" / "job.json"
    good = path.read_bytes()
    path.write_bytes(good[:-2000] + bytes([good[-2000] ^ 1]) + good[-1999:])
    assert refused(run, pictures, out, model=asked, part_rows=40, error=ScoringError) == (
        f"{path} was damaged or altered since the job began: name another folder with --out, or begin anew with "
        "--overwrite"
    )
    job = json.loads(described.read_text("utf-8"))
    del job["onnx_sha256"]  # as earlier versions wrote it
    described.write_text(json.dumps(job))
    path.write_bytes(good)
    run(pictures, out, model=asked, part_rows=40)
    assert len(rows_of(out)) == 300


def test_names_that_are_not_utf_8(tmp_path: Path, digits: Digits, network: Path, run: Score) -> None:
    source, model = tmp_path / os.fsdecode(b"caf\xe9"), tmp_path / os.fsdecode(b"caf\xe9.onnx")
    try:
        source.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    shutil.copyfile(network, model)
    (source / os.fsdecode(b"\xff.png")).write_bytes(png(digits[0]))
    for _ in range(2):
        assert run(source, tmp_path / "out", model=str(model))["labelled"] == 1
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert (manifest["input"]["name"], manifest["model"]["name"]) == ("caf\\xe9", "caf\\xe9.onnx")
    assert [row["key"] for row in rows_of(tmp_path / "out")] == ["\\xff.png"]


def test_a_job_killed_as_it_began_is_begun_anew(tmp_path: Path, pictures: Path, run: Score) -> None:
    (tmp_path / "out" / "parts").mkdir(parents=True)  # what is left when the job's own folder was not yet in place
    (tmp_path / "out" / ".job-0123456789abcdef").mkdir()
    assert run(pictures, tmp_path / "out", part_rows=40)["run"]["rows"] == 300


@pytest.mark.parametrize("at", ["parts", "job"])
def test_a_job_killed_as_it_was_removed_is_begun_anew(
    tmp_path: Path, pictures: Path, run: Score, finished: Path, at: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)

    def killed(path: Any, **options: Any) -> None:
        if Path(path).parent == out and at in Path(path).name:
            min(path.iterdir()).unlink()
            raise KeyboardInterrupt
        whole(path, **options)

    whole = shutil.rmtree
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            run(pictures, out, part_rows=40, overwrite=True)
    assert not (out / "manifest.json").exists()  # it would say that all is there
    run(pictures, out, part_rows=40, overwrite=True)
    assert files_of(out) == files_of(finished)


def test_a_file_among_the_parts_that_is_none_is_found(
    tmp_path: Path, pictures: Path, run: Score, finished: Path
) -> None:
    """Whoever reads the folder of parts would have its rows, too."""
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    (out / "manifest.json").unlink()
    other = out / "parts" / "part-00008.parquet"
    shutil.copyfile(out / "parts" / "part-00007.parquet", other)
    assert refused(run, pictures, out, part_rows=40, error=ScoringError) == (
        f"{other} is not a part of this job: remove it, and start again"
    )
    assert not (out / "manifest.json").exists()
    other.unlink()
    run(pictures, out, part_rows=40)
    assert files_of(out) == files_of(finished)
