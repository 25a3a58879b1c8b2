"""Records rare calls of diffusers' upscalers with tiny models: tensors whose sides are no multiples, several generators for one
image, schedulers and types of prediction.

    python scripts/record-upscale.py

Writes test/fixtures/upscale-more: case.json lists the calls in the form that test/parity/replay.ts reads, expected.safetensors
has their inputs and results. The models are those of other fixtures. Needs torch, diffusers 0.42.1, transformers, safetensors
and scipy; CPU.
"""

import functools
import inspect
import json
import shutil
from pathlib import Path

import diffusers
import torch
from diffusers.utils import load_image
from safetensors.torch import save_file

TARGET = Path(__file__).parent.parent / "test" / "fixtures" / "upscale-more"
torch.set_num_threads(1)
shutil.rmtree(TARGET, ignore_errors=True)
TARGET.mkdir(parents=True)

FOUR, TWO = "../upscale-x4/model", "../latent-upscale/model"
CLASSES = {FOUR: "StableDiffusionUpscalePipeline", TWO: "StableDiffusionLatentUpscalePipeline"}
expected, runs = {}, []


def given(name, *shape, low=0.0, normal=False):
    generator = torch.Generator().manual_seed(len(expected))
    drawn = torch.randn(shape, generator=generator) if normal else torch.rand(shape, generator=generator)
    expected[name] = drawn if normal else low + (1 - low) * drawn
    return dict(tensor=name)


def argument(value):
    if isinstance(value, list):
        return [argument(each) for each in value]
    if isinstance(value, dict):
        return expected[value["tensor"]].clone()
    return load_image(str(TARGET / value)) if isinstance(value, str) and value.endswith(".png") else value


def run(model, scheduler, seed, config=None, output_type="pt", **args):
    pipe = getattr(diffusers, CLASSES[model]).from_pretrained(TARGET / model)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config, **(config or {}))
    generators = [torch.Generator().manual_seed(each) for each in (seed if isinstance(seed, list) else [seed])]
    generator = generators if isinstance(seed, list) else generators[0]
    # Here a step's own noise is the call's generator's also where diffusers draws it from the global one.
    if model == TWO and "generator" in inspect.signature(pipe.scheduler.step).parameters:
        pipe.scheduler.step = functools.partial(pipe.scheduler.step, generator=generator)
    timesteps, latents, place = [], [], len(runs)

    def callback(_, timestep, now):
        timesteps.append(float(timestep))
        latents.append(now.clone())

    inputs = {key: argument(value) for key, value in args.items()}
    images = pipe(**inputs, generator=generator, output_type=output_type, callback=callback).images
    expected[f"run{place}.images"] = images.contiguous()
    expected[f"run{place}.latents"] = torch.stack(latents).contiguous()
    expected[f"run{place}.rng"] = torch.cat([torch.randn(16, generator=each) for each in generators])
    call = dict(**{"class": CLASSES[model]}, model=model, scheduler=scheduler, scheduler_config=config or {}, seed=seed)
    runs.append(dict(**call, args=dict(**args, output_type=output_type), timesteps=timesteps))


prompts = ["a fantasy landscape", "an old lighthouse"]
odd = given("odd", 1, 3, 19, 17, low=-1.0)
pair = given("pair", 2, 3, 21, 18)
# One image, several results with a generator each: the first one's draws the noise of the image.
run(FOUR, "EulerAncestralDiscreteScheduler", [3, 4], dict(prediction_type="epsilon"), prompt="a boat", image=odd,
    num_inference_steps=3, guidance_scale=4.0, noise_level=0, num_images_per_prompt=2)
run(FOUR, "DPMSolverMultistepScheduler", [5, 6, 7, 8], dict(prediction_type="sample", solver_order=3), prompt=prompts,
    image=pair, negative_prompt=["dark", ""], num_inference_steps=5, guidance_scale=2.0, num_images_per_prompt=2,
    noise_level=100, output_type="latent")
run(FOUR, "UniPCMultistepScheduler", 9, dict(timestep_spacing="linspace"), prompt=prompts, num_inference_steps=3,
    image=["../upscale-x4/image1.png", "../upscale-x4/image0.png"], guidance_scale=0.5, noise_level=7)
run(FOUR, "LCMScheduler", 10, dict(prediction_type="epsilon"), prompt="", image=[given("plane", 3, 18, 22)],
    num_inference_steps=2, guidance_scale=1.0, output_type="latent")
run(TWO, "DPMSolverMultistepScheduler", 11, dict(prediction_type="sample", use_karras_sigmas=True), prompt="a boat",
    image=given("large", 1, 3, 51, 66), num_inference_steps=4, guidance_scale=1.5)
run(TWO, "EulerAncestralDiscreteScheduler", [12, 13], dict(prediction_type="epsilon"), prompt=prompts,
    image=given("latents", 2, 4, 4, 6, normal=True), num_inference_steps=3, guidance_scale=0.0, output_type="latent")
run(TWO, "LMSDiscreteScheduler", 14, dict(prediction_type="epsilon"), prompt=prompts, negative_prompt=["dark", "blurry"],
    image=given("two", 2, 3, 48, 34, low=-1.0), num_inference_steps=4, guidance_scale=3.0, output_type="latent")

versions = dict(diffusers=diffusers.__version__, torch=torch.__version__)
(TARGET / "case.json").write_text(json.dumps(dict(versions=versions, runs=runs), indent=1) + "\n")
save_file(expected, TARGET / "expected.safetensors")
