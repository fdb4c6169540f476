"""Which files may be images, told by name where that is enough and by content where it is not."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

IMAGE_SUFFIXES = frozenset(
    ".avif .avifs .bmp .dib .gif .heic .heics .heif .heifs .hif .icns .ico .j2k .jfif .jp2 .jpe "
    ".jpeg .jpf .jpg .jpx .mpo .pbm .pcx .pgm .png .apng .pnm .ppm .psd .sgi .tga .tif .tiff .webp"
    "".split()
)

# Suffixes whose content is known to be something else: sniffing them would open every file of a
# mixed folder on every run. Camera raws are TIFFs inside, but Pillow cannot develop them.
OTHER_SUFFIXES = frozenset(
    ".3fr .7z .aac .aae .arw .avi .bin .bz2 .c .cfg .cpp .cr2 .cr3 .css .csv .db .dll .dng .doc "
    ".docx .eps .erf .exe .flac .go .gpx .gz .h .htm .html .ini .ipynb .iso .java .js .json .kdc "
    ".key .lock .log .lrcat .lrdata .m4a .m4v .md .mid .mkv .mov .mp3 .mp4 .mpeg .mpg .mrw .nef "
    ".nrw .o .odt .ogg .onnx .orf .pdf .pef .pickle .pkl .plist .ppt .pptx .ps .psb .pt .pth .py "
    ".pyc .raf .rar .raw .rb .rs .rst .rtf .rw2 .safetensors .sh .so .sql .sqlite .srw .svg .svgz "
    ".tar .thm .toml .ts .tsv .txt .wasm .wav .webm .wmv .x3f .xcf .xls .xlsx .xml .xmp .xz .yaml "
    ".yml .zip".split()
)

# Bytes that are enough for `looks_like_image`.
SNIFF_BYTES = 32

_MAGIC = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\x00",  # TIFF, little-endian
    b"MM\x00*",  # TIFF, big-endian
    b"8BPS",  # PSD
    b"\x00\x00\x00\x0cjP  ",  # JPEG 2000
    b"\xff\x4f\xff\x51",  # JPEG 2000 codestream
)
_ISO_MEDIA_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")
)


class Verdict(Enum):
    """What a file's name says about its content."""

    IMAGE = "image"
    OTHER = "other"
    UNKNOWN = "unknown"


def judge_name(name: str) -> Verdict:
    """Judge a file by the suffix of its name; no suffix, or an unheard-of one, is UNKNOWN."""
    dot = name.rfind(".")
    return _judge_suffix(name[dot:]) if dot > 0 else Verdict.UNKNOWN


@lru_cache(maxsize=1024)
def _judge_suffix(suffix: str) -> Verdict:
    ending = suffix.lower()
    if ending in IMAGE_SUFFIXES:
        return Verdict.IMAGE
    return Verdict.OTHER if ending in OTHER_SUFFIXES else Verdict.UNKNOWN


def looks_like_image(head: bytes) -> bool:
    """Tell from a file's first `SNIFF_BYTES` whether it is an image in a supported format.

    Formats without a distinctive start (TGA, PCX, SGI, PNM, BMP with its two letters) are only
    recognised by their suffix.
    """
    if head.startswith(_MAGIC):
        return True
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return True
    return head[4:8] == b"ftyp" and head[8:12] in _ISO_MEDIA_BRANDS
