"""Records calls of diffusers' pipelines whose UNets take the scale of guidance (`time_cond_proj_dim`), for
test/parity/stable-diffusion-xl.addon.test.ts, with the models of other fixtures and UNets made of theirs.

Usage: python scripts/record-guidance-embedding.py (needs diffusers, transformers, torch; CPU)
"""

import json
import pathlib

import diffusers
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

FIXTURES = pathlib.Path(__file__).parent.parent / "test" / "fixtures"
TARGET = FIXTURES / "guidance-embedding"
TARGET.mkdir(exist_ok=True)
torch.set_num_threads(1)
runs, tensors = [], {}
config = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def record(class_name, model, unet, args):
    index = len(runs)
    parts = dict(safety_checker=None) if "XL" not in class_name else dict(add_watermarker=False)
    parts["unet"] = UNet2DConditionModel.from_pretrained(TARGET / unet)
    pipe = getattr(diffusers, class_name).from_pretrained(TARGET / model, **parts)
    pipe.scheduler = diffusers.LCMScheduler.from_config(config)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(index)
    latents, timesteps = [], []

    def callback(_, step, timestep, seen):
        latents.append(seen["latents"].clone())
        timesteps.append(float(timestep))
        return {}

    given = {name: tensors[value["tensor"]] if isinstance(value, dict) else value for name, value in args.items()}
    tensors[f"run{index}.images"] = pipe(**given, generator=generator, callback_on_step_end=callback).images.contiguous()
    tensors[f"run{index}.latents"] = torch.stack(latents).contiguous()
    tensors[f"run{index}.rng"] = torch.randn(16, generator=generator)
    run = dict(model=model, unet=unet, scheduler="LCMScheduler", scheduler_config=config, seed=index, args=args)
    runs.append({"class": class_name, "given": False, **run, "timesteps": timesteps})


torch.manual_seed(8)
for name, source, width in (("unet", "../sdxl-img2img/model", 32), ("unet_odd", "../text2img/model", 33)):
    unet = UNet2DConditionModel.from_config({**UNet2DConditionModel.load_config(TARGET / source / "unet"), "time_cond_proj_dim": width})
    unet.load_state_dict(UNet2DConditionModel.from_pretrained(TARGET / source / "unet").state_dict(), strict=False)
    unet.save_pretrained(TARGET / name)

shared = dict(prompt="a red door", num_inference_steps=3, output_type="pt")
tensors["image"] = torch.rand(1, 3, 24, 32)
xl = ("../sdxl-img2img/model", "unet")
record("StableDiffusionXLPipeline", *xl, {**shared, "height": 16, "width": 24, "guidance_scale": 8.0, "num_images_per_prompt": 2})
record("StableDiffusionXLPipeline", *xl, {**shared, "height": 16, "width": 24, "guidance_scale": 0.5, "negative_prompt": "dark"})
record("StableDiffusionXLImg2ImgPipeline", *xl, {**shared, "image": {"tensor": "image"}, "strength": 0.7, "guidance_rescale": 0.5})
record("StableDiffusionPipeline", "../text2img/model", "unet_odd", {**shared, "height": 32, "width": 40, "guidance_scale": 7.0})
save_file(tensors, TARGET / "expected.safetensors")
versions = dict(diffusers=diffusers.__version__, torch=torch.__version__)
(TARGET / "case.json").write_text(json.dumps(dict(versions=versions, runs=runs), indent=1) + "\n")
