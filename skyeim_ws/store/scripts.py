"""The Lua scripts that Redis runs for us, each in a file of its own."""

from importlib import resources


def read(*names: str) -> str:
    """Return these of `lua/*.lua` as one, without comments: the text goes with every call."""
    folder = resources.files(__package__) / "lua"
    texts = [(folder / f"{name}.lua").read_text("utf-8") for name in names]
    lines = (line.strip() for text in texts for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("--"))
