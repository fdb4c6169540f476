"""The place of the browser search page, which has an issue of its own."""
