"""The browser page: what it knows comes through the public face of `imgsearch`."""
