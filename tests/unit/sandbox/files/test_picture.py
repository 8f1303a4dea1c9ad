"""Thumbnails."""

import io

import pytest
from PIL import Image

from ftrackd.sandbox.files import picture


def save(path, image, kind, **options):
    image.save(path, kind, **options)
    return path


def opened(result):
    return Image.open(io.BytesIO(result.content))


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [((400, 200), 100, (100, 50)), ((200, 400), 100, (50, 100)), ((40, 20), 100, (40, 20))],
)
def test_when_fitted_then_inside_the_square_and_never_enlarged(tmp_path, size, box, expected):
    result = picture.fit(save(tmp_path / "a", Image.new("RGB", size, "red"), "PNG"), box)
    assert (result.width, result.height) == expected
    assert opened(result).size == expected
    assert result.media_type == "image/jpeg"


def test_when_transparent_then_png_with_transparency(tmp_path):
    result = picture.fit(save(tmp_path / "a", Image.new("RGBA", (20, 20), (255, 0, 0, 0)), "PNG"), 10)
    assert result.media_type == "image/png"
    assert opened(result).getpixel((5, 5))[3] == 0


def test_when_photo_is_rotated_by_its_metadata_then_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    result = picture.fit(save(tmp_path / "a", Image.new("RGB", (40, 20)), "JPEG", exif=exif), 100)
    assert (result.width, result.height) == (20, 40)


@pytest.mark.parametrize(
    "content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken", b"\xff\xd8\xff\xe0 broken"]
)
def test_when_no_picture_then_no_picture_error(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(picture.NoPictureError):
        picture.fit(path, 100)


def test_when_picture_is_truncated_then_no_picture_error(tmp_path):
    path = save(tmp_path / "a", Image.effect_noise((200, 200), 50), "PNG")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(picture.NoPictureError):
        picture.fit(path, 100)


def test_default_picture_is_a_picture():
    result = picture.default_picture()
    assert opened(result).size == (result.width, result.height)


def test_when_a_decoder_trips_over_a_broken_file_then_it_is_no_picture(tmp_path):
    """Pillow raises NotImplementedError for a pixel format it does not know, among others."""
    path = save(tmp_path / "a", Image.new("RGB", (40, 20)), "DDS")
    content = bytearray(path.read_bytes())
    content[80:84] = bytes(4)  # the flags of the pixel format
    path.write_bytes(content)
    with pytest.raises(picture.NoPictureError, match="pixel format"):
        picture.fit(path, 10)
