"""Records what transformers' CLIPImageProcessor makes of images with alpha, for test/conditioning/clip-image-processor.addon.test.ts.

Usage: python scripts/record-image-processor.py (needs transformers, torch, Pillow; CPU)
"""

import json
import pathlib

import numpy as np
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file

TARGET = pathlib.Path(__file__).parent.parent / "test" / "fixtures" / "image-processor"
TARGET.mkdir(exist_ok=True)
CONFIG = dict(size=dict(shortest_edge=8), crop_size=dict(height=8, width=8))


def main():
    random = np.random.default_rng(5)
    colours = Image.fromarray(random.integers(0, 256, (13, 17, 3), dtype=np.uint8))
    alpha = Image.fromarray(random.integers(0, 256, (13, 17), dtype=np.uint8))
    images = {name: colours.convert(name) for name in ("RGB", "L", "1", "P")}
    images["RGBA"], images["LA"] = colours.copy(), colours.convert("L")
    for name in ("RGBA", "LA"):
        images[name].putalpha(alpha)
    # A palette with alpha for each entry, and one transparent colour of a palette, of grey, and of RGB.
    for name, options in {
        "P-alphas": dict(transparency=bytes(random.integers(0, 256, 256, dtype=np.uint8))),
        "P-one": dict(transparency=images["P"].getpixel((3, 4))),
        "L-one": dict(transparency=images["L"].getpixel((5, 6))),
        "RGB-one": dict(transparency=colours.getpixel((7, 8))),
    }.items():
        images[name.split("-")[0]].save(TARGET / f"{name}.png", **options)
    for name, image in images.items():
        image.save(TARGET / f"{name}.png")
    images["RGBA"].save(TARGET / "RGBA.webp", lossless=True, exact=True)
    images["P"].save(TARGET / "P-one.gif", transparency=images["P"].getpixel((3, 4)))

    processor = transformers.CLIPImageProcessor(**CONFIG)
    expected = {}
    for path in sorted(TARGET.glob("*.*")):
        if path.suffix in (".png", ".webp", ".gif"):
            with Image.open(path) as image:
                expected[path.name] = processor(image, return_tensors="pt").pixel_values.contiguous()
    save_file(expected, TARGET / "expected.safetensors")
    versions = dict(transformers=transformers.__version__, torch=torch.__version__, processor=type(processor).__name__)
    (TARGET / "case.json").write_text(json.dumps(dict(versions=versions, config=CONFIG), indent=1) + "\n")


if __name__ == "__main__":
    main()
