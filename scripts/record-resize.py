"""Records what Pillow's Image.resize gives, for test/images/resize.addon.test.ts.

Usage: python scripts/record-resize.py (needs Pillow 13 or newer; older ones run the passes in another order)
"""

import hashlib
import json
import pathlib

import PIL
from PIL import Image

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
SIZES = [
    ((37, 23), (32, 16)),
    ((37, 23), (80, 61)),
    ((37, 23), (37, 11)),
    ((37, 23), (9, 23)),
    ((64, 48), (32, 24)),
    ((1, 1), (7, 5)),
    ((1, 40), (3, 2)),
    ((40, 1), (1, 9)),
    ((3, 2), (90, 1)),
    ((2, 200), (5, 3)),
    ((700, 5), (2, 9)),
    ((71, 51), (70, 50)),
    ((130, 131), (128, 128)),
    ((256, 171), (64, 64)),
    # The order of the passes: vertical first, and the sizes on both sides of the rule's limits.
    ((36, 44), (40, 28)),
    ((50, 60), (45, 49)),
    ((50, 60), (45, 50)),
    ((50, 60), (60, 59)),
    ((50, 60), (40, 61)),
    ((33, 90), (20, 30)),
]
MODES = {1: "L", 3: "RGB", 4: "RGBX"}


def noise(seed, count):
    """The upper bytes of a linear congruential generator (Numerical Recipes), which the test repeats."""
    state, data = seed, bytearray()
    for _ in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        data.append(state >> 24)
    return bytes(data)


def main():
    if int(PIL.__version__.split(".")[0]) < 13:
        raise SystemExit(f"Pillow {PIL.__version__} orders the passes as no version since 13 does")
    cases = []
    for seed, (before, after) in enumerate(SIZES):
        for name, resample in FILTERS.items():
            channels = (1, 3, 3, 4)[(seed + len(name)) % 4]
            image = Image.frombytes(MODES[channels], before, noise(seed, before[0] * before[1] * channels))
            # Hard edges make filters with negative lobes overshoot the range.
            if seed % 2:
                image = image.point(lambda value: 255 if value > 127 else 0)
            result = image.resize(after, resample)
            cases.append(
                {
                    "filter": name,
                    "seed": seed,
                    "hard": bool(seed % 2),
                    "channels": channels,
                    "from": before,
                    "to": after,
                    "sha256": hashlib.sha256(result.tobytes()).hexdigest(),
                }
            )
    target = pathlib.Path(__file__).parent.parent / "test/fixtures/images/resize.json"
    target.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    print(f"{len(cases)} cases in {target}")


main()
