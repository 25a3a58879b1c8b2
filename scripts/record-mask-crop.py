"""Records what diffusers does with `padding_mask_crop`, for test/pipelines/mask-crop.addon.test.ts.

    python scripts/record-mask-crop.py

Whole runs of StableDiffusionInpaintPipeline on the tiny models, and the single steps on random pictures: the region, the
part in the model's size, and the result in the picture.
"""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionInpaintPipeline
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from safetensors.torch import save_file

FIXTURES = Path(__file__).resolve().parent.parent / "test" / "fixtures"
OUT = FIXTURES / "mask-crop"

# image, target and padding; masks are rectangles with soft edges
STEPS = [
    ((44, 60), (40, 48), 0),
    ((44, 60), (48, 24), 3),
    ((61, 37), (24, 48), 5),
    ((61, 37), (64, 32), 100),
    ((30, 90), (32, 32), 7),
    ((90, 30), (40, 32), 1),
]
RUNS = [
    {"model": "inpaint", "height": 48, "width": 40, "padding_mask_crop": 4, "strength": 1.0},
    {"model": "inpaint", "height": 24, "width": 48, "padding_mask_crop": 0, "strength": 0.7},
    {"model": "text2img", "height": 48, "width": 24, "padding_mask_crop": 9, "strength": 0.7},
]


def pixels(image):
    return torch.from_numpy(np.array(image.convert("RGB")).copy())


def main():
    OUT.mkdir(exist_ok=True)
    tensors, steps, runs = {}, [], []
    random = np.random.default_rng(0)
    processor = VaeImageProcessor(vae_scale_factor=8)
    for i, ((width, height), (w, h), padding) in enumerate(STEPS):
        picture = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        grey = np.zeros((height, width), dtype=np.uint8)
        top, left = random.integers(2, height // 2), random.integers(2, width // 2)
        bottom, right = top + random.integers(4, height // 3), left + random.integers(4, width // 3)
        grey[top:bottom, left:right] = random.choice([1, 60, 128, 200, 255], (bottom - top, right - left))
        mask = Image.fromarray(grey)
        region = processor.get_crop_region(mask, w, h, pad=padding)
        part = processor.resize(picture.crop(region), h, w, resize_mode="fill")
        painted = Image.fromarray(random.integers(0, 256, (h, w, 3), dtype=np.uint8))
        result = processor.apply_overlay(mask, picture, painted, region)
        for name, image in {"picture": picture, "mask": mask, "part": part, "painted": painted, "result": result}.items():
            tensors[f"step{i}.{name}"] = pixels(image)
        steps.append({"width": w, "height": h, "padding": padding, "region": [int(x) for x in region]})
    picture, mask = Image.open(FIXTURES / "inpaint/image0.png").convert("RGB"), Image.open(FIXTURES / "inpaint/mask0.png")
    for i, run in enumerate(RUNS):
        arguments = dict(run)
        pipe = StableDiffusionInpaintPipeline.from_pretrained(FIXTURES / arguments.pop("model") / "model", safety_checker=None)
        pipe.set_progress_bar_config(disable=True)
        arguments |= {"prompt": "a fantasy landscape", "num_inference_steps": 3}
        generator = torch.Generator().manual_seed(i)
        result = pipe(image=picture, mask_image=mask, generator=generator, num_images_per_prompt=2, **arguments)
        for n, image in enumerate(result.images):
            tensors[f"run{i}.image{n}"] = pixels(image)
        runs.append({**run, "seed": i})
    save_file(tensors, OUT / "expected.safetensors")
    (OUT / "case.json").write_text(json.dumps({"steps": steps, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
