"""Records the edges that OpenCV's Canny finds.

    python scripts/record-canny.py

Writes test/fixtures/canny: pictures, the edges found in them with several thresholds as PNGs of 1 bit, and cases.json. Needs
opencv-python-headless, numpy and Pillow.
"""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

FIXTURES = Path(__file__).parent.parent / "test" / "fixtures"
TARGET = FIXTURES / "canny"
THRESHOLDS = [(100, 200, False), (200, 100, False), (50.5, 120.9, True), (0, 0, False), (300, 900, False), (-5, 400, True)]
shutil.rmtree(TARGET, ignore_errors=True)
TARGET.mkdir()
random = np.random.default_rng(0)


def noise(height, width):
    return random.integers(0, 256, (height, width, 3), dtype=np.uint8)


pictures = {
    "noise": noise(37, 53),
    "blurred": cv2.GaussianBlur(noise(90, 70), (9, 9), 3),
    "blocks": cv2.resize(noise(6, 7), (70, 48), interpolation=cv2.INTER_NEAREST),
    "column": noise(40, 1),
    "row": noise(1, 40),
    "pixel": noise(1, 1),
}
cases = []
for name, picture in pictures.items():
    Image.fromarray(picture).save(TARGET / f"{name}.png")
pictures["../img2img/image0"] = np.array(Image.open(FIXTURES / "img2img" / "image0.png").convert("RGB"))
for name, picture in pictures.items():
    for low, high, l2 in THRESHOLDS:
        edges = cv2.Canny(picture, low, high, L2gradient=l2)
        file = f"edges{len(cases)}.png"
        Image.fromarray(edges).convert("1").save(TARGET / file)
        cases.append(dict(picture=f"{name}.png", low=low, high=high, l2=l2, edges=file, count=int((edges > 0).sum())))
(TARGET / "cases.json").write_text(json.dumps(dict(opencv=cv2.__version__, cases=cases), indent=1) + "\n")
