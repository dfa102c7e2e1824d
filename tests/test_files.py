"""A file written in one step is what open() would have made of it: its mode, its links, and names of full length."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lenet_zoo._files import atomic_path, one_writer, why_not_writable, write_atomic
from lenet_zoo.errors import ArtifactError, ScoringError, TrainingError
from lenet_zoo.export.checks import check_path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("old", [0o600, 0o640, 0o666])
def test_an_existing_file_keeps_its_mode_and_is_never_more_open(tmp_path: Path, old: int) -> None:
    target = tmp_path / "m.json"
    target.write_text("old")
    target.chmod(old)
    with atomic_path(target) as temporary:
        assert mode(temporary) & ~old == 0
        temporary.write_text("new")
    assert (target.read_text(), mode(target)) == ("new", old)


def test_a_new_file_gets_what_the_umask_leaves_and_nobody_sets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o027)
    try:
        # The umask is the whole process's: what other threads create meanwhile would have no umask at all.
        monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the umask was set"))
        assert mode(write_atomic(tmp_path / "m.json", "new")) == 0o640
    finally:
        monkeypatch.undo()
        os.umask(before)


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    for name, content in (("old.onnx", b"old"), ("missing.onnx", None)):
        file, link = tmp_path / "far" / name, tmp_path / name
        if content is not None:
            file.write_bytes(content)
        link.symlink_to(Path("far", name))
        assert write_atomic(link, b"new") == link
        assert link.is_symlink()
        assert file.read_bytes() == b"new"
    assert sorted(p.name for p in (tmp_path / "far").iterdir()) == ["missing.onnx", "old.onnx"]


@pytest.mark.parametrize("name", ["a" * 250 + ".json", "a." + "b" * 253, "é" * 127])
def test_a_name_as_long_as_the_disk_takes(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    assert write_atomic(target, "new").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_name_begins_with_the_stem_and_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "part-00001.parquet") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".part-00001-")
        assert temporary.suffix == ".parquet"


def test_what_cannot_be_written_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.iterdir())
    for name, says in (
        ("folder", "Is a directory"),
        ("pipe", "it is not a regular file"),
        ("round", "Too many levels of symbolic links"),
        ("file/m.json", "Not a directory"),
        ("none/m.json", "No such file or directory"),
    ):
        with pytest.raises(OSError, match=says) as caught:
            write_atomic(tmp_path / name, "new")
        assert caught.value.filename == str(tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


def interrupted(target: Path) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt


def test_an_interruption_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "m.json"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        interrupted(target)
    assert (target.read_text(), list(tmp_path.iterdir())) == ("old", [target])


def test_a_folder_has_one_writer_at_a_time(tmp_path: Path) -> None:
    with one_writer(tmp_path, TrainingError):
        with pytest.raises(ScoringError) as refusal, one_writer(tmp_path, ScoringError):
            pass
        with pytest.raises(TrainingError), one_writer(tmp_path, TrainingError):
            pass
    assert str(refusal.value) == (
        f"{tmp_path}: another process is at work there: wait until it is done, or name another folder"
    )
    assert list(tmp_path.iterdir()) == []
    with one_writer(tmp_path, TrainingError):
        pass


def test_a_folder_that_was_made_for_its_lock_goes_with_it_when_nothing_was_written(tmp_path: Path) -> None:
    with one_writer(tmp_path / "runs" / "empty", TrainingError):
        assert (tmp_path / "runs" / "empty").is_dir()
    with one_writer(tmp_path / "runs" / "full", TrainingError):
        (tmp_path / "runs" / "full" / "log").touch()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["full"]


def test_a_killed_process_is_no_longer_a_writer(tmp_path: Path) -> None:
    code = (
        "import sys, time; from lenet_zoo._files import one_writer; from lenet_zoo.errors import TrainingError\n"
        "with one_writer(sys.argv[1], TrainingError): print('holds', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        with pytest.raises(TrainingError), one_writer(tmp_path, TrainingError):
            pass
        process.kill()
    with one_writer(tmp_path, TrainingError):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link.svg").symlink_to(tmp_path / "there" / "f.svg")
    assert why_not_writable(tmp_path / "link.svg") == ""
    # Root may write everywhere.
    monkeypatch.setattr(os, "access", lambda folder, mode: folder != tmp_path / "there")
    why_not = f"the folder {tmp_path / 'there'} cannot be written to"
    assert [why_not_writable(tmp_path / name) for name in ("link.svg", "f.svg")] == [why_not, ""]
    with pytest.raises(ArtifactError) as export:
        check_path(tmp_path / "there" / "m.onnx")
    assert str(export.value) == f"cannot write {tmp_path / 'there' / 'm.onnx'}: {why_not}"
