"""Records calls of diffusers' Stable Diffusion XL pipelines for test/parity/stable-diffusion-xl.addon.test.ts: in sdxl-inpaint those of
StableDiffusionXLInpaintPipeline, with the models of sdxl-img2img and a UNet for masks made of the base's; in sdxl-more those of all
classes with settings that come together rarely, and a UNet of unusual settings.

Usage: python scripts/record-stable-diffusion-xl.py (needs diffusers, transformers, torch, Pillow; CPU)
"""

import json
import pathlib

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file

FIXTURES = pathlib.Path(__file__).parent.parent / "test" / "fixtures"
INPAINT = "StableDiffusionXLInpaintPipeline"
EDIT = "StableDiffusionXLInstructPix2PixPipeline"
BASE, REFINER, VAE = "../sdxl-img2img/model", "../sdxl-img2img/refiner", "../sdxl-img2img/vae_mean_std"
MASKED = "unet_mask"
BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")

torch.set_num_threads(1)
random = np.random.default_rng(6)


def begin(name):
    """Begins a fixture."""
    global TARGET, runs, tensors
    TARGET = FIXTURES / name
    TARGET.mkdir(exist_ok=True)
    runs, tensors = [], {}


def save(unet, name):
    unet.register_to_config(_name_or_path="")
    unet.save_pretrained(TARGET / name)


def end():
    """Writes it."""
    save_file(tensors, TARGET / "expected.safetensors")
    versions = dict(diffusers=diffusers.__version__, torch=torch.__version__)
    (TARGET / "case.json").write_text(json.dumps(dict(versions=versions, runs=runs), indent=1) + "\n")


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
    return Image.open(TARGET / value) if isinstance(value, str) and value.endswith(".png") else value


def record(what, scheduler, config, args, seed=None, model=BASE, vae=None, unet=None, init=None, cls=INPAINT):
    index = len(runs)
    parts = dict(init or {}, add_watermarker=False)
    if vae:
        parts["vae"] = AutoencoderKL.from_pretrained(TARGET / vae)
    if unet:
        parts["unet"] = UNet2DConditionModel.from_pretrained(TARGET / unet)
    pipe = getattr(diffusers, cls).from_pretrained(TARGET / model, **parts)
    config = {**BETAS, **config}
    pipe.scheduler = getattr(diffusers, scheduler).from_config(config)
    pipe.set_progress_bar_config(disable=True)
    seed = index if seed is None else seed
    generators = [torch.Generator().manual_seed(each) for each in (seed if isinstance(seed, list) else [seed])]
    latents, timesteps = [], []

    def callback(_, step, timestep, seen):
        latents.append(seen["latents"].clone())
        timesteps.append(float(timestep))
        return {}

    # The class for edits has the older callback.
    told = dict(callback=lambda step, timestep, seen: callback(None, step, timestep, dict(latents=seen)))
    if cls != EDIT:
        told = dict(callback_on_step_end=callback)
    pairs = ("original_size", "crops_coords_top_left", "target_size")
    given = {name: argument(value) for name, value in args.items()}
    for name in given:
        if name.removeprefix("negative_") in pairs:
            given[name] = tuple(given[name])
    images = pipe(
        **given,
        generator=generators if isinstance(seed, list) else generators[0],
        **told,
    ).images
    if args["output_type"] == "pil":
        images = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])
    tensors[f"run{index}.images"] = images.contiguous()
    tensors[f"run{index}.latents"] = torch.stack(latents).contiguous()
    tensors[f"run{index}.rng"] = torch.cat([torch.randn(16, generator=each) for each in generators])
    run = dict(what=what, model=model, scheduler=scheduler, scheduler_config=config, seed=seed, args=args)
    run |= {"class": cls, "given": False, "vae": vae, "unet": unet, "init": init}
    runs.append({**{key: value for key, value in run.items() if value is not None}, "timesteps": timesteps})


