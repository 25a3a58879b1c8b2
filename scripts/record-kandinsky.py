"""Records calls of diffusers' pipelines of Kandinsky 2.2 for test/parity/kandinsky22.addon.test.ts: inpainting, schedulers that these
pipelines do not ask to scale, and noise that several results share; with the models of test/fixtures/kandinsky22 and a small UNet
for masks.

Usage: python scripts/record-kandinsky.py (needs diffusers, transformers, torch, Pillow; CPU)
"""

import json
import pathlib

import diffusers
import numpy as np
import torch
import transformers
from diffusers import (
    KandinskyV22Img2ImgCombinedPipeline,
    KandinskyV22Img2ImgPipeline,
    KandinskyV22InpaintCombinedPipeline,
    KandinskyV22InpaintPipeline,
    KandinskyV22Pipeline,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import save_file

FIXTURES = pathlib.Path(__file__).parent.parent / "test" / "fixtures"
MODELS, TARGET = FIXTURES / "kandinsky22", FIXTURES / "kandinsky22-inpaint"
TARGET.mkdir(exist_ok=True)
ALONE, COMBINED = "KandinskyV22InpaintPipeline", "KandinskyV22InpaintCombinedPipeline"
BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="linear", clip_sample=False)

diffusers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)
random = np.random.default_rng(22)
tensors, runs = {}, []


def picture(name, height, width, mode="RGB"):
    small = random.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(small).resize((width, height), Image.BICUBIC).convert(mode).save(TARGET / name)
    return {"image": name}


