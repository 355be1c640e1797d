"""One image file to the pixels that a network takes."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

import PIL
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from cnn_registry.errors import BadImageError
from cnn_registry.system.quiet import without_warnings

from . import formats
from .colour import load_pixels
from .dataset import Bytes, EncodedImage
from .fitting import pixels
from .form import Form, Size
from .records import PackedImage
from .screening import screen

MAX_BYTES = 2**30
"""The largest file that is read as an image."""

MAX_EDGE = 2**18
"""The longest edge in pixels. Resizing takes memory in proportion to an edge, whatever the other one is."""

PILLOW = r"PIL\."
"""The modules whose warnings about odd files are not shown."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, for each orientation in EXIF data."""

_SIDEWAYS = tuple(_TURNS[orientation] for orientation in (5, 6, 7, 8))
"""Those that swap height and width."""


def decode(source: EncodedImage | BinaryIO, form: int | Form, *, max_pixels: int | None = None) -> Bytes:
    """`decode_forms` in one form."""
    return decode_forms(source, (form,), max_pixels=max_pixels)[0]


def decode_forms(
    source: EncodedImage | BinaryIO, forms: Iterable[int | Form], *, max_pixels: int | None = None
) -> list[Bytes]:
    """Read an image once, and give its pixels in each form.

    The orientation in EXIF data is honoured. CMYK, palette and other images become grey, RGB or RGBA, those with more
    than 8 bits per value are scaled (see `cnn_registry.data.colour`). Without a channel for alpha, transparent areas
    become white, as on a page; with one, colours and alpha are resized independently, as they are. Only the first frame
    of an animation is used. The pixels of an RGB image that is squashed equal ``np.asarray(image.resize((width,
    height), LANCZOS))``, as in tflearn, unless the form is reduced.

    Args:
        source: a file in one of the readable formats (`cnn_registry.data.formats.readable`), or a seekable binary
            stream of one; or a packed image.
        forms: the forms; an integer stands for RGB squares with this edge length in pixels.
        max_pixels: the largest image that is decoded, width times height; default ``PIL.Image.MAX_IMAGE_PIXELS``.

    Returns:
        ``(height, width, channels)``, uint8, for each form.

    Raises:
        BadImageError: the file is missing, empty, truncated, of another format, not a regular file or larger than
            `MAX_BYTES`; the image has more than ``max_pixels``, an edge longer than `MAX_EDGE`, or more parts than
            `cnn_registry.data.screening` allows; or there is not enough memory to decode it.
    """
    with _reported(source, max_pixels):
        wanted = [Form.of(form) for form in forms]
        frame = (max(form.frame[0] for form in wanted), max(form.frame[1] for form in wanted))
        at_least = frame if all(form.reduced for form in wanted) else None
        whole = _read(source, max_pixels, alpha=any(form.channels == 4 for form in wanted), at_least=at_least)
        return [pixels(whole, form) for form in wanted]


def decode_image(source: EncodedImage | BinaryIO, *, alpha: bool = False, max_pixels: int | None = None) -> Image.Image:
    """The image at its own size, upright, as RGB, or as RGBA; otherwise as `decode_forms`.

    Raises:
        BadImageError: as `decode_forms`.
    """
    with _reported(source, max_pixels):
        return _read(source, max_pixels, alpha=alpha)


def converted(image: Image.Image, *, alpha: bool = False, max_pixels: int | None = None) -> Image.Image:
    """An image that somebody opened or made with Pillow as `decode_image` gives the one of a file.

    One that was opened from a file and not read yet is read from that file once more, since Pillow does not keep all
    bits of some.

    Raises:
        BadImageError: it cannot be read, or is larger than ``max_pixels`` or `MAX_EDGE`.
    """
    file = Path(getattr(image, "filename", "") or "")
    if getattr(image, "tile", None) and image.tell() == 0 and file.is_file():
        return decode_image(file, alpha=alpha, max_pixels=max_pixels)

    def again() -> ImageFile.ImageFile:
        raise ValueError("its file is not known")

    with _reported(file if file.name else f"<{image.mode} image of Pillow>", max_pixels):
        _check_size(image, pixel_limit(max_pixels))
        if not image.width * image.height:
            raise ValueError("it has no pixels")
        loaded, turn = load_pixels(image, again, alpha=alpha), _turn(image)
        return loaded if turn is None else loaded.transpose(turn)


@contextmanager
def _reported(source: EncodedImage | BinaryIO | str, max_pixels: int | None) -> Iterator[None]:
    """Whatever a decoder raises becomes the reason why the file cannot be read."""
    try:
        yield
    except BadImageError:
        raise
    except Exception as error:  # decoders raise anything on a damaged file
        name = str(source if isinstance(source, Path | str) else getattr(source, "name", source))
        raise BadImageError(name, _reason(error, pixel_limit(max_pixels))) from error


def _read(
    source: EncodedImage | BinaryIO, max_pixels: int | None, *, alpha: bool, at_least: Size | None = None
) -> Image.Image:
    with without_warnings(PILLOW), _opened(source) as stream, _allowed(max_pixels):
        try:
            return _whole(stream, pixel_limit(max_pixels), alpha=alpha, at_least=at_least)
        except UnidentifiedImageError as error:
            raise ValueError(_unidentified(stream)) from error


