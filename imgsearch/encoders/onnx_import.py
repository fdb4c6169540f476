"""Importing ONNX Runtime without what it tells its makers."""

from __future__ import annotations

import os
from types import ModuleType


def import_onnxruntime() -> ModuleType:
    """Return the module `onnxruntime`, its telemetry switched off.

    Since 1.32 it reports events to Microsoft on Linux too, and keeps an identity in a file ``.ses``
    in the folder for temporary files. Nothing here may leave this machine.
    """
    # Read when the module is loaded; the call is for a caller who has loaded it before.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    module: ModuleType = onnxruntime
    return module