def mask(name, height, width, mode):
    """White and grey rectangles, some of which touch the edges."""
    values = np.zeros((height, width), np.uint8)
    values[height // 3 : height // 2, width // 4 : width // 2] = 255
    values[: height // 5, width * 3 // 4 :] = 200
    values[height * 4 // 5 :, : width // 6] = 90
    Image.fromarray(values).convert("RGB" if mode == "RGB" else mode).save(TARGET / name)
    return {"image": name}


def tensor(name, value):
    tensors[name] = torch.as_tensor(value, dtype=torch.float32).contiguous()
    return {"tensor": name}


def argument(value):
    if isinstance(value, list):
        return [argument(each) for each in value]
    if isinstance(value, dict):
        # A copy: the pipeline makes masks binary in place.
        return tensors[value["tensor"]].clone() if "tensor" in value else Image.open(TARGET / value["image"])
    return value


def record(pipe, pipeline, args, output_type="np", scheduler=None, config=None, many=0):
    index = len(runs)
    name = scheduler or "DDPMScheduler"
    before = pipe.scheduler
    if config is not None:
        pipe.register_modules(scheduler=getattr(diffusers, name)(**config))
    inner = getattr(pipe, "decoder_pipe", pipe)
    inner.register_modules(scheduler=pipe.scheduler)
    pipe.set_progress_bar_config(disable=True)
    seed, steps = 100 + index, []

    def callback(_, step, timestep, seen):
        steps.append(seen["latents"].clone())
        return {}

    generators = [torch.Generator().manual_seed(seed + i) for i in range(many or 1)]
    images = pipe(
        **{key: argument(value) for key, value in args.items()},
        generator=generators if many else generators[0],
        output_type=output_type,
        callback_on_step_end=callback,
    ).images
    if output_type == "np":
        images = torch.from_numpy(images).permute(0, 3, 1, 2)
    tensors[f"run{index}.images"] = images.contiguous()
    tensors[f"run{index}.latents"] = torch.stack(steps).contiguous()
    tensors[f"run{index}.rng"] = torch.randn(16, generator=generators[0])
    pipe.register_modules(scheduler=before)
    inner.register_modules(scheduler=before)
    run = dict(pipeline=pipeline, model="decoder", seed=seed, output_type=output_type, args=args, scheduler=name)
    if config is not None:
        run |= dict(scheduler_config=config, scheduler_new=True)
    if many:
        run |= dict(generators=many)
    runs.append(run)


def main():
    torch.manual_seed(22)
    config = json.loads((MODELS / "decoder" / "unet" / "config.json").read_text())
    config |= dict(in_channels=9, block_out_channels=[8, 16], cross_attention_dim=16, norm_num_groups=4, attention_head_dim=4)
    unet = UNet2DConditionModel.from_config(config).eval()
    for name, parameter in unet.named_parameters():
        torch.nn.init.normal_(parameter, mean=float("norm" in name and "weight" in name), std=0.1)
    unet.save_pretrained(TARGET / "unet")
    unet = UNet2DConditionModel.from_pretrained(TARGET / "unet")

    alone = KandinskyV22InpaintPipeline.from_pretrained(MODELS / "decoder", unet=unet)
    prior = diffusers.KandinskyV22PriorPipeline.from_pretrained(MODELS / "prior")
    parts = {f"prior_{name}": part for name, part in prior.components.items()}
    combined = KandinskyV22InpaintCombinedPipeline(**alone.components, **parts)

    normal = lambda *shape: random.standard_normal(shape, dtype=np.float32)
    embeds = dict(image_embeds=tensor("embeds", normal(1, 32)), negative_image_embeds=tensor("negative", normal(1, 32)))
    two = dict(image_embeds=tensor("embeds2", normal(2, 32)), negative_image_embeds=tensor("negative2", normal(2, 32)))
    image, other = picture("image.png", 36, 52), picture("grey.png", 40, 24, "L")
    wide, soft = mask("mask.png", 36, 52, "L"), mask("colour.png", 30, 20, "RGB")
    bits = mask("bits.png", 33, 47, "1")
    pixels = random.random((1, 3, 20, 36), dtype=np.float32) * 2 - 1
    painted = np.zeros((20, 36), np.float32)
    painted[4:9, 11:30], painted[:3, :5], painted[15:, 30:] = 1, 0.5, 0.49

    size = dict(num_inference_steps=4, height=32, width=48)
    record(alone, ALONE, dict(**embeds, image=image, mask_image=wide, **size))
    tall = dict(num_inference_steps=3, height=44, width=28, guidance_scale=7.5)
    record(alone, ALONE, dict(**embeds, image=other, mask_image=soft, **tall))
    given = dict(num_inference_steps=3, height=20, width=36)
    planes = dict(image=tensor("pixels", pixels[0]), mask_image=tensor("mask", painted))
    record(alone, ALONE, dict(**embeds, **planes, **given, guidance_scale=1.0))
    rows = dict(image=tensor("rows", pixels.repeat(2, 0)), mask_image=tensor("masks", painted[None, None].repeat(2, 0)))
    record(alone, ALONE, dict(**two, **rows, **given, num_images_per_prompt=2, guidance_scale=2.0))
    noise = dict(latents=tensor("noise", normal(1, 4, 16, 24)))
    record(alone, ALONE, dict(**embeds, image=image, mask_image=bits, **size, **noise), "latent", "DDIMScheduler", BETAS)
    fixed = dict(**BETAS, variance_type="fixed_small", thresholding=True, sample_max_value=2.0)
    pairs = dict(image=[image, image], mask_image=[bits, bits])
    record(alone, ALONE, dict(**two, **pairs, **size), scheduler="DDPMScheduler", config=fixed)
    texts = dict(num_inference_steps=3, prior_num_inference_steps=3, height=32, width=20)
    negative = dict(negative_prompt="low quality", prior_guidance_scale=2.0, guidance_scale=3.0)
    record(combined, COMBINED, dict(prompt="a red cat", image=image, mask_image=wide, **texts, **negative))
    many = dict(prompt=["a red cat", "blue sea"], image=[other, other], mask_image=[wide, wide])
    record(combined, COMBINED, dict(**many, **texts), "latent")

    decoder = KandinskyV22Pipeline.from_pretrained(MODELS / "decoder")
    variation = KandinskyV22Img2ImgPipeline(**decoder.components)
    variations = KandinskyV22Img2ImgCombinedPipeline(**decoder.components, **parts)
    euler = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="linear")
    few = dict(num_inference_steps=4, height=32, width=48)
    # Latents, since those are too far from an image for the autoencoder to keep its precision.
    record(decoder, "KandinskyV22Pipeline", dict(**embeds, **few), "latent", "EulerDiscreteScheduler", euler)
    record(decoder, "KandinskyV22Pipeline", dict(**embeds, **few), scheduler="EDMEulerScheduler", config=dict(sigma_max=14.0))
    learned = dict(variance_type="learned_range", clip_sample_range=2.0)
    record(decoder, "KandinskyV22Pipeline", dict(**two, **few), scheduler="UnCLIPScheduler", config=learned)
    start = dict(height=32, width=24, num_inference_steps=6, strength=0.6)
    ancestral = dict(scheduler="EulerAncestralDiscreteScheduler", config=euler)
    record(variation, "KandinskyV22Img2ImgPipeline", dict(**two, image=image, **start), **ancestral)
    planes = dict(image=tensor("plane", random.random((1, 3, 24, 32), dtype=np.float32)))
    words = dict(prompt="a red cat", negative_prompt="low quality", prior_num_inference_steps=3, num_images_per_prompt=2)
    record(variations, "KandinskyV22Img2ImgCombinedPipeline", dict(**words, **planes, **start), many=4)
    record(variations, "KandinskyV22Img2ImgCombinedPipeline", dict(**words, image=image, **start), many=4)

    save_file(tensors, TARGET / "expected.safetensors")
    versions = dict(diffusers=diffusers.__version__, torch=torch.__version__, transformers=transformers.__version__)
    (TARGET / "case.json").write_text(json.dumps(dict(versions=versions, runs=runs), indent=1) + "\n")


if __name__ == "__main__":
    main()
