"""Every error that a user can meet: what happened, and what to do about it.

The command line prints ``str(error)`` and leaves with ``error.exit_code``; Python users catch
`ImgsearchError` or one of its children.
"""

from __future__ import annotations


class ImgsearchError(Exception):
    """Base of all errors that imgsearch raises on purpose.

    `exit_code` is 1 when the job could not be done and 2 when it was asked for wrongly.
    """

    exit_code = 1


class UsageError(ImgsearchError):
    """The request itself makes no sense: an empty query, a folder that is not there."""

    exit_code = 2


class QueryInvalid(UsageError):
    """The query holds nothing to search for."""


class FolderInvalid(UsageError):
    """A path given for indexing is missing, is no folder, or cannot be read."""


class RootUnknown(UsageError):
    """A folder was named that this library does not hold."""


class PortTaken(UsageError):
    """The page cannot listen where it was told to."""


class OutputInvalid(UsageError):
    """Results cannot be written to the file or folder that was named."""


class OutputFailed(ImgsearchError):
    """Results could not be written: the disk is full, or the folder may not be written to."""


class BatchInvalid(UsageError):
    """A file of queries cannot be read, is too large, or holds none."""


class BackupInvalid(UsageError):
    """A backup cannot be written there, or a file is no backup that could be restored."""


class BackupFailed(ImgsearchError):
    """A backup could not be finished; nothing was left behind."""


class BenchFailed(ImgsearchError):
    """Something that is to be measured cannot be."""


class PhotoNotFound(ImgsearchError):
    """A photo was asked for that the library does not show, or whose file is not there."""


class LibraryError(ImgsearchError):
    """The library folder cannot serve the request."""


class LibraryNotFound(LibraryError):
    """There is no library at that place."""


class CatalogLost(LibraryNotFound):
    """There was a library at that place, and its catalog is gone."""


class LibraryEmpty(LibraryError):
    """The library holds no picture that could be found."""


class LibraryDamaged(LibraryError):
    """The catalog is not a readable database."""


class LibraryTooNew(LibraryError):
    """The library was written by a newer imgsearch."""


class LibraryReadOnly(LibraryError):
    """The library must be written and cannot be."""


class LibraryFull(LibraryError):
    """The disk that holds the library is full."""


class LibraryFaulty(LibraryError):
    """The disk that holds the library reports errors."""


class LibraryBusy(LibraryError):
    """Another process is writing this library."""


class ModelError(ImgsearchError):
    """A model cannot be found, read or used."""


class ModelNotFound(ModelError):
    """No model goes by that name."""


class ModelInvalid(ModelError):
    """The files of a model are incomplete or do not fit together."""


class HeatMapUnavailable(ModelError):
    """A model cannot tell where in a picture something is."""


class ExtraMissing(ImgsearchError):
    """An optional dependency is needed and not installed."""


class ImageUnreadable(ImgsearchError):
    """A picture cannot be decoded; `str(error)` is the reason that is stored with the file."""
