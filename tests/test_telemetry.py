"""Nothing that we run reports to its makers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_onnx_runtime_keeps_no_identity_and_reports_nothing(tmp_path: Path) -> None:
    told = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}

    code = (
        "from imgsearch.encoders import load_encoder; load_encoder('starter').encode_texts(['a'])"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        env={**told, "TMPDIR": str(tmp_path)},
        check=True,
    )

    # Its telemetry keeps a file `.ses` there from the moment that it is loaded.
    assert list(tmp_path.iterdir()) == []
