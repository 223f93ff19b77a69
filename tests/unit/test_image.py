"""Images: every format and mode, everything that may be wrong with a file, and copies that are found while other pictures are not."""

from __future__ import annotations

import base64
import io
import random
import struct
import warnings
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sartor.data import near, read, split
from sartor.errors import RowError
from sartor.modality import image as modality

Image = pytest.importorskip("PIL.Image")
ImageEnhance = pytest.importorskip("PIL.ImageEnhance")
# Pytest undoes the filter that is set when Pillow is first used.
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("UserWarning", "RuntimeWarning")]


def scene(seed: int = 0, width: int = 96, height: int = 64) -> np.ndarray:
    """A picture [height, width, 3] of coloured shapes on a sky: smooth in places, with edges in others."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0:height, 0:width] / [[[height]], [[width]]]
    pixels = np.empty((height, width, 3))
    for channel in range(3):
        pixels[..., channel] = rng.uniform(60, 200) + rng.uniform(-60, 60) * down + rng.uniform(-60, 60) * across
    for _ in range(14):
        y, x, size, tall = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.04, 0.22), rng.uniform(0.5, 2)
        inside = ((down - y) / tall) ** 2 + (across - x) ** 2 < size**2
        pixels[inside] = rng.uniform(0, 255, 3)
    return np.clip(pixels + rng.normal(0, 2, pixels.shape), 0, 255).astype(np.uint8)


def packed(pixels, kind="PNG", **asked):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, kind, **asked)
    return file.getvalue()


def found_in(value, **asked):
    with pytest.raises(RowError) as caught:
        modality.read(value, "picture")
    assert caught.value.code == "row.bad-value"
    assert "'picture'" in str(caught.value)
    return str(caught.value)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PIXELS = scene()
FILES = {
    "png": packed(PIXELS),
    "jpeg": packed(PIXELS, "JPEG", quality=95),
    "progressive": packed(PIXELS, "JPEG", quality=90, progressive=True),
    "webp": packed(PIXELS, "WEBP", lossless=True),
    "lossy webp": packed(PIXELS, "WEBP", quality=90),
    "bmp": packed(PIXELS, "BMP"),
    "gif": packed(Image.fromarray(PIXELS).quantize(256), "GIF"),
    "tiff": packed(PIXELS, "TIFF"),
    "packed tiff": packed(PIXELS, "TIFF", compression="tiff_lzw"),
    "ppm": packed(PIXELS, "PPM"),
    "pgm": packed(Image.fromarray(PIXELS).convert("L"), "PPM"),
    "pbm": packed(Image.fromarray(PIXELS).convert("1"), "PPM"),
}
EXACT = ("png", "webp", "bmp", "tiff", "packed tiff", "ppm")


# what is an image


@pytest.mark.parametrize("name", FILES)
def test_every_format_is_recognised_by_its_bytes_and_read(name):
    column = pa.chunked_array([pa.array([FILES[name], None, FILES[name]], pa.large_binary())])
    assert modality.recognise(column) == 1.0
    pixels = modality.read(FILES[name], "picture")
    assert (pixels.shape, pixels.dtype) == (PIXELS.shape, np.uint8)
    if name in EXACT:
        assert (pixels == PIXELS).all()
    elif name in ("jpeg", "lossy webp", "gif"):
        assert np.abs(pixels.astype(int) - PIXELS).mean() < 12


def test_other_bytes_and_texts_are_no_images():
    for values in ([b"%PDF-1.7", b"RIFF\0\0\0\0WAVEfmt "], [b"BM only two letters of it"], [b"P6x"], [None], []):
        assert modality.recognise(pa.chunked_array([pa.array(values, pa.large_binary())])) == 0.0
    assert modality.recognise(pa.chunked_array([["photo.png", "photo.jpg"]])) == 0.0
    mixed = [FILES["png"], FILES["jpeg"], b"broken"]
    assert modality.recognise(pa.chunked_array([pa.array(mixed, pa.binary())])) == 1.0


# forms that a value comes in


def test_bytes_base64_and_urls_are_the_same_image():
    data = FILES["png"]
    text = base64.b64encode(data).decode()
    broken_into_lines = "\n".join(text[i : i + 76] for i in range(0, len(text), 76))
    forms = [data, bytearray(data), memoryview(data), text, text.rstrip("="), broken_into_lines, {"base64": text}]
    forms += [base64.urlsafe_b64encode(data).decode(), f"data:image/png;base64,{text}", f"data:;base64,{text}", PIXELS]
    forms += [f"\n data:image/png;base64,\n{text}", f" {text}\n", f"DATA:image/png; BASE64 ,{text}"]
    for form in forms:
        assert (modality.read(form, "picture") == PIXELS).all()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "nothing"),
        (b"", "nothing"),
        ("", "nothing"),
        (7, "a number"),
        (True, "true or false"),
        ([1], "a list"),
        ({"url": "x"}, "an object"),
        ("not base64 at all!", "not base64"),
        ("cats/0001.PNG", "the name of a file, not what it holds"),
        ("ünïcode", "not base64"),
        ("data:image/svg+xml,<svg/>", "not in base64"),
        (base64.b64encode(b"some text").decode(), "another kind"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "another kind"),
        (np.zeros((4, 4), dtype=np.uint8), "an array [4 × 4] of uint8"),
        (np.zeros((4, 4, 3)), "float64"),
        (np.zeros((0, 4, 3), dtype=np.uint8), "an array"),
    ],
)
def test_what_is_no_image_says_what_it_is(value, said):
    assert said in found_in(value)


# modes


def test_every_mode_becomes_rgb():
    grey = np.linspace(0, 255, 96 * 64).reshape(64, 96).astype(np.uint8)
    colours = Image.fromarray(PIXELS)
    expected = {
        "L": (Image.fromarray(grey), np.repeat(grey[..., None], 3, axis=2), 0),
        "1": (Image.fromarray(grey > 127), np.repeat(((grey > 127) * 255)[..., None], 3, axis=2), 0),
        "P": (colours.quantize(64), np.asarray(colours.quantize(64).convert("RGB")), 0),
    }
    for image, pixels, most in expected.values():
        assert np.abs(modality.read(packed(image), "picture").astype(int) - pixels).max() <= most
    for kind, mode in (("JPEG", "CMYK"), ("TIFF", "CMYK"), ("JPEG", "L"), ("TIFF", "YCbCr")):
        pixels = modality.read(packed(colours.convert(mode), kind), "picture").astype(int)
        wanted = np.asarray(colours.convert(mode).convert("RGB")).astype(int)
        assert np.abs(pixels - wanted).mean() < 8, (kind, mode)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_grey_of_16_bits_is_scaled_and_not_clipped(kind):
    deep = np.linspace(0, 65535, 96 * 64).reshape(64, 96).astype(np.uint16)
    pixels = modality.read(packed(Image.fromarray(deep), kind), "picture")
    assert np.abs(pixels[..., 0].astype(float) - deep / 257).max() <= 0.51
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_numbers_of_32_bits_are_stretched_over_what_there_is():
    ramp = np.linspace(-5, 11, 96 * 64).reshape(64, 96).astype(np.float32)
    for values in (ramp, (ramp * 1e6).astype(np.int32)):
        pixels = modality.read(packed(Image.fromarray(values), "TIFF"), "picture")
        assert (pixels.min(), pixels.max()) == (0, 255)
    unit = np.linspace(0, 0.5, 96 * 64).reshape(64, 96).astype(np.float32)
    assert modality.read(packed(Image.fromarray(unit), "TIFF"), "picture").max() == 128
    ramp[3, 3] = np.nan
    assert "no numbers" in found_in(packed(Image.fromarray(ramp), "TIFF"))


def test_what_is_transparent_is_white():
    alpha = np.zeros((64, 96), dtype=np.uint8)
    alpha[:32] = 255
    alpha[32:48] = 128
    image = Image.fromarray(np.dstack([PIXELS, alpha]))
    half = np.rint(PIXELS[32:48] * (128 / 255) + 255 * (127 / 255))
    for kind, asked in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        pixels = modality.read(packed(image, kind, **asked), "picture")
        assert (pixels[:32] == PIXELS[:32]).all()
        assert np.abs(pixels[32:48] - half).max() <= 1
        assert (pixels[48:] == 255).all()
    grey = modality.read(packed(image.convert("LA")), "picture")
    assert (grey[48:] == 255).all()
    palette = Image.fromarray(PIXELS).quantize(16)
    clear = palette.getpixel((5, 5))
    for transparency in (clear, bytes([0 if i == clear else 255 for i in range(16)])):
        pixels = modality.read(packed(palette, transparency=transparency), "picture")
        assert (pixels[np.asarray(palette) == clear] == 255).all()
        assert (pixels[np.asarray(palette) != clear] != 255).any()
    keyed = modality.read(packed(Image.fromarray(PIXELS), transparency=tuple(map(int, PIXELS[0, 0]))), "picture")
    assert (keyed[0, 0] == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_images_are_turned_as_exif_says(kind, orientation):
    upright = np.zeros((40, 60, 3), dtype=np.uint8)
    upright[:20, :30], upright[:20, 30:], upright[20:, :30] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stored = {  # what a camera stores that was held so
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: np.rot90(upright.transpose(1, 0, 2), 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    asked = {"tiffinfo": {0x0112: orientation}} if kind == "TIFF" else {"exif": exif.tobytes()}
    asked |= {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    pixels = modality.read(packed(np.ascontiguousarray(stored), kind, **asked), "picture")
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).mean() < 3
    assert pixels.flags.c_contiguous


def test_exif_that_makes_no_sense_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 77
    assert modality.read(packed(PIXELS, "PNG", exif=exif.tobytes()), "picture").shape == PIXELS.shape
    broken = bytearray(packed(PIXELS, "JPEG", exif=exif.tobytes()))
    place = broken.find(b"Exif\0\0")
    broken[place + 6 : place + 20] = b"\xff" * 14
    assert modality.read(bytes(broken), "picture").shape == PIXELS.shape


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_picture_is_read(kind):
    frames = [Image.fromarray(np.full((20, 30, 3), level, dtype=np.uint8)) for level in (10, 120, 240)]
    asked = {"lossless": True} if kind == "WEBP" else {}
    data = packed(frames[0], kind, save_all=True, append_images=frames[1:], **asked)
    assert np.abs(modality.read(data, "picture").astype(int) - 10).max() <= 1


def test_a_large_jpeg_is_reduced_while_it_is_decoded_but_not_below_what_a_model_looks_at():
    large = Image.fromarray(scene(1, 300, 220)).resize((4200, 2200))
    assert modality.read(packed(large, "JPEG"), "picture").shape == (1100, 2100, 3)
    assert modality.read(packed(large.crop((0, 0, 2000, 1500)), "JPEG"), "picture").shape == (1500, 2000, 3)


# what is wrong with a file


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_ends_too_early_is_refused_wherever_it_ends(name):
    data = FILES[name]
    for end in (3, 10, 20, 40, len(data) // 4, len(data) // 2, len(data) * 9 // 10, len(data) - 30):
        assert modality.key(data[:end]) is None
        found_in(data[:end])


@pytest.mark.parametrize("name", FILES)
def test_whatever_is_changed_in_a_file_the_answer_is_pixels_or_a_message(name):
    rng = random.Random(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(150):
            data = bytearray(FILES[name])
            for _ in range(rng.choice((1, 4, 30))):
                data[rng.randrange(min(len(data), rng.choice((40, 400, len(data)))))] = rng.randrange(256)
            try:
                pixels = modality.read(bytes(data), "picture")
            except RowError:
                continue
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3


def test_a_format_is_never_decoded_as_another():
    for magic in (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"RIFF\0\0\0\0WEBPVP8 "):
        found_in(magic + FILES["png"])
        found_in(magic + b"%!PS-Adobe-3.0 EPSF-3.0\n")


def test_what_is_too_large_is_refused_before_it_is_looked_at(monkeypatch):
    monkeypatch.setattr(modality, "MAX_BYTES", 10_000)
    monkeypatch.setattr(modality, "_opened", None)
    large = FILES["bmp"]
    assert "at most 0 MB" in found_in(large)
    assert "MB" in found_in(base64.b64encode(large).decode())
    assert "MB" in found_in("A" * 1_000_000)


def tiff_of(tags: dict[int, int]) -> bytes:
    """A TIFF of these tags, each with one number."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, number) for tag, number in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(204)