@contextmanager
def _opened(source: EncodedImage | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(source, PackedImage):
        yield source.open()
    elif isinstance(source, Path):
        check_file(source)
        with source.open("rb") as stream:
            yield stream
    else:
        yield source


def attempt(file: EncodedImage, forms: Iterable[Form], *, max_pixels: int | None = None) -> list[Bytes] | BadImageError:
    """`decode_forms`, which returns its error: for many files, of which some may be bad."""
    try:
        return decode_forms(file, forms, max_pixels=max_pixels)
    except BadImageError as error:
        return error


def lasts(error: BadImageError) -> bool:
    """Whether a file with this content will always be bad, and not only now: for lack of memory, for instance."""
    return not isinstance(error.__cause__, MemoryError | OSError) or _is_content(error.__cause__)


def decoder(max_pixels: int | None = None) -> str:
    """Everything besides a file's content that decides what it decodes to: one line of text."""
    names = " ".join(formats.pillow_names())
    return f"Pillow {PIL.__version__}, {pixel_limit(max_pixels)} pixels, {names}"


def pixel_limit(max_pixels: int | None = None) -> int | None:
    """The largest number of pixels of an image that is decoded; ``None`` if Pillow's own limit was removed."""
    return Image.MAX_IMAGE_PIXELS if max_pixels is None else max_pixels


MAYBE_A_BOMB = "possibly a decompression bomb"
"""The end of the reason of an image that has more pixels than are read."""

READ_LARGER = "Larger images are read with --max-pixels N."
"""What to do about it."""


def are_too_large(reasons: Iterable[str]) -> bool:
    """Whether an image cannot be read because it has too many pixels, to judge by the reasons."""
    return any(reason.endswith(MAYBE_A_BOMB) for reason in reasons)


def check_file(file: Path) -> None:
    """Refuse what would be read without an end: a link to a device, a pipe, a file of many gigabytes.

    Raises:
        BadImageError: it is one of these. A missing file passes.
    """
    with suppress(OSError):
        facts = file.stat()
        if not S_ISREG(facts.st_mode):
            raise BadImageError(str(file), "not a regular file")
        if facts.st_size > MAX_BYTES:
            raise BadImageError(str(file), f"more than {MAX_BYTES:,} bytes")


def image_size(file: EncodedImage) -> tuple[int, int] | None:
    """Width and height of an upright image, from the beginning of its file; ``None`` where it cannot be read."""
    try:
        with (
            without_warnings(PILLOW),
            _opened(file) as stream,
            Image.open(stream, formats=formats.pillow_names()) as image,
        ):
            width, height = image.size
            turned = _turn(image) in _SIDEWAYS
            return (height, width) if turned else (width, height)
    except Exception:  # decoders raise anything on a damaged file
        return None


def _whole(stream: BinaryIO, limit: int | None, *, alpha: bool, at_least: Size | None) -> Image.Image:
    """The image, upright, as RGB or RGBA: at its own size, or a smaller one of ``at_least`` that height and width."""
    screen(stream)

    def opened() -> ImageFile.ImageFile:
        return Image.open(stream, formats=formats.pillow_names())

    with opened() as image:
        _check_size(image, limit)
        if at_least and image.format == "JPEG":
            height, width = at_least[::-1] if _turn(image) in _SIDEWAYS else at_least
            image.draft(image.mode, (width, height))
        loaded = load_pixels(image, opened, alpha=alpha)
        turn = _turn(image)  # not earlier: Pillow turns TIFF files as it loads them, and loads PNG files to answer
        return loaded if turn is None else loaded.transpose(turn)


def _check_size(image: Image.Image, limit: int | None) -> None:
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError
    if max(image.size) > MAX_EDGE:
        raise ValueError(f"an edge of more than {MAX_EDGE:,} pixels")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright according to its EXIF data; nothing if it is damaged."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises whatever reading the data runs into
        return None


_raised_limits: list[int] = []
_limits_lock = threading.Lock()
_own_limit: int | None = None


@contextmanager
def _allowed(max_pixels: int | None) -> Iterator[None]:
    """Raise the limit that Pillow applies itself, which is one for the whole process, while any thread needs it."""
    global _own_limit
    if max_pixels is None:
        yield
        return
    with _limits_lock:
        if not _raised_limits:
            _own_limit = Image.MAX_IMAGE_PIXELS
        _raised_limits.append(max_pixels)
        if _own_limit is not None:
            Image.MAX_IMAGE_PIXELS = max(_own_limit, *_raised_limits)
    try:
        yield
    finally:
        with _limits_lock:
            _raised_limits.remove(max_pixels)
            if not _raised_limits:
                Image.MAX_IMAGE_PIXELS = _own_limit


def _reason(error: Exception, limit: int | None) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {limit:,} pixels, {MAYBE_A_BOMB}"
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = " ".join(str(error).split()) or type(error).__name__
    return "truncated" if "truncated" in text.lower() else text


def _is_content(error: BaseException | None) -> bool:
    """Whether an error is about what a file holds. The system's own have a number."""
    return isinstance(error, OSError) and error.errno is None


def _unidentified(stream: BinaryIO) -> str:
    """Why Pillow does not know an image."""
    stream.seek(0)
    start = stream.read(12)
    if not start:
        return "empty file"
    if known := next((name for name, pattern in _SIGNATURES if pattern.match(start)), None):
        return f"{known} of a kind that cannot be decoded here"
    return "not an image in a readable format"


_SIGNATURES = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG")),
    ("WebP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("GIF", re.compile(rb"GIF8")),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]")),
    ("AVIF", re.compile(rb"....ftypavi[fs]", re.DOTALL)),
    ("HEIF", re.compile(rb"....ftyp(hei[cmsx]|hev[cx]|mif1|msf1)", re.DOTALL)),
)
"""How files of each format begin."""
