"""Reading media: folders of classes, tables that name files, archives beside them, Parquet; and what must never be read."""

from __future__ import annotations

import io
import json
import os
import shutil
import wave
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sartor.data import audit, fix
from sartor.data import source as sources
from sartor.data import table as tables
from sartor.data.dataset import Dataset, numbered, texts_of
from sartor.data.read import fingerprint, read, rows
from sartor.errors import InputError

CLASSES = ("cat", "dog")


def picture(number: int) -> bytes:
    """A PNM image of 2 × 2 pixels, unlike those of other numbers."""
    return b"P6\n2 2\n255\n" + bytes([number % 256, number // 256, 7] * 4)


def sound(number: int) -> bytes:
    packed = io.BytesIO()
    with wave.open(packed, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes([number % 256, 0] * 400))
    return packed.getvalue()


def by_class(prefix: str = "", make: Callable[[int], bytes] = picture, suffix: str = ".png") -> dict[str, bytes]:
    return {f"{prefix}{CLASSES[i % 2]}/{i:02}{suffix}": make(i) for i in range(8)}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Mapping[str, bytes | str]], Path]:
    def write_files(files: Mapping[str, bytes | str]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write_files


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def pairs(data: Dataset, column: str = "image") -> list[tuple[bytes, str]]:
    return list(zip(data.table.column(column).to_pylist(), data.table.column("label").to_pylist(), strict=True))


def code_of(source: Any, **asked: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(source, **asked)
    return caught.value.code


EXPECTED = sorted((picture(i), CLASSES[i % 2]) for i in range(8))
TABLE = "file,label\n" + "".join(f"pictures/{i:02}.png,{CLASSES[i % 2]}\n" for i in range(8))
PICTURES = {f"pictures/{i:02}.png": picture(i) for i in range(8)}


# folders of classes


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm"])
def test_images_in_folders_of_classes_are_kept_as_they_are(write: Callable[..., Path], suffix: str) -> None:
    data = read(write(by_class("d/", suffix=suffix)) / "d")
    assert sorted(pairs(data)) == EXPECTED
    assert data.table.schema.field("image").type == pa.large_binary()
    assert ([column.kind for column in data.schema.inputs], data.schema.targets[0].name) == (["image"], "label")


def test_sounds_in_folders_of_classes(write: Callable[..., Path]) -> None:
    data = read(write(by_class("d/", sound, ".wav")) / "d", input="audio", target="label")
    assert sorted(pairs(data, "audio")) == sorted((sound(i), CLASSES[i % 2]) for i in range(8))


@pytest.mark.parametrize("packed", [False, True])
def test_parts_above_the_classes(write: Callable[..., Path], tmp_path: Path, packed: bool) -> None:
    files = by_class("top/train/") | by_class("top/test/") | {"top/unlabelled/1.png": picture(99), "top/README.md": "a"}
    if packed:
        (tmp_path / "d.zip").write_bytes(zipped(files))
    else:
        write({f"d/{name}": content for name, content in files.items()})
    data = read(tmp_path / ("d.zip" if packed else "d"))
    assert data.given_parts == ("train", "test", "unlabelled")
    assert len(data.rows_of("train")) == len(data.rows_of("test")) == 8
    assert pairs(data)[-1] == (picture(99), None)
    assert not data.set_aside


def test_a_folder_without_classes_serves_as_the_unlabelled_part(write: Callable[..., Path], tmp_path: Path) -> None:
    write(by_class("d/") | {"more/1.png": picture(50), "more/deep/2.png": picture(51), "more/notes.txt": "about"})
    data = read({"train": tmp_path / "d", "unlabelled": tmp_path / "more"})
    assert [pairs(data)[row] for row in data.rows_of("unlabelled")] == [(picture(50), None), (picture(51), None)]
    assert [item.file.rsplit("/", 1)[1] for item in data.set_aside] == ["notes.txt"]
    (tmp_path / "rows.csv").write_text(TABLE)
    write(PICTURES)
    data = read({"train": tmp_path / "rows.csv", "unlabelled": tmp_path / "more"})
    assert pairs(data, "file")[-2:] == [(picture(50), None), (picture(51), None)]


def test_what_is_empty_or_too_large_is_set_aside(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_MEDIA_BYTES", 1 << 20)
    folder = write(by_class("d/") | {"d/cat/empty.png": b"", "d/dog/large.png": picture(1) + bytes(1 << 20)}) / "d"
    data = read(folder)
    assert sorted(pairs(data)) == EXPECTED
    reasons = {item.file.rsplit("/", 1)[1]: item.reason for item in data.set_aside}
    assert reasons == {"empty.png": "is empty", "large.png": "is larger than 1 MB"}


def test_what_most_files_are_is_read_and_the_others_are_counted(write: Callable[..., Path]) -> None:
    strays = {"d/cat/a.txt": "a cat", "d/dog/b.wav": sound(1), "d/dog/c.heic": b"heic", "d/dog/deep/d.png": picture(9)}
    data = read(write(by_class("d/") | strays | {"d/cat/Thumbs.db": b"x", "d/cat/readme.txt": "about"}) / "d")
    assert sorted(pairs(data)) == EXPECTED
    assert sorted(item.file.rsplit("/", 1)[1] for item in data.set_aside) == ["a.txt", "b.wav", "c.heic", "d.png"]
    assert "4 set aside" in data.notes[0]


def test_texts_stay_texts_where_they_are_the_most(write: Callable[..., Path]) -> None:
    texts = {f"d/{CLASSES[i % 2]}/{i}.txt": f"the animal number {i} is here" for i in range(8)}
    data = read(write(texts | {"d/cat/1.png": picture(1), "d/cat/list.json": "[]"}) / "d")
    assert data.table.column_names == ["text", "label"]
    assert [item.file.rsplit("/", 1)[1] for item in data.set_aside] == ["1.png"]


def test_a_damaged_member_of_an_archive_costs_its_row_only(tmp_path: Path) -> None:
    packed = bytearray(zipped(by_class()))
    place = packed.find(picture(3))
    packed[place + 20] ^= 0xFF
    (tmp_path / "d.zip").write_bytes(packed)
    data = read(tmp_path / "d.zip", cache=tmp_path / "cache")
    assert len(data) == 7
    assert "Bad CRC-32" in data.set_aside[0].reason


@pytest.mark.parametrize("damage", ["lzma", "bzip2", "deflate"])
def test_a_damaged_member_costs_its_row_only_however_it_was_packed(tmp_path: Path, damage: str) -> None:
    method = {"lzma": zipfile.ZIP_LZMA, "bzip2": zipfile.ZIP_BZIP2, "deflate": zipfile.ZIP_DEFLATED}[damage]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in by_class().items():
            archive.writestr(name, content + bytes(range(256)))
        place = archive.getinfo("dog/03.png").header_offset + 30 + len("dog/03.png")
    data = bytearray(packed.getvalue())
    data[place + 20 : place + 60] = b"\xff" * 40
    (tmp_path / "d.zip").write_bytes(data)
    found = read(tmp_path / "d.zip")
    assert len(found) == 7
    assert "cannot be read" in found.set_aside[0].reason


# links and names


def test_links_out_of_a_folder_of_classes_are_left_out_and_named(write: Callable[..., Path], tmp_path: Path) -> None:
    write({"away/secret.png": b"P6 secret", "away/more/1.png": b"P6 more"} | by_class("d/"))
    (tmp_path / "d/cat/linked.png").symlink_to(tmp_path / "away/secret.png")
    (tmp_path / "d/bird").symlink_to(tmp_path / "away/more")
    (tmp_path / "d/dog/inside.png").symlink_to("01.png")
    data = read(tmp_path / "d")
    assert sorted(pairs(data)) == sorted([*EXPECTED, (picture(1), "dog")])
    assert {(item.file.rsplit("/", 1)[1], item.reason) for item in data.set_aside} == {
        ("linked.png", "is a link out of the folder"),
        ("bird", "is a link to a folder, which is not followed"),
    }


def test_a_table_that_is_a_link_out_of_the_folder_is_not_read(write: Callable[..., Path], tmp_path: Path) -> None:
    write({"away/test.csv": TABLE, "d/train.csv": "text,label\n" + "where is it,a\nhow is it,b\n" * 6})
    (tmp_path / "d/test.csv").symlink_to(tmp_path / "away/test.csv")
    data = read(tmp_path / "d")
    assert data.given_parts == ("train",)
    assert "left out: test.csv is a link out of the folder" in data.notes[0]
    (tmp_path / "d/train.csv").unlink()
    with pytest.raises(
        InputError, match=r"no files beside 1 that is left out \(test.csv is a link out of the folder\)"
    ):
        read(tmp_path / "d")


def test_a_folder_inside_a_copy_in_the_hubs_cache_is_made_of_links_too(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    for number, (name, content) in enumerate(by_class("snapshots/0123/pictures/").items()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "blobs" / str(number)).write_bytes(content)
        (tmp_path / name).symlink_to(tmp_path / "blobs" / str(number))
    for source in ("snapshots/0123", "snapshots/0123/pictures"):
        assert sorted(pairs(read(tmp_path / source))) == EXPECTED


def test_a_folder_that_cannot_be_listed_is_an_error(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(by_class("d/") | {"d/bird/1.png": picture(1)})
    listed = os.scandir

    def scandir(place: Any) -> Any:
        if str(place).endswith("bird"):
            raise PermissionError(13, "Permission denied", str(place))
        return listed(place)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match="bird cannot be opened: Permission denied") as caught:
        read(tmp_path / "d")
    assert caught.value.code == "data.system"


def test_names_that_are_not_utf8_do_no_harm_but_those_of_classes_are_refused(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    write(by_class("d/"))
    odd = os.fsencode(tmp_path / "d/cat") + b"/caf\xe9.png"
    Path(os.fsdecode(odd)).write_bytes(picture(50))
    for _ in range(2):  # the second time from the cache
        data = read(tmp_path / "d", cache=tmp_path / "cache")
        assert (picture(50), "cat") in pairs(data)
        json.dumps(data.names["image"], ensure_ascii=False).encode()
    folder = Path(os.fsdecode(os.fsencode(tmp_path / "d") + b"/\xe9t\xe9"))
    folder.mkdir()
    (folder / "1.png").write_bytes(picture(51))
    with pytest.raises(InputError, match=r"is not UTF-8.*Rename it") as caught:
        read(tmp_path / "d")
    assert caught.value.code == "data.name"
    str(caught.value).encode()
    shutil.rmtree(folder)
    write({"e/rows.csv": TABLE.encode(), **{f"e/{name}": content for name, content in PICTURES.items()}})
    moved = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    (tmp_path / "e").rename(moved)
    for source in (moved, moved / "rows.csv"):
        data = read(source, cache=tmp_path / "cache")
        assert pairs(data, "file") == [(picture(i), CLASSES[i % 2]) for i in range(8)]
        json.dumps([data.source, data.notes, data.files], ensure_ascii=False).encode()


# tables that name files


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_a_table_of_metadata_beside_the_images(write: Callable[..., Path], name: str) -> None:
    records = [{"file_name": f"{CLASSES[i % 2]}/{i:02}.png", "label": CLASSES[i % 2], "weight": i} for i in range(8)]
    if name.endswith(".csv"):
        content = "file_name,label,weight\n" + "".join(",".join(map(str, record.values())) + "\n" for record in records)
    else:
        content = "\n".join(map(json.dumps, records))
    data = read(write(by_class("d/") | {f"d/{name}": content}) / "d", target="label")
    assert data.table.column_names == ["image", "label", "weight"]
    assert sorted(pairs(data)) == EXPECTED


def test_a_table_of_metadata_in_the_folder_of_each_part(write: Callable[..., Path]) -> None:
    lines = "".join(f"{i:02}.png,{CLASSES[i % 2]}\n" for i in range(8))
    files = {f"d/{part}/{i:02}.png": picture(i) for part in ("train", "test") for i in range(8)}
    files |= {f"d/{part}/metadata.csv": ("file_name,label\n" + lines).encode() for part in ("train", "test")}
    data = read(write(files) / "d")
    assert data.given_parts == ("train", "test")
    assert sorted(pairs(data)) == sorted(EXPECTED * 2)


def test_a_table_that_names_the_images_below_it_goes_before_their_folders(write: Callable[..., Path]) -> None:
    lines = "".join(f"{CLASSES[i % 2]}/{i:02}.png,{CLASSES[i % 2]},{i}\n" for i in range(8))
    data = read(write(by_class("d/") | {"d/all.csv": "image,label,weight\n" + lines}) / "d", target="label")
    assert data.table.column_names == ["image", "label", "weight"]
    assert sorted(pairs(data)) == EXPECTED
    other = read(write(by_class("e/") | {"e/classes.csv": "number,name\n0,cat\n1,dog\n"}) / "e")
    assert other.table.column_names == ["image", "label"]


@pytest.mark.parametrize("form", ["csv", "tsv", "utf-16", "jsonl", "parquet"])
def test_a_column_of_paths_becomes_what_the_files_hold(write: Callable[..., Path], tmp_path: Path, form: str) -> None:
    write(PICTURES)
    names, labels = list(PICTURES), [CLASSES[i % 2] for i in range(8)]
    path = tmp_path / f"rows.{'csv' if form == 'utf-16' else form}"
    if form == "parquet":
        pq.write_table(pa.table({"file": names, "label": labels}), path)
    elif form == "jsonl":
        path.write_text("".join(json.dumps({"file": n, "label": x}) + "\n" for n, x in zip(names, labels, strict=True)))
    else:
        path.write_text(TABLE.replace(",", "\t" if form == "tsv" else ","), "utf-16" if form == "utf-16" else "utf-8")
    data = read(path)
    assert data.table.column_names == ["file", "label"]
    assert pairs(data, "file") == [(picture(i), CLASSES[i % 2]) for i in range(8)]
    assert "files named in file (image)" in data.notes[0]
    assert rows(path)[0] == {"file": picture(0), "label": "cat"}


@pytest.mark.parametrize("members", ["pictures/", "", "other/pictures/"])
def test_files_are_found_in_an_archive_beside_the_table(write: Callable[..., Path], members: str) -> None:
    inside = {members + name.removeprefix("pictures/"): content for name, content in PICTURES.items()}
    folder = write({"d/pictures.zip": zipped(inside), "d/unrelated.zip": b"PK no archive", "d/rows.csv": TABLE}) / "d"
    for source in (folder / "rows.csv", folder):
        assert sorted(pairs(read(source), "file")) == EXPECTED


def test_a_table_in_an_archive_names_its_members(tmp_path: Path) -> None:
    files = {f"top/{name}": content for name, content in PICTURES.items()}
    (tmp_path / "d.zip").write_bytes(zipped(files | {"top/tables/rows.csv": TABLE}))
    assert sorted(pairs(read(tmp_path / "d.zip"), "file")) == EXPECTED


def test_paths_as_windows_writes_them(write: Callable[..., Path]) -> None:
    folder = write(PICTURES | {"rows.csv": TABLE.replace("pictures/", ".\\pictures\\")})
    assert sorted(pairs(read(folder / "rows.csv"), "file")) == EXPECTED


def test_a_cell_without_a_name_has_no_image(write: Callable[..., Path]) -> None:
    data = read(write(PICTURES | {"rows.csv": TABLE + ",cat\n"}) / "rows.csv")
    assert pairs(data, "file")[-1] == (None, "cat")
    assert not data.set_aside


def test_a_file_that_is_missing_costs_its_row_and_most_are_an_error(write: Callable[..., Path]) -> None:
    folder = write(PICTURES | {"rows.csv": TABLE + "pictures/nowhere.png,cat\n", "other.zip": zipped({"a.txt": "a"})})
    data = read(folder / "rows.csv")
    assert [(item.line, item.reason) for item in data.set_aside] == [
        (10, "names 'pictures/nowhere.png', which is not there")
    ]
    (folder / "bad.csv").write_text(TABLE.replace("pictures", "images"))
    with pytest.raises(InputError, match="8 of the 8 files") as caught:
        read(folder / "bad.csv")
    assert caught.value.code == "data.media-missing"
    assert str(folder) in str(caught.value)
    assert "other.zip" in str(caught.value)


MENTIONS = "file,text,label\n" + "".join(
    f"scan_{i:02}.png,it is animal number {i} that was seen,{CLASSES[i % 2]}\n" for i in range(8)
)


def test_a_table_that_only_mentions_files_is_one_of_texts(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write({"d/rows.csv": MENTIONS}) / "d/rows.csv"
    for _ in range(2):
        data = read(path, cache=tmp_path / "cache")
        assert data.table.column("file").to_pylist()[0] == "scan_00.png"
        assert [column.name for column in data.schema.inputs] == ["text"]
        assert "no file that 'file' names is there, so it is text" in data.notes[0]
        with pytest.raises(InputError, match="8 of the 8 files that 'file'") as caught:
            read(path, input="file", target="label", cache=tmp_path / "cache")
        assert caught.value.code == "data.media-missing"
    write({"d/scan_00.png": picture(0)})
    with pytest.raises(InputError, match="7 of the 8 files"):
        read(path, cache=tmp_path / "cache")


def test_where_other_parts_have_their_files_those_of_one_may_not_be_missing(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    write(PICTURES | {"train.csv": TABLE, "test.csv": TABLE.replace("pictures", "nowhere")})
    with pytest.raises(InputError, match=r"test.csv.*cannot be had") as caught:
        read({"train": tmp_path / "train.csv", "test": tmp_path / "test.csv"})
    assert caught.value.code == "data.media-missing"


@pytest.mark.parametrize(
    "name", ["{outside}/secret.png", "../secret.png", "pictures/../../secret.png", "C:\\secret.png"]
)
def test_a_path_out_of_the_folder_is_never_read(write: Callable[..., Path], tmp_path: Path, name: str) -> None:
    write({"secret.png": b"P6 secret", **{f"d/{path}": content for path, content in PICTURES.items()}})
    (tmp_path / "d/rows.csv").write_text(TABLE + name.format(outside=tmp_path) + ",cat\n")
    data = read(tmp_path / "d/rows.csv")
    assert b"P6 secret" not in data.table.column("file").to_pylist()
    assert "outside" in data.set_aside[0].reason


@pytest.mark.parametrize("whole", [False, True])
def test_a_link_out_of_the_folder_is_never_followed(write: Callable[..., Path], tmp_path: Path, whole: bool) -> None:
    write({"away/secret.png": b"P6 secret", **{f"d/{path}": content for path, content in PICTURES.items()}})
    name = "linked/secret.png" if whole else "pictures/secret.png"
    (tmp_path / "d" / ("linked" if whole else name)).symlink_to(tmp_path / "away" / ("" if whole else "secret.png"))
    (tmp_path / "d/rows.csv").write_text(TABLE + f"{name},cat\n")
    data = read(tmp_path / "d/rows.csv")
    assert len(data) == 8
    assert "outside" in data.set_aside[0].reason
    os.symlink("00.png", tmp_path / "d/pictures/inside.png")
    (tmp_path / "d/rows.csv").write_text(TABLE + "pictures/inside.png,cat\n")
    assert len(read(tmp_path / "d/rows.csv")) == 9


def test_a_copy_in_the_hubs_cache_is_made_of_links(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0123"
    (snapshot / "pictures").mkdir(parents=True)
    blobs.mkdir()
    for name, content in (PICTURES | {"metadata.csv": TABLE.encode().replace(b"file,", b"file_name,")}).items():
        blob = blobs / name.replace("/", "-")
        blob.write_bytes(content)
        (snapshot / name).symlink_to(blob)
    assert sorted(pairs(read(snapshot))) == EXPECTED


@pytest.mark.parametrize(
    "value", ["https://example.org/{i}.jpg", "see the picture {i}.jpg for more of it today, please!"]
)
def test_what_names_no_file_stays_text(write: Callable[..., Path], value: str) -> None:
    lines = "".join(f'"it is animal {i}, as you see","{value.format(i=i)}",{CLASSES[i % 2]}\n' for i in range(8))
    data = read(write({"rows.csv": "text,where,label\n" + lines}) / "rows.csv", input="text", target="label")
    assert data.table.column("where").to_pylist()[0] == value.format(i=0)


# Parquet


def test_images_as_the_hub_writes_them_into_parquet(tmp_path: Path) -> None:
    images = [{"bytes": picture(i), "path": f"{i}.png"} for i in range(7)] + [{"bytes": None, "path": "7.png"}]
    table = pa.table({"image": images, "name": [f"{i}.png" for i in range(8)], "label": list(CLASSES) * 4})
    pq.write_table(table, tmp_path / "a.parquet")
    data = read(tmp_path / "a.parquet", input="image", target="label")
    assert pairs(data) == [(picture(i) if i < 7 else None, CLASSES[i % 2]) for i in range(8)]
    assert data.table.column("name").to_pylist()[0] == "0.png"


def test_bytes_that_begin_with_nothing_are_still_bytes(tmp_path: Path) -> None:
    values = [None] * 300 + [b"\xff\xd8\xff" + bytes([i % 256]) for i in range(300)]
    pq.write_table(
        pa.table({"image": values, "text": [b"words"] * 600, "label": list(CLASSES) * 300}), tmp_path / "a.parquet"
    )
    data = read(tmp_path / "a.parquet", input="image", target="label")
    assert data.table.column("image").to_pylist() == values
    assert data.table.schema.field("text").type == pa.large_string()


# what is done with columns of bytes


def test_a_part_that_lacks_the_column_gets_it_empty(write: Callable[..., Path], tmp_path: Path) -> None:
    write(PICTURES | {"train.csv": TABLE.replace("file,label", "file,other,label").replace(".png,", ".png,1,")})
    (tmp_path / "test.csv").write_text("other,label\n" + "1,cat\n2,dog\n" * 4)
    data = read({"train": tmp_path / "train.csv", "unlabelled": tmp_path / "test.csv"}, input="file", target="label")
    assert data.table.column("file").to_pylist()[8:] == [None] * 8


def test_media_and_texts_in_one_column_are_bytes(write: Callable[..., Path], tmp_path: Path) -> None:
    write(PICTURES | {"train.csv": TABLE, "test.csv": "file,label\n" + "a word,cat\nno path,dog\n" * 2})
    data = read({"train": tmp_path / "train.csv", "test": tmp_path / "test.csv"}, input="file", target="label")
    assert data.table.column("file").to_pylist()[8:10] == [b"a word", b"no path"]


def test_the_fingerprint_hangs_on_the_bytes_and_not_on_where_they_lay(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    write({f"d/{name}": content for name, content in by_class().items()})
    folder = read(tmp_path / "d")
    table = pa.table({"image": [image for image, _ in pairs(folder)], "label": [label for _, label in pairs(folder)]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").fingerprint == folder.fingerprint
    write({"d/cat/00.png": picture(77)})
    assert read(tmp_path / "d").fingerprint != folder.fingerprint
    part = np.zeros(2, dtype=np.int8)
    holes = [pa.table({"a": pa.array(values, pa.large_binary())}) for values in ([None, b"x"], [b"", b"x"])]
    assert fingerprint(holes[0], part) != fingerprint(holes[1], part)


def test_the_fingerprint_of_texts_is_what_it_was_before_there_were_media() -> None:
    table = pa.table({"text": pa.array(["a", None, "你好"], pa.large_string()), "n": [1, 2, 3], "x": [0.5, None, 2.0]})
    told = fingerprint(table, np.array([0, 1, -1], dtype=np.int8))
    assert told == "b9293f68089ef4d9a4d463396a03de6cdb1e0af74e3adc2d12841f2f3c2f6ffc"


def test_the_cache_hangs_on_every_file_that_was_read(write: Callable[..., Path], tmp_path: Path) -> None:
    write({f"a/{name}": content for name, content in by_class().items()})
    write({f"b/{name}": content for name, content in PICTURES.items()} | {"b/rows.csv": TABLE})
    write({"c/pictures.zip": zipped(PICTURES), "c/rows.csv": TABLE})
    cache = tmp_path / "cache"
    for source, changed, column in (("a", "a/cat/00.png", "image"), ("b/rows.csv", "b/pictures/00.png", "file")):
        assert picture(0) in read(tmp_path / source, cache=cache).table.column(column).to_pylist()
        write({changed: picture(200)})
        found = read(tmp_path / source, cache=cache).table.column(column).to_pylist()
        assert picture(200) in found
        assert picture(0) not in found
    assert picture(0) in read(tmp_path / "c/rows.csv", cache=cache).table.column("file").to_pylist()
    write({"c/pictures.zip": zipped(PICTURES | {"pictures/00.png": picture(201)})})
    assert picture(201) in read(tmp_path / "c/rows.csv", cache=cache).table.column("file").to_pylist()
    assert len(list(cache.glob("*.arrow"))) == 6


def test_many_batches_make_one_memory_mapped_chunk_in_order(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BATCH_BYTES", 100)
    lines = "".join(f"pictures/{i:02}.png,{CLASSES[i % 2]}\n" for i in [*range(8), 99, *range(8)])
    write(PICTURES | {"rows.csv": "file,label\n" + lines})
    plain, cached = read(tmp_path / "rows.csv"), read(tmp_path / "rows.csv", cache=tmp_path / "cache")
    before = pa.total_allocated_bytes()
    again = read(tmp_path / "rows.csv", cache=tmp_path / "cache")
    assert pa.total_allocated_bytes() - before < 1000
    for data in (plain, cached, again):
        assert data.table.column("file").num_chunks == 1
        assert pairs(data, "file") == [(picture(i), CLASSES[i % 2]) for i in [*range(8), *range(8)]]
        assert [item.line for item in data.set_aside] == [10]


def test_bytes_are_told_by_their_digest_where_text_is_wanted(write: Callable[..., Path]) -> None:
    data = read(write(PICTURES | {"rows.csv": TABLE + "pictures/00.png,cat\n,dog\n"}) / "rows.csv")
    found = texts_of(data, np.arange(len(data)), ["file"])["file"]
    assert found[0] == found[8]
    assert found[9] is None
    assert len(set(found)) == 9
    codes, names = numbered(data.table.column("file"))
    assert codes[0] == codes[8]
    assert codes[9] == -1
    assert len(names) == 8


def test_an_archive_is_opened_once_for_all_rows(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write({"pictures.zip": zipped(PICTURES), "rows.csv": TABLE})
    opened = []
    archive = sources._archive
    monkeypatch.setattr(sources, "_archive", lambda path: opened.append(path) or archive(path))
    read(folder / "rows.csv")
    assert len(opened) == 1


def test_rows_know_what_their_files_are_called_and_what_is_written_names_them(tmp_path):
    rng = np.random.default_rng(0)

    def detailed() -> bytes:
        return b"P6\n24 24\n255\n" + rng.integers(0, 255, 24 * 24 * 3, dtype=np.uint8).tobytes()

    root = tmp_path / "pictures"
    for label in CLASSES:
        (root / label).mkdir(parents=True)
        for number in range(6):
            (root / label / f"{number}.ppm").write_bytes(detailed())
    (root / "dog" / "again.ppm").write_bytes((root / "dog" / "2.ppm").read_bytes())
    dataset = read(root, cache=tmp_path / "cache")
    assert read(root, cache=tmp_path / "cache").names == dataset.names
    assert sorted(dataset.names["image"])[:2] == ["cat/0.ppm", "cat/1.ppm"]
    findings = audit.audit(dataset, target="label", task="classify")
    repeated = next(finding for finding in findings if finding.code == "audit.duplicate")
    assert "dog/again.ppm" in repeated.message
    cleaned, touches = fix.clean(dataset, findings)
    assert len(touches) == 1
    fix.write(cleaned, touches, root / "clean.csv")
    again = read(root / "clean.csv")
    assert len(again) == 12
    assert sorted(again.names["image"]) == sorted(cleaned.names["image"])
    assert again.table.column("image").to_pylist() == cleaned.table.column("image").to_pylist()
