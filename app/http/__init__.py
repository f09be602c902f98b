"""The parts of HTTP that the API, the Hub dialect and the pages share: bodies, errors, limits."""