def bombs() -> dict[str, bytes]:
    """Small files that say they are huge."""
    side = 50_000
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    jpeg = bytearray(FILES["jpeg"])
    place = jpeg.find(b"\xff\xc0")
    jpeg[place + 5 : place + 9] = struct.pack(">HH", side, side)
    gif = b"GIF89a" + struct.pack("<HH", side, side) + FILES["gif"][10:]
    bmp = FILES["bmp"][:18] + struct.pack("<ii", side, side) + FILES["bmp"][26:]
    webp = b"RIFF\xff\0\0\0WEBPVP8X" + struct.pack("<II", 10, 0) + (16_382).to_bytes(3, "little") * 2 + bytes(200)
    lossless = (
        b"RIFF\xff\0\0\0WEBPVP8L" + struct.pack("<I", 200) + b"\x2f" + struct.pack("<I", (1 << 28) - 1) + bytes(200)
    )
    ppm = b"P6\n50000 50000\n255\n" + bytes(100)
    tiff = tiff_of({256: side, 257: side, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: side, 279: 100})
    return {
        "png": png,
        "jpeg": bytes(jpeg),
        "gif": gif,
        "bmp": bmp,
        "webp": webp,
        "lossless": lossless,
        "ppm": ppm,
        "tiff": tiff,
    }


