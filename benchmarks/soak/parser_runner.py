"""Fuzz one target of `parser_targets`: ``parser_runner.py NAME [options of libFuzzer]``."""

from __future__ import annotations

import sys
import warnings


def main() -> None:
    """Run libFuzzer, which ends this process."""
    import atheris

    with atheris.instrument_imports(include=["imgsearch"]):
        from parser_targets import TARGETS

    warnings.simplefilter("ignore")
    check = TARGETS[sys.argv.pop(1)].check
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
