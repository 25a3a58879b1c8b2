"""Records what diffusers' make_image_grid gives, for test/images/grid.addon.test.ts.

Usage: python scripts/record-grids.py (needs diffusers, and Pillow 13 or newer; older ones resize in another order)
"""

import hashlib
import json
import pathlib

import PIL
from diffusers.utils import make_image_grid
from PIL import Image

# Sizes of the images, rows, columns, and the side to resize to.
CASES = [
    ([(5, 4)], 1, 1, None),
    ([(5, 4), (5, 4)], 1, 2, None),
    ([(5, 4)] * 6, 2, 3, None),
    # Larger and smaller images than the first one.
    ([(5, 4), (3, 2), (2, 7), (9, 3)], 2, 2, None),
    ([(5, 4), (9, 9), (5, 4), (5, 4), (7, 1), (12, 12)], 3, 2, None),
    ([(2, 2), (40, 50), (1, 1)], 1, 3, None),
    # Resized.
    ([(37, 23), (37, 23)], 1, 2, 16),
    ([(5, 4), (9, 3), (40, 50), (16, 16)], 2, 2, 16),
    ([(33, 90), (20, 30), (8, 8)], 3, 1, 21),
]


def noise(seed, count):
    """The upper bytes of a linear congruential generator (Numerical Recipes), which the test repeats."""
    state, data = seed, bytearray()
    for _ in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        data.append(state >> 24)
    return bytes(data)


def main():
    if int(PIL.__version__.split(".")[0]) < 13:
        raise SystemExit(f"Pillow {PIL.__version__} resizes in another order than versions since 13")
    recorded = []
    for sizes, rows, cols, resize in CASES:
        images = [Image.frombytes("RGB", size, noise(i, size[0] * size[1] * 3)) for i, size in enumerate(sizes)]
        grid = make_image_grid(images, rows=rows, cols=cols, resize=resize)
        digest = hashlib.sha256(grid.tobytes()).hexdigest()
        recorded.append(dict(sizes=sizes, rows=rows, cols=cols, resize=resize, size=grid.size, sha256=digest))
    path = pathlib.Path(__file__).parents[1] / "test/fixtures/images/grids.json"
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in recorded) + "\n]\n")


main()
