"""Capture files: whole lines in blocks, unfinished ones left waiting, damage told clearly."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipelines.cdc.capture import CaptureFile, Lines, find_captures, read_lines
from pipelines.errors import LakehouseError, UsageError
from tests.unit.events import TOPIC, Lake, packed, thing, things


def written(folder: Path, data: bytes, name: str = "a.jsonl") -> CaptureFile:
    path = folder / "inbox" / TOPIC / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed(data, path.suffix))
    return CaptureFile(TOPIC, path)


def numbered(blocks: list[Lines]) -> dict[int, bytes]:
    """Line number → line, of all blocks."""
    found: dict[int, bytes] = {}
    for block in blocks:
        texts = [text.encode() for text in block.text.to_pylist()]
        for number, line in [*zip(block.numbers.to_pylist(), texts, strict=True), *block.not_utf8]:
            assert number not in found
            found[number] = line.removesuffix(b"\n")
    return dict(sorted(found.items()))


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1 << 20])
def test_lines_are_whole_wherever_blocks_are_cut(
    tmp_path: Path, name: str, block_bytes: int
) -> None:
    lines = ['{"a":"é🧀"}'.encode(), b"{}", b"", b'{"b":' + b"1" * 200 + b"}", b"broken \xff", b"x"]
    file = written(tmp_path, b"\n".join(lines) + b"\n", name)
    blocks = list(read_lines(file, block_bytes))
    assert numbered(blocks) == dict(enumerate(lines, start=1))
    assert [block.at_end for block in blocks] == [False] * (len(blocks) - 1) + [True]
    assert blocks[-1].waiting_bytes == 0


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_an_empty_file_has_no_line(tmp_path: Path, name: str) -> None:
    (block,) = read_lines(written(tmp_path, b"", name))
    assert (len(block), block.at_end, block.waiting_bytes) == (0, True, 0)


def test_a_file_of_several_compressed_pieces_is_read_to_its_end(tmp_path: Path) -> None:
    file = written(tmp_path, b"", "a.jsonl.gz")
    file.path.write_bytes(gzip.compress(b'{"a":1}\n{"b"') + gzip.compress(b":2}\n"))
    assert numbered(list(read_lines(file))) == {1: b'{"a":1}', 2: b'{"b":2}'}
    file = written(tmp_path, b"", "b.jsonl.zst")
    file.path.write_bytes(packed(b'{"a":1}\n', ".zst") + packed(b'{"b":2}\n', ".zst"))
    assert numbered(list(read_lines(file))) == {1: b'{"a":1}', 2: b'{"b":2}'}


def test_a_last_line_without_line_end_counts_when_it_is_whole(tmp_path: Path) -> None:
    blocks = list(read_lines(written(tmp_path, b'{"a":1}\n{"b":2}'), 4))
    assert numbered(blocks) == {1: b'{"a":1}', 2: b'{"b":2}'}
    assert blocks[-1].waiting_bytes == 0


@pytest.mark.parametrize("rest", [b'{"b":', b'{"b":"\xc3', b"  "])
def test_an_unfinished_last_line_waits(tmp_path: Path, rest: bytes) -> None:
    blocks = list(read_lines(written(tmp_path, b'{"a":1}\n' + rest)))
    assert numbered(blocks) == {1: b'{"a":1}'}
    assert blocks[-1].waiting_bytes == len(rest)


def test_lines_that_are_no_utf8_are_kept_as_bytes_with_their_number(tmp_path: Path) -> None:
    (first, _) = read_lines(written(tmp_path, b'{"a":1}\n\xff\xfe\n{"c":3}\n'))
    assert first.not_utf8 == [(2, b"\xff\xfe")]
    assert first.numbers.to_pylist() == [1, 3]
    assert len(first) == 3


def test_an_unfinished_line_lands_once_it_is_whole_and_is_counted_once(lake: Lake) -> None:
    whole = thing(2)
    lake.write([*things(0, 1), whole[:-20]], end=b"")
    report = lake.land()
    assert (report.landed, report.topics[TOPIC].waiting_bytes) == (2, len(whole) - 20)
    report = lake.land()
    assert (report.landed, report.topics[TOPIC].waiting_bytes) == (0, len(whole) - 20)
    lake.write([*things(0, 1), whole], end=b"")
    assert lake.land().landed == 1
    lake.write([*things(0, 1), whole, thing(3)])
    assert lake.land().landed == 1
    assert lake.offsets() == [0, 1, 2, 3]
    assert lake.counts() == {"consumed": 4, "landed": 4}
    assert lake.letters() == []


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_compressed_capture_lands_like_a_plain_one(lake: Lake, name: str) -> None:
    lake.write(things(0, 3), name=name)
    lake.land()
    assert lake.offsets() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("damage", ["not compressed", "cut off"])
def test_a_damaged_file_is_told_by_name_and_lands_once_it_is_whole(
    lake: Lake, name: str, damage: str
) -> None:
    path = lake.write(things(0, 3), name=name)
    path.write_bytes(b"plain text\n" if damage == "not compressed" else path.read_bytes()[:-6])
    with pytest.raises(LakehouseError) as caught:
        lake.land()
    assert str(path) in caught.value.cause
    assert "copy it again" in caught.value.remedy
    lake.write(things(0, 3), name=name)
    lake.land()
    assert lake.offsets() == [0, 1, 2, 3]
    lake.assert_reconciled()


def test_a_folder_in_the_place_of_a_file_cannot_be_read(lake: Lake) -> None:
    (lake.inbox / TOPIC / "a.jsonl").mkdir(parents=True)
    with pytest.raises(LakehouseError, match="cannot be read"):
        lake.land()


def test_a_folder_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none does not exist.*shop capture"):
        find_captures(tmp_path / "none")


def test_a_file_in_the_place_of_the_folder_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file is not a folder"):
        find_captures(tmp_path / "file")


def test_a_capture_file_outside_of_a_topic_folder_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "astray.jsonl.gz").write_bytes(b"")
    with pytest.raises(UsageError, match=r"astray.jsonl.gz lies outside.*move it"):
        find_captures(tmp_path)


def test_captures_are_found_by_topic_and_name_and_nothing_else_is(tmp_path: Path) -> None:
    names = ["b/2.jsonl", "b/1.jsonl.zst", "a/9.jsonl.gz", "b/.3.jsonl", "b/readme.txt",
             "b/1.jsonl.part", ".git/1.jsonl", "c/deeper/1.jsonl"]  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "note.txt").write_text("")
    assert [file.name for file in find_captures(tmp_path)] == [
        "a/9.jsonl.gz",
        "b/1.jsonl.zst",
        "b/2.jsonl",
    ]


def test_a_copy_has_another_stamp_and_the_same_digest(tmp_path: Path) -> None:
    first = written(tmp_path / "1", b"{}\n")
    second = written(tmp_path / "2", b"{}\n")
    assert first.name == second.name
    assert first.digest() == second.digest()
    assert first.stamp() != second.stamp()
    assert first.stamp() == CaptureFile(TOPIC, first.path).stamp()
