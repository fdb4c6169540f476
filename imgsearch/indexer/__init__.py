"""The batch pipeline: scan, decode, embed, store."""