begin("sdxl-inpaint")
image = picture("image.png", Image.fromarray(smooth(46, 61, 3)))
other = picture("image2.png", Image.fromarray(smooth(30, 40, 3)))
masks = np.zeros((46, 61), np.uint8)
masks[11:30, 17:29] = 255
masks[22:27, 25:34] = 140
mask = picture("mask.png", Image.fromarray(masks))
masks[:20, 20:] = 200
mask2 = picture("mask2.png", Image.fromarray(masks))

torch.manual_seed(7)
base = UNet2DConditionModel.from_pretrained(TARGET / BASE / "unet")
base.register_to_config(in_channels=9)
base.conv_in = torch.nn.Conv2d(9, base.config.block_out_channels[0], 3, padding=1)
save(base, MASKED)

painted = dict(prompt="a red door", image=image, mask_image=mask, num_inference_steps=4, output_type="pt", height=24, width=32)
euler = ("EulerDiscreteScheduler", dict(timestep_spacing="leading", steps_offset=1))
latents = tensor("image.latents", torch.from_numpy(random.standard_normal((1, 4, 12, 16), dtype=np.float32)))
noise = tensor("noise", torch.from_numpy(random.standard_normal((1, 4, 12, 16), dtype=np.float32)))
masked = tensor("masked.latents", torch.from_numpy(random.standard_normal((1, 4, 12, 16), dtype=np.float32)))
sizes = dict(original_size=[40, 50], crops_coords_top_left=[3, 5], target_size=[28, 36])
negative = dict(negative_original_size=[20, 30], negative_crops_coords_top_left=[1, 2], negative_target_size=[16, 24])

record("a text-to-image model", *euler, painted)
record("strength 1, another first text", *euler, {**painted, "strength": 1.0, "prompt_2": "night", "negative_prompt": "dark"})
record("a low strength, sizes", "DDIMScheduler", {}, {**painted, "strength": 0.6, **sizes, **negative})
record("a UNet for masks", *euler, {**painted, "guidance_rescale": 0.6}, unet=MASKED)
record("the same at strength 1", *euler, {**painted, "strength": 1.0, "clip_skip": 1, **sizes}, unet=MASKED)
record("the same with latents", *euler, {**painted, "latents": noise, "strength": 0.5}, unet=MASKED)
record("mean and deviation of latents", "EulerAncestralDiscreteScheduler", {}, {**painted, "strength": 0.8}, vae=VAE)
record("the same for masks", "DPMSolverMultistepScheduler", {}, {**painted, "strength": 0.8, "output_type": "latent"}, vae=VAE, unet=MASKED)
record("a part of the denoising", *euler, {**painted, "num_inference_steps": 10, "denoising_end": 0.6, "output_type": "latent"})
record("going on with latents", *euler, {**painted, "num_inference_steps": 10, "denoising_start": 0.6, "image": latents})
record("going on with a picture, for masks", *euler, {**painted, "num_inference_steps": 10, "denoising_start": 0.5, "denoising_end": 0.8}, unet=MASKED)
record("latents of both, for masks", *euler, {**painted, "image": latents, "masked_image_latents": masked, "strength": 0.7}, unet=MASKED)
record("a refiner", *euler, {**painted, "num_inference_steps": 10, "denoising_start": 0.7, "image": latents, "aesthetic_score": 7.5, "negative_aesthetic_score": 1.5, **negative}, model=REFINER)
record("a refiner with a picture", "HeunDiscreteScheduler", {}, {**painted, "strength": 0.5, **sizes}, model=REFINER)
record("two prompts, pictures and masks", *euler, {**painted, "prompt": ["a", "b"], "image": [image, other], "mask_image": [mask, mask2], "strength": 0.7})
record("several results, generators", "EulerAncestralDiscreteScheduler", {}, {**painted, "num_images_per_prompt": 2, "strength": 0.7}, seed=[60, 61])
record("without guidance", "PNDMScheduler", dict(skip_prk_steps=True), {**painted, "guidance_scale": 1.0, "strength": 0.5}, init=dict(force_zeros_for_empty_prompt=False))
record("a part of a picture", *euler, {**painted, "output_type": "pil", "padding_mask_crop": 4, "strength": 0.9})
record("EDM", "EDMEulerScheduler", dict(sigma_max=120.0, prediction_type="v_prediction"), {**painted, "strength": 0.6})

