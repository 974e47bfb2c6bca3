"""The language in which a caller wants its answers."""

from skyeim_ws.contract.texts import Language

_MAX_CHOICES = 20


def preferred(accept_language: str, default: Language) -> Language:
    """Return the first of our languages that a header Accept-Language ranks highest.

    RFC 9110, 12.5.4; what cannot be read is passed over.
    """
    best, best_weight = default, 0.0
    for choice in accept_language.split(",", _MAX_CHOICES)[:_MAX_CHOICES]:
        name, _, parameter = choice.partition(";")
        language = name.strip().lower().partition("-")[0]
        weight = _weight(parameter.strip())
        if language in set(Language) and weight > best_weight:
            best, best_weight = Language(language), weight
    return best


def _weight(parameter: str) -> float:
    if not parameter:
        return 1.0
    name, _, value = parameter.partition("=")
    try:
        weight = float(value) if name.strip().lower() == "q" else 0.0
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