@pytest.mark.parametrize("name", ["png", "jpeg", "gif", "bmp", "webp", "lossless", "ppm", "tiff"])
def test_a_bomb_is_refused_from_its_header(name, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", None)  # nothing may be decoded
    monkeypatch.setattr(modality, "_rgb", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert f"{25 if name in ('webp', 'lossless') else 50} million pixels" in found_in(bombs()[name])
    assert modality.key(bombs()[name]) is None


def scanned(data: bytes, times: int) -> bytes:
    """A progressive JPEG with its last scan once more, so often."""
    place = data.rfind(b"\xff\xda")
    return data[:place] + data[place:-2] * (times + 1) + data[-2:]


def test_a_jpeg_of_more_scans_than_its_pixels_allow_is_refused(monkeypatch):
    assert modality.read(scanned(FILES["progressive"], 300), "picture").shape == PIXELS.shape
    monkeypatch.setattr(modality, "LEAST_SCANNED", 1)
    monkeypatch.setattr(modality, "MAX_SCANNED", 100 * PIXELS.shape[0] * PIXELS.shape[1])
    count = FILES["progressive"].count(b"\xff\xda")
    assert modality.read(scanned(FILES["progressive"], 100 - count), "picture").shape == PIXELS.shape
    assert "a JPEG of more than 100 scans" in found_in(scanned(FILES["progressive"], 101 - count))


def test_a_tiny_jpeg_of_endless_scans_is_refused():
    data = FILES["progressive"]
    place = data.rfind(b"\xff\xda")
    assert "scans" in found_in(data[:place] + data[place : place + 12] * 110_000 + data[-2:])
    assert "scans" in found_in(data[:place] + b"\xff\x01" * 1_200_000 + b"\xff\xda" * 110_000)


@pytest.mark.parametrize("name", ["jpeg", "progressive"])
def test_bytes_that_look_like_scans_are_none_in_previews_and_behind_the_end(name, monkeypatch):
    monkeypatch.setattr(modality, "MAX_SCANNED", 20 * modality.LEAST_SCANNED)
    data, looks = FILES[name], b"\xff\xda" * 1_000
    preview = b"\xff\xe1" + struct.pack(">H", 2 + len(looks)) + looks
    for odd in (data + looks, data + FILES["progressive"] * 5, data[:2] + preview + data[2:]):
        assert modality.read(odd, "picture").shape == PIXELS.shape


def test_a_tile_larger_than_the_image_is_refused():
    tags = {256: 64, 257: 64, 258: 8, 259: 1, 262: 1, 277: 1, 322: 60_000, 323: 60_000, 324: 8, 325: 100}
    assert "50 million pixels" in found_in(tiff_of(tags))


@pytest.mark.parametrize("side", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("tag", [322, 323])
def test_a_tile_whose_sides_are_no_numbers_is_refused(side, tag):
    tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 64, 322: 64, 323: 64}  # in strips
    data = tiff_of(tags)
    assert modality.read(data, "picture").shape == (8, 8, 3)
    entry = struct.pack("<HHII", tag, 4, 1, 64)
    assert entry in data
    data = data.replace(entry, struct.pack("<HHIf", tag, 11, 1, side))
    assert "whose header is broken" in found_in(data) or side == 1e30
    assert isinstance(modality._head(data), str)


SMALL = scene(6, 12, 9)
FRAMES = [Image.fromarray(scene(seed, 12, 9)) for seed in (7, 8)]
CUT = {
    "png": packed(SMALL),
    "palette png": packed(Image.fromarray(SMALL).quantize(16), transparency=0),
    "jpeg": packed(SMALL, "JPEG"),
    "progressive": packed(SMALL, "JPEG", progressive=True),
    "webp": packed(SMALL, "WEBP", lossless=True),
    "lossy webp": packed(SMALL, "WEBP"),
    "bmp": packed(SMALL, "BMP"),
    "gif": packed(Image.fromarray(SMALL).quantize(16), "GIF"),
    "tiff": packed(SMALL, "TIFF"),
    "packed tiff": packed(SMALL, "TIFF", compression="tiff_lzw"),
    "ppm": packed(SMALL, "PPM"),
} | {
    f"animated {kind}": packed(SMALL, kind, save_all=True, append_images=FRAMES)
    for kind in ("GIF", "PNG", "WEBP", "TIFF")
}


@pytest.mark.parametrize("name", CUT)
def test_the_header_of_a_file_is_read_or_refused_wherever_it_ends(name):
    data = CUT[name]
    assert isinstance(modality._head(data), modality._Head)
    for end in range(len(data)):
        head = modality._head(data[:end])
        assert isinstance(head, str) or (head.width, head.height) == (12, 9)


# profile and audit


def test_the_profile_is_read_from_headers_alone(monkeypatch):
    monkeypatch.setattr(modality, "_rgb", None)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = packed(scene(2, 300, 100), "JPEG", exif=exif.tobytes())
    told = modality.profile([FILES["png"], FILES["jpeg"], FILES["pgm"], turned, None, b"broken"])
    assert told == {
        "width_median": 96.0,
        "height_median": 64.0,
        "grey": 0.25,
        "formats": {"JPEG": 0.5, "PNG": 0.25, "PNM": 0.25},
    }
    assert modality.profile([turned])["width_median"] == 100.0
    assert modality.profile([])["formats"] == {}


def test_the_audit_names_what_is_wrong_and_the_rows():
    exif = Image.Exif()
    exif[0x0112] = 8
    frames = [Image.fromarray(np.full((64, 96, 3), level, dtype=np.uint8)) for level in (10, 120)]
    clear = Image.fromarray(PIXELS).quantize(16)
    values = {
        10: FILES["png"],
        11: FILES["png"][:-200],
        12: b"no image",
        13: None,
        14: packed(np.full((64, 96, 3), 77, dtype=np.uint8), "JPEG"),
        15: packed(scene(3, 12, 12)),
        16: packed(Image.fromarray(PIXELS).convert("CMYK"), "JPEG"),
        17: packed(np.linspace(0, 65535, 6144).reshape(64, 96).astype(np.uint16)),
        18: packed(clear, transparency=0),
        19: packed(scene(4, 96, 64), "JPEG", exif=exif.tobytes()),
        20: packed(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        21: packed(scene(5, 400, 300)),
    }
    found = {finding.code: finding for finding in modality.flaws("picture", iter(values.values()), list(values))}
    assert {code: finding.rows for code, finding in found.items() if code != "audit.image-sizes"} == {
        "audit.image-corrupt": (11, 12),
        "audit.image-blank": (14, 20),
        "audit.image-tiny": (15,),
        "audit.image-mode": (16, 17, 18),
        "audit.image-rotated": (19,),
        "audit.image-animated": (20,),
    }
    assert found["audit.image-corrupt"].severity == "warning"
    assert "2 of 11 images" in found["audit.image-corrupt"].message
    assert "row 12" in found["audit.image-corrupt"].message
    assert "CMYK (1)" in found["audit.image-mode"].message
    assert "from 12 × 12 to 400 × 300 pixels" in found["audit.image-sizes"].message
    assert all(finding.advice and finding.count for finding in found.values())
    assert modality.flaws("picture", [FILES["png"], FILES["jpeg"]], [0, 1]) == []
    assert modality.audit("picture", [FILES["png"]], [0]) == []


def test_a_png_is_decoded_once_by_the_audit_and_exif_behind_its_pixels_is_seen(monkeypatch):
    from PIL import PngImagePlugin

    decoded = []
    done = PngImagePlugin.PngImageFile.load_end
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_end", lambda self: decoded.append(1) or done(self))
    assert modality.flaws("picture", [FILES["png"]], [0]) == []
    assert len(decoded) == 1
    exif = Image.Exif()
    exif[0x0112] = 6
    place = FILES["png"].rindex(b"IEND") - 4
    late = FILES["png"][:place] + chunk(b"eXIf", exif.tobytes()[6:]) + FILES["png"][place:]
    assert modality.read(late, "picture").shape == (96, 64, 3)
    assert (modality._head(late).width, modality._head(late).turned) == (64, True)
    assert [finding.code for finding in modality.flaws("picture", [late], [0])] == ["audit.image-rotated"]


def test_warnings_are_filtered_once_and_not_for_each_image(monkeypatch):
    modality.read(FILES["png"], "picture")
    filters = []
    monkeypatch.setattr(warnings, "filterwarnings", lambda *given, **asked: filters.append(given))
    modality.read(FILES["png"], "picture")
    assert not filters


def test_what_is_remembered_may_be_forgotten_at_any_time(monkeypatch):
    class Emptied(dict):
        """As another thread leaves it."""

        def __setitem__(self, key, value):
            super().__setitem__(key, value)
            self.clear()

    monkeypatch.setattr(modality, "_KEYS", Emptied())
    monkeypatch.setattr(modality, "_THUMBNAILS", Emptied())
    assert modality.key(FILES["png"]) == modality.key(PIXELS)
    assert modality.likeness(FILES["png"], FILES["webp"]) > 0.9


# sameness and likeness


def test_one_picture_in_two_containers_has_one_key():
    exif = Image.Exif()
    exif[0x0110] = "Camera"
    same = [FILES[name] for name in EXACT] + [packed(PIXELS, exif=exif.tobytes()), PIXELS, FILES["bmp"] + b"more"]
    assert len({modality.key(value) for value in same}) == 1
    assert modality.key(packed(scene(1))) != modality.key(PIXELS)
    assert modality.key(packed(PIXELS[:, ::-1].copy())) != modality.key(PIXELS)
    assert [modality.key(value) for value in (None, b"", "", b"broken", 3)] == [None] * 5


def test_of_many_pixels_the_bytes_count_and_they_must_still_be_an_image():
    large = np.kron(scene(1, 120, 100), np.ones((10, 11, 1), dtype=np.uint8))
    data = packed(large, "JPEG")
    assert modality.key(data) == modality.key(bytes(data))
    assert modality.key(data) != modality.key(packed(large))
    assert modality.key(data[: len(data) // 2]) is None


def copies(pixels: np.ndarray, rng: random.Random) -> dict[str, bytes]:
    """What becomes of a picture that is passed on."""
    image = Image.fromarray(pixels)
    width, height = image.size
    left, top, right, bottom = (rng.uniform(0, 0.05) for _ in range(4))
    cropped = image.crop(
        (round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height))
    )
    darker = ImageEnhance.Brightness(cropped).enhance(0.8)
    return {
        "re-encoded": packed(image, "JPEG", quality=50),
        "as WebP": packed(image, "WEBP", quality=70),
        "smaller": packed(image.resize((width * 2 // 3, height * 2 // 3)), "JPEG", quality=80),
        "larger": packed(image.resize((width * 3 // 2, height * 3 // 2)), "JPEG", quality=80),
        "darker": packed(ImageEnhance.Brightness(image).enhance(0.75)),
        "more contrast": packed(ImageEnhance.Contrast(image).enhance(1.2)),
        "cropped": packed(cropped),
        "cropped, darker, re-encoded": packed(darker, "JPEG", quality=60),
    }


def test_copies_are_alike_and_other_pictures_are_not():
    rng = random.Random(0)
    originals = [scene(seed, 160, 120) for seed in range(12)]
    for pixels in originals:
        for name, copy in copies(pixels, rng).items():
            assert modality.likeness(packed(pixels), copy) >= 0.8, name
    for one in range(12):
        for other in range(one):
            assert modality.likeness(originals[one], originals[other]) < 0.5


def test_what_differs_in_colour_or_is_mirrored_is_no_copy():
    pixels = scene(3, 160, 120)
    assert modality.likeness(pixels, pixels[..., ::-1].copy()) < 0.8
    assert modality.likeness(pixels, pixels[:, ::-1].copy()) < 0.8
    assert modality.likeness(pixels, b"broken") == 0.0


def test_sketches_of_copies_share_bands_and_those_of_others_do_not():
    rng = random.Random(1)
    originals = [scene(seed, 160, 120) for seed in range(30)]
    made = [copies(pixels, rng) for pixels in originals]
    names = list(made[0])
    sketched, enough = modality.sketch([packed(pixels) for pixels in originals], 64)
    assert (sketched.dtype, sketched.shape, enough.all()) == (np.uint32, (30, 64), True)
    bands = sketched.reshape(30, 16, 4)
    for name in names:
        other = modality.sketch([copy[name] for copy in made], 64)[0].reshape(30, 16, 4)
        shared = (other == bands).all(axis=2).any(axis=1) & ((other == bands).mean(axis=(1, 2)) >= 0.6)
        assert shared.mean() >= (0.8 if "cropped" in name else 1), name
    strangers = (bands[:, None] == bands[None]).all(axis=3).any(axis=2)[~np.eye(30, dtype=bool)]
    assert strangers.mean() < 0.05


def test_copies_in_a_data_set_are_grouped_with_their_originals_alone(tmp_path):
    rng = random.Random(2)
    originals = [scene(seed, 160, 120) for seed in range(40)]
    made = [packed(pixels) for pixels in originals] + list(copies(originals[7], rng).values()) + [FILES["png"][:-99]]
    labels = ["day" if place % 2 else "night" for place in range(len(made))]
    pq.write_table(pa.table({"photo": made, "label": labels}), tmp_path / "rows.parquet")
    dataset = read.read(tmp_path / "rows.parquet")
    assert [column.kind for column in dataset.schema.inputs] == ["image"]
    keys = split.row_keys(dataset)
    assert keys[-1] == -1
    groups = near.groups(dataset, np.flatnonzero(keys >= 0), keys)
    assert [group.tolist() for group in groups] == [[7, *range(40, len(made) - 1)]]


def test_a_sketch_does_not_hang_on_what_stands_beside_it():
    values = [packed(scene(seed)) for seed in range(70)]
    whole, _ = modality.sketch(values, 64)
    assert (modality.sketch(values[66:], 64)[0] == whole[66:]).all()


def test_blank_and_broken_images_have_no_sketch():
    blank = packed(np.full((40, 40, 3), 200, dtype=np.uint8), "JPEG")
    values = [blank, b"broken", None, FILES["png"]]
    assert modality.sketch(values, 64)[1].tolist() == [False, False, False, True]
    assert modality.sketch([], 64)[0].shape == (0, 64)


def test_features_tell_classes_apart_and_are_nothing_for_what_is_broken():
    rng = np.random.default_rng(0)
    down, across = np.mgrid[0:40, 0:40]
    values, classes = [], []
    for number in range(80):
        slope = (across if number % 2 else down) + rng.uniform(0, 9)
        stripes = 120 + 80 * np.sin(slope * 0.9)[..., None] + rng.normal(0, 25, (40, 40, 3))
        values.append(packed(np.clip(stripes, 0, 255).astype(np.uint8)))
        classes.append(number % 2)
    found = modality.features([*values, b"broken"], seen=40)
    assert (found.dtype, found.shape) == (np.float32, (81, modality.FEATURES))
    assert (found[-1] == 0).all()
    truth = np.array(classes)
    means = [found[:40][truth[:40] == label].mean(axis=0) for label in (0, 1)]
    nearest = [np.argmin([np.linalg.norm(row - mean) for mean in means]) for row in found[40:80]]
    assert (np.array(nearest) == truth[40:]).all()


# explanations and pages


@pytest.mark.parametrize("value", [PIXELS, FILES["png"]], ids=["array", "bytes"])
def test_patches_are_left_out_in_the_mean_colour_and_cover_the_image(value):
    parts = modality.parts(value)
    assert parts == [(i, i + 1) for i in range(49)]
    mean = np.rint(PIXELS.mean(axis=(0, 1)))
    touched = np.zeros(PIXELS.shape[:2], dtype=int)
    for begin, end in parts:
        without = modality.leave_out(value, begin, end)
        changed = (without != PIXELS).any(axis=2)
        assert (without[changed] == mean).all()
        touched += changed
    assert touched.max() == 1
    assert touched.mean() > 0.99
    assert (modality.leave_out(value, 0, 49) == mean).all()
    assert modality.parts(None) == []
    assert modality.part_text(value, *parts[0]) == "row 1, column 1 of 7"
    assert modality.part_text(value, *parts[9]) == "row 2, column 3 of 7"
    assert np.array_equal(PIXELS, scene())


def test_an_image_is_shown_as_a_small_jpeg_that_needs_no_network():
    for value in (FILES["png"], PIXELS, packed(scene(1, 900, 300), "JPEG")):
        shown = modality.show(value)
        assert shown.startswith('<img src="data:image/jpeg;base64,')
        data = base64.b64decode(shown.split("base64,")[1].split('"')[0])
        assert max(Image.open(io.BytesIO(data)).size) <= 96
        assert 'alt="image, ' in shown
    assert modality.show(b"<b>broken</b>") == "(no image: bytes of another kind)"
    assert "<" not in modality.show("<script>")
    tiny = modality.read(packed(scene(1, 1, 3)), "picture")
    assert modality.leave_out(tiny, 0, 49).shape == (3, 1, 3)
    assert "<img" in modality.show(tiny)
