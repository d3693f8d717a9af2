"""Make the pictures of the audit page that the README shows, from the demo.

    python docs/make_picture.py

It needs Chromium on the path. The reviews are generated; no text is of a person.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

STATIC = Path(__file__).parent / "_static"
PICTURES = {"audit-page.png": "light", "audit-page-dark.png": "dark"}
SIZE = {"width": 1240, "height": 720}
# The worst mistake of which it is known what failed: its text is annotated in full.
VIEW = "#mistakes?failed=concept+misread"


def main():
    """Make an audit, open its page, and take both pictures."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as engine:
        skclif = Path(sys.executable).with_name("skclif")
        command = [skclif, "demo", "--data", "generated"]
        subprocess.run([*command, "--out", folder, "--quiet"], check=True)
        browser = engine.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for name, scheme in PICTURES.items():
            page = browser.new_page(viewport=SIZE, color_scheme=scheme)
            # As audited: there is something to decide.
            page.goto(f"file://{folder}/as-audited.html{VIEW}")
            page.wait_for_load_state("load")
            page.screenshot(path=STATIC / name)


if __name__ == "__main__":
    main()
