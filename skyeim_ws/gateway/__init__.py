"""A gateway put together from its parts, with what it talks to and its HTTP servers."""
