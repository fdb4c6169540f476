"""Finding out what is wrong with a library, and mending what the truth is known of."""
