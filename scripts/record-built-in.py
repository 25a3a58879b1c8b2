"""Records diffusers' results for the built-in model: test/fixtures/built-in/.

    node scripts/tiny/picture.mjs && python scripts/record-built-in.py

Needs torch, diffusers, transformers and safetensors. Run it again whenever the model has changed.
"""

import json
from pathlib import Path

import torch
from diffusers import StableDiffusionInstructPix2PixPipeline
from PIL import Image
from safetensors.torch import save_file

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "test" / "fixtures" / "built-in"
case = json.loads((FOLDER / "case.json").read_text())
torch.set_num_threads(1)

pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(ROOT / "models" / "tiny", safety_checker=None)
images = pipeline(
    case["prompt"],
    image=Image.open(FOLDER / "picture.png").convert("RGB"),
    num_inference_steps=case["num_inference_steps"],
    guidance_scale=case["guidance_scale"],
    image_guidance_scale=case["image_guidance_scale"],
    generator=torch.Generator().manual_seed(case["seed"]),
    output_type="pt",
).images
save_file({"images": images.contiguous()}, FOLDER / "expected.safetensors")
print(images.shape, images.mean())
