"""Programs for whoever builds the registry; the server needs none of them."""
