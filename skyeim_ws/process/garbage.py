"""How often Python looks for garbage in circles: seldom, since it looks at all connections."""

import gc

_YOUNG, _MIDDLE, _OLD = 20_000, 10, 10
"""As of `gc.set_threshold`. With Python's own, a third of the CPU of a storm of logins goes into
looking at what has just come to stay."""


def look_seldom() -> None:
    """Look at what was made for good, modules and the parts of a gateway, once and never again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
