"""The Lua scripts that Redis runs for us, each in a file of its own."""

from importlib import resources


def read(name: str) -> str:
    """Return the text of `lua/<name>.lua`."""
    return resources.files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")
