"""Records calls of diffusers' Stable Diffusion pipelines that differ in how they read their components, images and masks,
for test/parity/stable-diffusion.addon.test.ts.

Usage: python scripts/record-stable-diffusion.py (needs diffusers, transformers, torch, Pillow; CPU)
"""

import json
import pathlib

import numpy as np
import torch
import diffusers
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file

FIXTURES = pathlib.Path(__file__).parent.parent / "test" / "fixtures"
TARGET = FIXTURES / "stable-diffusion"
TARGET.mkdir(exist_ok=True)
BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
TEXT, IMAGE, INPAINT = "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"
MODELS = {TEXT: "../text2img/model", IMAGE: "../img2img/model", INPAINT: "../inpaint/model"}
# Of two pixels for each latent, where those of the models above are of eight.
FINE_VAE = "../ip2p-tiny/model/vae"
TEXT_UNET = "../text2img/model/unet"

random = np.random.default_rng(5)
runs, tensors = [], {}


def smooth(height, width, channels):
    small = torch.from_numpy(random.random((1, channels, 4, 4), dtype=np.float32))
    large = torch.nn.functional.interpolate(small, size=(height, width), mode="bicubic").clamp(0, 1)
    return (large * 255).byte().numpy()[0].transpose(1, 2, 0)


def picture(name, image):
    image.save(TARGET / name)
    return name


def tensor(name, value):
    tensors[name] = value.contiguous()
    return {"tensor": name}


def argument(value):
    if isinstance(value, list):
        return [argument(each) for each in value]
    if isinstance(value, dict):
        return tensors[value["tensor"]]
    # As the file holds it: masks of bits and palettes stay so.
    return Image.open(TARGET / value) if isinstance(value, str) and value.endswith(".png") else value


def record(what, class_name, scheduler, config, args, seed=None, given=False, vae=None, unet=None, unet_config=None):
    """`given`: the pipeline is made of the scheduler; otherwise the scheduler replaces the pipeline's."""
    index = len(runs)
    folder = TARGET / MODELS[class_name]
    parts = dict(safety_checker=None)
    if vae:
        parts["vae"] = AutoencoderKL.from_pretrained(TARGET / vae)
    if unet or unet_config:
        parts["unet"] = UNet2DConditionModel.from_pretrained(TARGET / (unet or f"{MODELS[class_name]}/unet"))
        if unet_config:
            parts["unet"]._internal_dict = diffusers.configuration_utils.FrozenDict({**parts["unet"].config, **unet_config})
    config = {**BETAS, **config}
    sampler = getattr(diffusers, scheduler).from_config(config)
    if given:
        parts["scheduler"] = sampler
    pipe = getattr(diffusers, class_name).from_pretrained(folder, **parts)
    if not given:
        pipe.scheduler = sampler
    pipe.set_progress_bar_config(disable=True)
    seed = index if seed is None else seed
    generators = [torch.Generator().manual_seed(each) for each in (seed if isinstance(seed, list) else [seed])]
    latents, timesteps = [], []

    def callback(_, step, timestep, seen):
        latents.append(seen["latents"].clone())
        timesteps.append(float(timestep))
        return {}

    images = pipe(
        **{name: argument(value) for name, value in args.items()},
        generator=generators if isinstance(seed, list) else generators[0],
        callback_on_step_end=callback,
    ).images
    if args["output_type"] == "pil":
        images = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])
    tensors[f"run{index}.images"] = images.contiguous()
    tensors[f"run{index}.latents"] = torch.stack(latents).contiguous()
    tensors[f"run{index}.rng"] = torch.cat([torch.randn(16, generator=each) for each in generators])
    run = dict(what=what, model=MODELS[class_name], scheduler=scheduler, scheduler_config=config, seed=seed, args=args)
    run |= {"class": class_name, "given": given, "vae": vae, "unet": unet, "unet_config": unet_config}
    runs.append({**{key: value for key, value in run.items() if value is not None}, "timesteps": timesteps})


image = picture("image.png", Image.fromarray(smooth(46, 61, 3)))
masks = np.zeros((46, 61), np.uint8)
masks[11:30, 17:29] = 255
masks[22:27, 25:34] = 140
mask = picture("mask.png", Image.fromarray(masks))
shades = smooth(46, 61, 1)[..., 0]
bits = picture("mask-bits.png", Image.fromarray(shades).convert("1"))
colours = Image.fromarray(np.stack([shades, shades.T.copy().repeat(2, 0)[:46].repeat(2, 1)[:, :61], 255 - shades], -1))
palette = picture("mask-palette.png", colours.quantize(16))
clear = picture("mask-alpha.png", Image.fromarray(np.concatenate([smooth(46, 61, 3), smooth(46, 61, 1)], -1), "RGBA"))
grey = picture("mask-grey-alpha.png", Image.merge("LA", [Image.fromarray(shades), Image.fromarray(smooth(46, 61, 1)[..., 0])]))
wide = np.zeros((46, 61), np.uint8)
wide[:] = 255
wide[:, 30:] = 0
wide = picture("mask-wide.png", Image.fromarray(wide))
edge = np.zeros((46, 61), np.uint8)
edge[3:6, 2:60] = 255
edge = picture("mask-edge.png", Image.fromarray(edge))
see_through = picture("image-alpha.png", Image.fromarray(np.concatenate([smooth(46, 61, 3), smooth(46, 61, 1)], -1), "RGBA"))
plain = picture("image-grey.png", Image.fromarray(smooth(46, 61, 1)[..., 0]))

