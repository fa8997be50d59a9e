"""Write docs/openapi.json, the description of the page's HTTP interface.

python scripts/openapi.py
"""

import json
import tempfile
from pathlib import Path

from echoseg.web.app import create_app
from echoseg.web.settings import PageSettings

PAGE = Path(__file__).parents[1] / "docs" / "openapi.json"
TITLE, VERSION = "echoseg page", "1"
"""The version is the interface's own: it rises where a client would have to change."""


def description() -> str:
    """The description as JSON text."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(PageSettings(folder=Path(folder) / "page"))
        app.title, app.version = TITLE, VERSION
        app.description = (
            "Worklist, readings, edits and exports of `echoseg serve`. Research software, not a "
            "medical device. Requests that change something carry the header X-CSRF-Token."
        )
        return json.dumps(app.openapi(), indent=1) + "\n"


if __name__ == "__main__":
    PAGE.write_text(description(), "utf-8")
