"""The query engine: words or a picture in, the nearest pictures out."""