fantasy = dict(prompt="a fantasy landscape", num_inference_steps=3, guidance_scale=5.0, output_type="pt")
small = dict(**fantasy, height=32, width=40)
painted = dict(**small, image=image)

for class_name, more in ((TEXT, small), (IMAGE, dict(**fantasy, image=image, strength=0.7)), (INPAINT, dict(**painted, mask_image=mask))):
    outdated = dict(steps_offset=0, timestep_spacing="leading")
    record("a scheduler that clips samples", class_name, "DDIMScheduler", dict(clip_sample=True, **outdated), more, given=True)
    record("the same, set later", class_name, "DDIMScheduler", dict(clip_sample=True, **outdated), more)
    record("PNDM that starts with Runge-Kutta", class_name, "PNDMScheduler", dict(skip_prk_steps=False, **outdated), {**more, "num_inference_steps": 4}, given=True)
record("a default size of 64 latents for UNets of early versions", TEXT, "DDIMScheduler", {}, {**fantasy, "num_inference_steps": 1, "output_type": "latent"}, vae=FINE_VAE, unet_config=dict(_diffusers_version="0.8.1"))
record("one edge alone", TEXT, "DDIMScheduler", {}, {**fantasy, "height": 32})

euler = ("EulerDiscreteScheduler", {})
for what, name in (("bits", bits), ("a palette", palette), ("colours and alpha", clear), ("grey and alpha", grey)):
    record(f"a mask of {what}", INPAINT, *euler, {**painted, "num_inference_steps": 1, "mask_image": name})
record("a mask for each picture, a palette first", INPAINT, *euler, {**painted, "prompt": ["at night", "at dawn"], "num_inference_steps": 2, "mask_image": [palette, mask]})
record("a mask [H,W]", INPAINT, *euler, {**painted, "mask_image": tensor("mask.plane", torch.from_numpy(shades.copy()).float() / 255)})
record("sizes that are multiples of the autoencoder's factor", INPAINT, *euler, {**painted, "height": 22, "width": 36, "strength": 0.8, "mask_image": mask}, vae=FINE_VAE)
record("one picture, several generators", INPAINT, "EulerAncestralDiscreteScheduler", {}, {**painted, "strength": 0.7, "mask_image": mask, "num_images_per_prompt": 2}, unet=TEXT_UNET, seed=[50, 51])
masked = tensor("masked.latents", torch.from_numpy(random.standard_normal((1, 4, 4, 5), dtype=np.float32)))
record("masked latents, not used", INPAINT, *euler, {**painted, "mask_image": mask, "masked_image_latents": masked}, unet=TEXT_UNET)
pixels = tensor("masked.pixels", torch.from_numpy(random.random((1, 3, 32, 40), dtype=np.float32) * 2 - 1))
record("a masked picture in pixels", INPAINT, *euler, {**painted, "mask_image": mask, "masked_image_latents": pixels})
still = tensor("image.latents", torch.from_numpy(random.standard_normal((1, 4, 4, 5), dtype=np.float32)))
record("latents of picture and masked picture", INPAINT, *euler, {**painted, "strength": 0.7, "image": still, "mask_image": mask, "masked_image_latents": masked})
record("PNDM at a low strength", INPAINT, "PNDMScheduler", dict(skip_prk_steps=True), {**painted, "strength": 0.4, "mask_image": mask})

cut = {**painted, "output_type": "pil", "num_inference_steps": 2}
for what, more in (
    ("a part of a picture", dict(mask_image=mask, padding_mask_crop=4)),
    ("a part without a margin, by bits", dict(mask_image=bits, padding_mask_crop=0)),
    ("a part of half the picture, drawn out above and below", dict(mask_image=wide, padding_mask_crop=1, height=56)),
    ("a part along an edge, drawn out at the sides", dict(mask_image=wide, padding_mask_crop=8, width=72)),
    ("a part along the upper edge, extended", dict(mask_image=edge, padding_mask_crop=2)),
    ("a part of a picture with alpha", dict(image=see_through, mask_image=clear, padding_mask_crop=3)),
    ("a part of a grey picture, twice", dict(image=plain, mask_image=mask, padding_mask_crop=32, num_images_per_prompt=2)),
):
    record(what, INPAINT, *euler, {**cut, **more}, unet=TEXT_UNET if "bits" in what else None)

save_file(tensors, TARGET / "expected.safetensors")
versions = dict(diffusers=diffusers.__version__, torch=torch.__version__)
(TARGET / "case.json").write_text(json.dumps(dict(versions=versions, runs=runs), indent=1) + "\n")
