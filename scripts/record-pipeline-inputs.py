"""Records diffusers' results for tensors given as the image, and for a callback that replaces latents, for
test/parity/inputs.addon.test.ts.

Usage: python scripts/record-pipeline-inputs.py (needs diffusers, transformers, torch; CPU)
"""

import json
import pathlib

import torch
import diffusers
from diffusers import StableDiffusionInstructPix2PixPipeline
from safetensors.torch import save_file

FIXTURES = pathlib.Path(__file__).parent.parent / "test" / "fixtures"
TARGET = FIXTURES / "pipeline-inputs"
TARGET.mkdir(exist_ok=True)

pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(FIXTURES / "ip2p-tiny" / "model", safety_checker=None)
pipe.set_progress_bar_config(disable=True)
pipe.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)

cases = []
tensors = {}


def record(name, image, prompts=("make it snow",), count=1, output="pt", replace=None):
    """`replace` is [factor, shift]: the callback replaces latents by factor · latents + shift."""
    index = len(cases)

    def callback(_, step, timestep, given):
        return {"latents": given["latents"] * replace[0] + replace[1]} if replace else {}

    out = pipe(
        prompt=list(prompts),
        image=image,
        num_inference_steps=3,
        num_images_per_prompt=count,
        generator=torch.Generator().manual_seed(index),
        output_type=output,
        callback_on_step_end=callback,
    ).images
    images = image if isinstance(image, list) else [image]
    tensors.update({f"{index}.image.{i}": tensor.clone() for i, tensor in enumerate(images)})
    tensors[f"{index}.out"] = out.float().contiguous()
    kind = "latent" if output == "latent" else "tensor"
    case = dict(name=name, images=len(images), prompts=prompts, count=count, output=kind, replace=replace)
    cases.append({**case, "list": isinstance(image, list)})


random = torch.Generator().manual_seed(1)
unit = lambda *shape: torch.rand(*shape, generator=random)
latents = lambda *shape: torch.randn(*shape, generator=random)
four = ("make it snow", "add a boat", "at night", "as a drawing")

record("pixels in -1..1", unit(1, 3, 16, 12) * 2 - 1)
record("pixels of which one is hardly negative", unit(1, 3, 16, 12).clamp_(min=0).index_put_(tuple([torch.tensor([0])] * 4), torch.tensor(-1e-7)))
# Nearest-neighbour resizing drops the last row, and with it the only negative pixel.
trimmed = unit(1, 3, 13, 12)
trimmed[0, 0, 12, 0] = -1
record("pixels whose only negative one is left out", trimmed)
record("pixels in half precision", unit(1, 3, 16, 12).half())
record("pixels rounded beyond 1", unit(1, 3, 16, 12).mul_(1.003).clamp_(max=1.003))
record("one picture without a batch", unit(3, 16, 12))
record("a list of pictures, one for each prompt", [unit(3, 16, 12), unit(3, 16, 12)], prompts=four[:2])
record("two pictures for four prompts", unit(2, 3, 16, 12), prompts=four)
record("two pictures for two prompts, two results each", unit(2, 3, 16, 12), prompts=four[:2], count=2)
record("image latents", latents(1, 4, 8, 6))
record("image latents without a batch", latents(4, 8, 6))
record("image latents of two pictures for four prompts", latents(2, 4, 8, 6), prompts=four, output="latent")
record("latents replaced after each step", unit(1, 3, 16, 12), replace=[0.9, 0.05])
record("latents replaced, given back as latents", unit(1, 3, 16, 12), output="latent", replace=[1.1, -0.1])

save_file(tensors, TARGET / "expected.safetensors")
versions = dict(diffusers=diffusers.__version__, torch=torch.__version__)
(TARGET / "cases.json").write_text(json.dumps(dict(versions=versions, cases=cases), indent=1) + "\n")