end()

begin("sdxl-more")
UNUSUAL = "unet_unusual"
image, mask = "../sdxl-inpaint/image.png", "../sdxl-inpaint/mask.png"
torch.manual_seed(8)
config = dict(base.config, in_channels=4, block_out_channels=[8, 8, 16], layers_per_block=[1, 2, 1], attention_head_dim=[2, 2, 4])
config |= dict(down_block_types=["CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"])
config |= dict(up_block_types=["CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"], transformer_layers_per_block=[1, 1, 2])
config |= dict(act_fn="gelu", conv_in_kernel=5, conv_out_kernel=1, freq_shift=1, flip_sin_to_cos=False, center_input_sample=True)
config |= dict(resnet_time_scale_shift="scale_shift", use_linear_projection=False, mid_block_scale_factor=1.5)
save(UNet2DConditionModel.from_config(config), UNUSUAL)

TEXT, PICTURE = "StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"
EDIT_MODEL, EDIT_VAE = "../sdxl-ip2p/model", "../sdxl-ip2p/vae_mean_std"
drawn = dict(prompt="a red door", num_inference_steps=6, output_type="pt", guidance_scale=5.0)
start = tensor("latents", torch.from_numpy(random.standard_normal((2, 4, 12, 20), dtype=np.float32)))
refined = tensor("refined.latents", torch.from_numpy(random.standard_normal((1, 4, 10, 14), dtype=np.float32)))
stochastic = ("DPMSolverMultistepScheduler", dict(algorithm_type="sde-dpmsolver++", solver_type="heun", use_exponential_sigmas=True, timestep_spacing="trailing"))
velocity = dict(sigma_max=120.0, sigma_data=1.0, sigma_schedule="exponential", prediction_type="v_prediction")

record("an unusual UNet", *stochastic, {**drawn, **sizes, **negative, "height": 24, "width": 40, "guidance_rescale": 0.7, "clip_skip": 1}, cls=TEXT, unet=UNUSUAL, init=dict(force_zeros_for_empty_prompt=False))
record("given levels, latents, and end", "EulerDiscreteScheduler", {}, {**drawn, "prompt": ["a", "b"], "prompt_2": ["night", ""], "sigmas": [12.0, 5.0, 2.0, 0.5, 0.1], "latents": start, "height": 24, "width": 40, "denoising_end": 0.6, "output_type": "latent"}, cls=TEXT)
record("a refiner from start to end", "HeunDiscreteScheduler", dict(use_karras_sigmas=True, timestep_spacing="leading"), {**drawn, "num_inference_steps": 12, "image": refined, "num_images_per_prompt": 2, "denoising_start": 0.3, "denoising_end": 0.8, "aesthetic_score": 9.5, "negative_aesthetic_score": 1.25, "negative_prompt": "dark", **negative}, cls=PICTURE, model=REFINER)
record("CosXL, an odd size, generators", "EDMDPMSolverMultistepScheduler", {**velocity, "algorithm_type": "sde-dpmsolver++"}, {**drawn, "image": image, "height": 27, "width": 41, "num_images_per_prompt": 2, "guidance_rescale": 0.3, "image_guidance_scale": 2.5}, seed=[70, 71], cls=EDIT, model=EDIT_MODEL, init=dict(is_cosxl_edit=True), vae=EDIT_VAE)
record("an edit with another solver", "UniPCMultistepScheduler", dict(solver_order=3, solver_type="bh2", use_beta_sigmas=False, use_karras_sigmas=True, prediction_type="v_prediction"), {**drawn, "image": image, "height": 16, "width": 40, "original_size": [91, 154], "negative_prompt_2": "dark"}, cls=EDIT, model=EDIT_MODEL)
record("given timesteps", "LCMScheduler", dict(original_inference_steps=50), {**painted, "image": image, "mask_image": mask, "timesteps": [999, 759, 499, 259], "strength": 0.75, "guidance_scale": 0.5})
end()
