"""Programs for building and checking the registry; the server does not need them."""
