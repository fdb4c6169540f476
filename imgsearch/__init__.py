"""Natural-language image search over your own photos, on your own machine.

import imgsearch

library = imgsearch.Library.open()
library.index(["~/Pictures"])
print(library.search("a cup of coffee")[0].path)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgsearch.data.facets import Facets
    from imgsearch.data.filters import Filters
    from imgsearch.data.places import Near
    from imgsearch.data.records import FailedFile, LibraryStatus, PictureFacts
    from imgsearch.encoders import Encoder, ModelDescription, load_encoder
    from imgsearch.errors import (
        HeatMapUnavailable,
        ImageUnreadable,
        ImgsearchError,
        LibraryNotFound,
        PhotoNotFound,
        QueryInvalid,
        UsageError,
    )
    from imgsearch.indexer.report import IndexReport, Progress
    from imgsearch.library import Library
    from imgsearch.search.heat import HeatMap
    from imgsearch.search.near_duplicates import DuplicateGroup
    from imgsearch.search.originals import PhotoFile
    from imgsearch.search.query import PictureReference
    from imgsearch.search.results import SearchHit, SearchResults
    from imgsearch.settings import DecodeLimits, IndexSettings

__version__ = "0.1.0"

__all__ = [
    "DecodeLimits",
    "DuplicateGroup",
    "Encoder",
    "Facets",
    "FailedFile",
    "Filters",
    "HeatMap",
    "HeatMapUnavailable",
    "ImageUnreadable",
    "ImgsearchError",
    "IndexReport",
    "IndexSettings",
    "Library",
    "LibraryNotFound",
    "LibraryStatus",
    "ModelDescription",
    "Near",
    "PhotoFile",
    "PhotoNotFound",
    "PictureFacts",
    "PictureReference",
    "Progress",
    "QueryInvalid",
    "SearchHit",
    "SearchResults",
    "UsageError",
    "__version__",
    "load_encoder",
]

_HOMES = {
    "DecodeLimits": "settings",
    "DuplicateGroup": "search.near_duplicates",
    "Encoder": "encoders",
    "Facets": "data.facets",
    "FailedFile": "data.records",
    "Filters": "data.filters",
    "HeatMap": "search.heat",
    "HeatMapUnavailable": "errors",
    "ImageUnreadable": "errors",
    "ImgsearchError": "errors",
    "IndexReport": "indexer.report",
    "IndexSettings": "settings",
    "Library": "library",
    "LibraryNotFound": "errors",
    "LibraryStatus": "data.records",
    "ModelDescription": "encoders",
    "Near": "data.places",
    "PhotoFile": "search.originals",
    "PhotoNotFound": "errors",
    "PictureFacts": "data.records",
    "PictureReference": "search.query",
    "Progress": "indexer.report",
    "QueryInvalid": "errors",
    "SearchHit": "search.results",
    "SearchResults": "search.results",
    "UsageError": "errors",
    "load_encoder": "encoders",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `imgsearch --version` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
