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
    from imgsearch.data.backup import BackupSummary
    from imgsearch.data.facets import Facets
    from imgsearch.data.filters import Filters
    from imgsearch.data.places import Near
    from imgsearch.data.records import FailedFile, LibraryStatus, PictureFacts
    from imgsearch.data.restoring import RestoreSummary
    from imgsearch.doctor.findings import DoctorReport
    from imgsearch.encoders import Encoder, ModelDescription, load_encoder
    from imgsearch.errors import (
        BackupFailed,
        BackupInvalid,
        BenchFailed,
        CatalogLost,
        ExtraMissing,
        FolderInvalid,
        HeatMapUnavailable,
        ImageUnreadable,
        ImgsearchError,
        LibraryBusy,
        LibraryDamaged,
        LibraryEmpty,
        LibraryError,
        LibraryFaulty,
        LibraryFull,
        LibraryNotFound,
        LibraryReadOnly,
        LibraryTooNew,
        ModelError,
        ModelInvalid,
        ModelNotFound,
        PhotoNotFound,
        QueryInvalid,
        RootUnknown,
        UsageError,
    )
    from imgsearch.indexer.profile import IndexProfile, StageTime
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
    "BackupFailed",
    "BackupInvalid",
    "BackupSummary",
    "BenchFailed",
    "CatalogLost",
    "DecodeLimits",
    "DoctorReport",
    "DuplicateGroup",
    "Encoder",
    "ExtraMissing",
    "Facets",
    "FailedFile",
    "Filters",
    "FolderInvalid",
    "HeatMap",
    "HeatMapUnavailable",
    "ImageUnreadable",
    "ImgsearchError",
    "IndexProfile",
    "IndexReport",
    "IndexSettings",
    "Library",
    "LibraryBusy",
    "LibraryDamaged",
    "LibraryEmpty",
    "LibraryError",
    "LibraryFaulty",
    "LibraryFull",
    "LibraryNotFound",
    "LibraryReadOnly",
    "LibraryStatus",
    "LibraryTooNew",
    "ModelDescription",
    "ModelError",
    "ModelInvalid",
    "ModelNotFound",
    "Near",
    "PhotoFile",
    "PhotoNotFound",
    "PictureFacts",
    "PictureReference",
    "Progress",
    "QueryInvalid",
    "RestoreSummary",
    "RootUnknown",
    "SearchHit",
    "SearchResults",
    "StageTime",
    "UsageError",
    "__version__",
    "load_encoder",
]

_HOMES = {
    "BackupFailed": "errors",
    "BackupInvalid": "errors",
    "BenchFailed": "errors",
    "CatalogLost": "errors",
    "BackupSummary": "data.backup",
    "DecodeLimits": "settings",
    "DoctorReport": "doctor.findings",
    "DuplicateGroup": "search.near_duplicates",
    "Encoder": "encoders",
    "ExtraMissing": "errors",
    "Facets": "data.facets",
    "FailedFile": "data.records",
    "Filters": "data.filters",
    "FolderInvalid": "errors",
    "HeatMap": "search.heat",
    "HeatMapUnavailable": "errors",
    "ImageUnreadable": "errors",
    "ImgsearchError": "errors",
    "IndexProfile": "indexer.profile",
    "IndexReport": "indexer.report",
    "IndexSettings": "settings",
    "Library": "library",
    "LibraryBusy": "errors",
    "LibraryDamaged": "errors",
    "LibraryEmpty": "errors",
    "LibraryError": "errors",
    "LibraryFaulty": "errors",
    "LibraryFull": "errors",
    "LibraryNotFound": "errors",
    "LibraryReadOnly": "errors",
    "LibraryStatus": "data.records",
    "LibraryTooNew": "errors",
    "ModelDescription": "encoders",
    "ModelError": "errors",
    "ModelInvalid": "errors",
    "ModelNotFound": "errors",
    "Near": "data.places",
    "PhotoFile": "search.originals",
    "PhotoNotFound": "errors",
    "PictureFacts": "data.records",
    "PictureReference": "search.query",
    "Progress": "indexer.report",
    "QueryInvalid": "errors",
    "RestoreSummary": "data.restoring",
    "RootUnknown": "errors",
    "SearchHit": "search.results",
    "SearchResults": "search.results",
    "StageTime": "indexer.profile",
    "UsageError": "errors",
    "load_encoder": "encoders",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `imgsearch --version` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
