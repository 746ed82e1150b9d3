"""Files are written whole or not at all."""

import os
import resource
from pathlib import Path

import pytest

from anyorder.core.errors import UserError
from anyorder.core.files import replacing, replacing_folder, write_text


def test_a_file_appears_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "out.txt"
    with replacing(target) as file:
        file.write("grüße\n")
        assert not target.exists()
    assert target.read_bytes() == "grüße\n".encode()
    assert os.listdir(target.parent) == ["out.txt"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError, OSError])
def test_after_a_failure_the_earlier_file_stands(tmp_path: Path, failure: type[BaseException]) -> None:
    target = tmp_path / "out.txt"
    write_text(target, "earlier")

    def write_half() -> None:
        with replacing(target) as file:
            file.write("half")
            raise failure("stopped")

    with pytest.raises((failure, UserError)):
        write_half()
    assert target.read_text() == "earlier"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    earlier = os.umask(0o022)
    try:
        write_text(tmp_path / "out.txt", "x")
    finally:
        os.umask(earlier)
    assert (tmp_path / "out.txt").stat().st_mode & 0o777 == 0o644


def test_a_link_keeps_pointing_at_the_file_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_device_is_one_clear_line() -> None:
    with pytest.raises(UserError, match="cannot write /dev/full: no space left on device"):
        write_text("/dev/full", "x")
    assert os.path.exists("/dev/full")
    assert not os.path.isfile("/dev/full")


def test_a_disk_that_fills_up_keeps_the_earlier_file(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"earlier")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(UserError, match=r"cannot write .*out\.bin"), replacing(target, binary=True) as file:
            file.write(bytes(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_bytes() == b"earlier"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_a_folder_and_a_file_in_the_way_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it is a folder"):
        write_text(tmp_path, "x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot write"):
        write_text(tmp_path / "file" / "out.txt", "x")


def test_an_error_about_another_file_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "out.txt"):
        (tmp_path / "missing").read_text()
    assert os.listdir(tmp_path) == []


def whole(folder: Path) -> bool:
    return (folder / "mark").is_file()


def test_a_folder_appears_whole_and_replaces_an_earlier_one(tmp_path: Path) -> None:
    target = tmp_path / "above" / "out"
    for text in ("first", "second"):
        with replacing_folder(target, "write", ours=whole) as new:
            (new / "mark").write_text(text)
            (new / text).touch()
            assert not target.exists() or (target / "mark").read_text() == "first"
        assert sorted(os.listdir(target)) == sorted(["mark", text])
        assert os.listdir(target.parent) == ["out"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError, OSError(28, "No space left on device")])
@pytest.mark.parametrize("while_writing", [True, False])
def test_after_a_failure_the_earlier_folder_stands(
    tmp_path: Path, failure: BaseException, while_writing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is written, or between the two renames, when neither folder has the name."""
    target = tmp_path / "out"
    target.mkdir()
    (target / "mark").write_text("earlier")
    rename = os.rename

    def not_the_new_one(source: Path, destination: Path) -> None:
        if source.suffix == ".tmp":
            raise failure
        rename(source, destination)

    monkeypatch.setattr(os, "rename", not_the_new_one)

    def write() -> None:
        with replacing_folder(target, "write", ours=whole) as new:
            (new / "mark").write_text("half")
            if while_writing:
                raise failure

    with pytest.raises((KeyboardInterrupt, ValueError, UserError)) as raised:
        write()
    if isinstance(failure, OSError):
        assert str(raised.value) == f"cannot write {target}: no space left on device"
    assert (target / "mark").read_text() == "earlier"
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name, match in (("other", "holds other files"), ("file", "it is a file")):
        with pytest.raises(UserError, match=match), replacing_folder(tmp_path / name, "write", ours=whole):
            raise AssertionError("the block must not run")
    assert (tmp_path / "other" / "notes").read_text() == (tmp_path / "file").read_text() == "mine"
