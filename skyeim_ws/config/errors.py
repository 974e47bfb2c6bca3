"""What is wrong with a configuration, said in one line that shows no secret."""

_SHOWN_CHARACTERS = 60


class ConfigError(Exception):
    """What is wrong with a configuration file: which file, which key, what was wanted."""

    def __init__(self, path: str, problem: str, *, field: str = "", line: int = 0) -> None:
        place = f'field "{shown(field)}" ' if field else f"line {line}: " if line else ""
        super().__init__(f"config file {path}, {place}{_printable(problem)}")
        self.field = field


def shown(text: str) -> str:
    """Return a text of the file as a person may see it: short, on one line, without tricks."""
    short = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    return _printable(short)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
