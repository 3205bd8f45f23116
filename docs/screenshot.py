"""The README's first picture: the first screen of a kept run's page, as Debian's Chromium shows it.

python docs/screenshot.py [RUN]
"""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from analysis.findings import Findings
from analysis.report import write_report

DOCS = Path(__file__).parent
RUN = DOCS / "results" / "digits-27x4" / "run"
PICTURE = DOCS / "page.png"
SIZE = (1440, 900)
COLOURS = 256


def shoot(run: Path, picture: Path) -> Path:
    """Write the page of a copy of the run folder, and the picture of its first screen; returns the picture."""
    with TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(run, Path(folder) / run.parent.name))
        screen = Path(folder) / "screen.png"
        window = f"--window-size={SIZE[0]},{SIZE[1]}"
        options = ["--headless=new", "--no-sandbox", "--hide-scrollbars", "--force-device-scale-factor=1", window]
        page = write_report(Findings.of(copy)).as_uri()
        subprocess.run(["chromium", *options, f"--screenshot={screen}", page], check=True)
        with Image.open(screen) as image:
            few = image.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE)  # small marks keep their colours
            few.save(picture, optimize=True)
    return picture


if __name__ == "__main__":
    print(shoot(Path(sys.argv[1]) if len(sys.argv) > 1 else RUN, PICTURE))
