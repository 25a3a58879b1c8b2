"""Records diffusers' results for the built-in models: test/fixtures/built-in/ and test/fixtures/built-in-photo/.

    node scripts/tiny/picture.mjs && node scripts/photo/picture.mjs && python scripts/record-built-in.py

Needs torch, diffusers, transformers and safetensors. Run it again whenever a model has changed.
"""

import json
from pathlib import Path

import torch
from diffusers import StableDiffusionInstructPix2PixPipeline
from PIL import Image
from safetensors.torch import save_file

ROOT = Path(__file__).parent.parent
torch.set_num_threads(1)


def record(model, folder):
    case = json.loads((folder / "case.json").read_text())
    pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(ROOT / "models" / model, safety_checker=None)
    images = pipeline(
        case["prompt"],
        image=Image.open(folder / "picture.png").convert("RGB"),
        num_inference_steps=case["num_inference_steps"],
        guidance_scale=case["guidance_scale"],
        image_guidance_scale=case["image_guidance_scale"],
        generator=torch.Generator().manual_seed(case["seed"]),
        output_type="pt",
    ).images
    save_file({"images": images.contiguous()}, folder / "expected.safetensors")
    print(model, images.shape, images.mean())


for name, fixture in [("tiny", "built-in"), ("photo", "built-in-photo")]:
    record(name, ROOT / "test" / "fixtures" / fixture)
