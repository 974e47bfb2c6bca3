"""The Lua scripts that Redis runs for us, each in a file of its own."""

from importlib import resources


def read(name: str) -> str:
    """Return `lua/<name>.lua` without its comments: the text goes with every call."""
    text = resources.files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("--"))
