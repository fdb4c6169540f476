"""Measuring a library on the machine it is on: what it costs now, and what growth would cost."""
