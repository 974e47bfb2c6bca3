"""`python -m tools.api`: write the documents into `docs`."""

import json
from pathlib import Path
from typing import Any

from tools.api import frames, http

DOCS = Path(__file__).parent.parent.parent / "docs"
DOCUMENTS = {"asyncapi.json": frames.document, "openapi.json": http.document}


def text(document: dict[str, Any]) -> str:
    """Return a document as its file has it."""
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def main() -> None:
    """Write all of them."""
    for name, document in DOCUMENTS.items():
        (DOCS / name).write_text(text(document()))


if __name__ == "__main__":
    main()
