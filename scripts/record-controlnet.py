"""Records what diffusers computes with tiny ControlNets: the residuals of models of many kinds, and calls of the pipelines of
Stable Diffusion and Stable Diffusion XL.

    python scripts/record-controlnet.py

Writes test/fixtures/controlnet-more. The folders of modules hold a model each, and modules.json lists them with what they were
called with; modules.safetensors has inputs and residuals. case.json lists the calls in the form that test/parity/replay.ts
reads, expected.safetensors their results. The base models are those of other fixtures. Needs torch, diffusers 0.42.1,
transformers and safetensors; CPU.
"""

import json
import shutil
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    MultiControlNetModel,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from PIL import Image
from safetensors.torch import save_file

FIXTURES = Path(__file__).parent.parent / "test" / "fixtures"
TARGET = FIXTURES / "controlnet-more"
torch.set_num_threads(1)
SD, XL = "../controlnet/model", "../sdxl-img2img/model"


def stir(net, seed, spread=0.15):
    """Gives a new ControlNet weights that are not zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_((spread if parameter.dim() > 1 else 0.1) * torch.randn(parameter.shape, generator=generator))
    return net.eval()


# ---- Models -----------------------------------------------------------------------------------------------------------

DOWN, CROSS_DOWN = "DownBlock2D", "CrossAttnDownBlock2D"
SMALL = dict(
    norm_num_groups=2,
    attention_head_dim=2,
    cross_attention_dim=6,
    block_out_channels=(4, 8),
    down_block_types=(CROSS_DOWN, DOWN),
    layers_per_block=1,
    conditioning_embedding_out_channels=(4, 6, 4),
)
tensors, modules = {}, []


def module(name, config, call=None, rows=2, size=(6, 4), timesteps=(500, 20), **conditions):
    torch.manual_seed(len(modules))
    net = stir(ControlNetModel(**{**SMALL, **config}), len(modules), 0.05)
    folder = TARGET / "modules" / name.replace(" ", "-")
    net.save_pretrained(folder)
    generator = torch.Generator().manual_seed(100 + len(modules))
    scale = 2 ** (len(net.config.conditioning_embedding_out_channels) - 1)
    inputs = {
        "sample": torch.randn((rows, net.config.in_channels, *size), generator=generator),
        "timestep": torch.tensor(timesteps),
        "encoder_hidden_states": torch.randn((rows, 5, net.config.cross_attention_dim), generator=generator),
        "controlnet_cond": torch.rand(
            (rows, net.config.conditioning_channels, size[0] * scale, size[1] * scale), generator=generator
        ),
        **{key: value(generator) if callable(value) else value for key, value in conditions.items()},
    }
    added = {key: inputs[key] for key in ("text_embeds", "time_ids") if key in inputs}
    others = {key: value for key, value in inputs.items() if key not in added}
    with torch.no_grad():
        down, mid = net(**others, **(call or {}), added_cond_kwargs=added or None, return_dict=False)
    place = len(modules)
    for key, value in inputs.items():
        tensors[f"{place}.{key}"] = value.contiguous()
    for i, value in enumerate(down):
        tensors[f"{place}.down.{i}"] = value.contiguous()
    tensors[f"{place}.mid"] = mid.contiguous()
    modules.append(dict(name=name, folder=f"modules/{folder.name}", call=call or {}, conditions=list(conditions)))


def normal(*shape):
    return lambda generator: torch.randn(shape, generator=generator)


XL_CONFIG = dict(
    addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=5 + 6 * 4
)
shutil.rmtree(TARGET, ignore_errors=True)
TARGET.mkdir(parents=True)
module("plain", {}, dict(conditioning_scale=0.7))
module("guess mode", {}, dict(conditioning_scale=1.4, guess_mode=True))
module(
    "pooled text and sizes, channels in reverse",
    dict(**XL_CONFIG, controlnet_conditioning_channel_order="bgr", use_linear_projection=True),
    text_embeds=normal(2, 5),
    time_ids=torch.tensor([[64.0, 48, 0, 0, 64, 48], [32, 32, 8, 4, 64, 64]]),
)
module("means over all pixels", dict(global_pool_conditions=True), dict(conditioning_scale=2.0, guess_mode=True))
module("labels of a table", dict(num_class_embeds=5), class_labels=torch.tensor([4, 1]))
module("labels as timesteps", dict(class_embed_type="timestep", act_fn="gelu"), class_labels=torch.tensor([3.0, 70.0]))
module("labels as they are", dict(class_embed_type="identity"), class_labels=normal(2, 16))
module(
    "projected labels",
    dict(class_embed_type="projection", projection_class_embeddings_input_dim=7, act_fn="mish"),
    class_labels=normal(2, 7),
)
module(
    "lists and other blocks",
    dict(
        block_out_channels=(4, 8, 8),
        down_block_types=(DOWN, CROSS_DOWN, CROSS_DOWN),
        mid_block_type="UNetMidBlock2D",
        only_cross_attention=(False, True, False),
        num_attention_heads=(1, 2, 4),
        attention_head_dim=(3, 5, 7),
        transformer_layers_per_block=(1, 2, 1),
        layers_per_block=2,
        resnet_time_scale_shift="scale_shift",
        mid_block_scale_factor=1.5,
        norm_eps=1e-4,
        flip_sin_to_cos=False,
        freq_shift=1,
    ),
    size=(8, 4),
)
module(
    "other channels and sizes",
    dict(in_channels=5, conditioning_channels=2, downsample_padding=0, conditioning_embedding_out_channels=(6, 4)),
    size=(7, 9),
    rows=1,
    timesteps=(999,),
)
(TARGET / "modules.json").write_text(json.dumps(modules, indent=1) + "\n")
save_file(tensors, TARGET / "modules.safetensors")

# ---- Pipelines --------------------------------------------------------------------------------------------------------

for i, (width, height) in enumerate([(40, 56), (52, 40), (56, 44)]):
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([(x * (i + 3)) % 256, (y * 5 + 40 * i) % 256, ((x + y) * 4) % 256], -1).astype(np.uint8)
    Image.fromarray(pixels).save(TARGET / f"image{i}.png")

EMBEDDING = (4, 6, 8, 4)
folders = {}
for family, seeds in ((SD, (1,)), (XL, (2, 3))):
    unet = UNet2DConditionModel.from_pretrained(TARGET / family / "unet")
    for seed in seeds:
        torch.manual_seed(seed)
        factor = 4 if family == SD else 2
        net = ControlNetModel.from_unet(
            unet,
            conditioning_embedding_out_channels=EMBEDDING[:factor],
            controlnet_conditioning_channel_order="bgr" if seed == 3 else "rgb",
        )
        net.register_to_config(global_pool_conditions=seed == 1)
        stir(net, seed).save_pretrained(TARGET / f"controlnet{seed}")

expected, runs = {}, []


def run(class_name, model, nets, scheduler, seed, several=False, callback=None, config=None, output_type="pt", **args):
    cls = getattr(diffusers, class_name)
    loaded = [ControlNetModel.from_pretrained(TARGET / net) for net in nets]
    kwargs = {} if model == XL else dict(safety_checker=None)
    several = several or len(nets) > 1
    pipe = cls.from_pretrained(
        TARGET / model, controlnet=MultiControlNetModel(loaded) if several else loaded[0], **kwargs
    )
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config, **(config or {}))
    pipe.set_progress_bar_config(disable=True)
    place, latents, timesteps = len(runs), [], []

    def on_step(_, step, timestep, kwargs):
        timesteps.append(float(timestep))
        latents.append(kwargs["latents"].clone())
        result = {}
        for change in callback or []:
            if change["after_step"] == step:
                result[change["tensor"]] = kwargs[change["tensor"]] * change["mul"] + change["add"]
        return result

    def argument(value):
        if isinstance(value, list):
            return [argument(each) for each in value]
        if isinstance(value, str) and value.endswith(".png"):
            return Image.open(TARGET / value).convert("RGB")
        return value

    given = {key: argument(value) for key, value in args.items()}
    for key in ("original_size", "crops_coords_top_left", "negative_original_size", "negative_target_size"):
        if key in given:
            given[key] = tuple(given[key])
    for key in ("image", "mask_image", "control_image"):
        if isinstance(args.get(key), dict):
            given[key] = expected[args[key]["tensor"]]
    generators = [torch.Generator().manual_seed(each) for each in (seed if isinstance(seed, list) else [seed])]
    names = ["latents", *[change["tensor"] for change in callback or []]]
    images = pipe(
        **given,
        generator=generators if isinstance(seed, list) else generators[0],
        output_type=output_type,
        callback_on_step_end=on_step,
        callback_on_step_end_tensor_inputs=names,
    ).images
    if output_type == "pil":
        images = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1).float() for image in images])
    expected[f"run{place}.images"] = images.contiguous()
    expected[f"run{place}.latents"] = torch.stack(latents).contiguous()
    expected[f"run{place}.rng"] = torch.cat([torch.randn(16, generator=each) for each in generators])
    runs.append(
        dict(
            **{"class": class_name, "model": model, "controlnets": nets, "several": several},
            scheduler=scheduler.__name__,
            **(dict(scheduler_config=config) if config else {}),
            seed=seed,
            args=dict(**args, output_type=output_type),
            timesteps=timesteps,
            **(dict(callback=callback) if callback else {}),
        )
    )


generator = torch.Generator().manual_seed(9)
expected["pictures"] = torch.rand((2, 3, 44, 36), generator=generator)
TEXT, IMAGE = "StableDiffusionControlNetPipeline", "StableDiffusionControlNetImg2ImgPipeline"
XL_TEXT, XL_IMAGE = "StableDiffusionXLControlNetPipeline", "StableDiffusionXLControlNetImg2ImgPipeline"
CONTROL0, CONTROL1 = "../controlnet/model/controlnet", "../controlnet/model/controlnet_1"
prompts = ["a fantasy landscape", "an old lighthouse"]
# A net whose residuals are means, which makes guess mode; a size that is rounded down.
run(TEXT, SD, ["controlnet1"], DDIMScheduler, 0, prompt="a boat", image="image1.png", num_inference_steps=3, height=45)
run(TEXT, SD, [CONTROL0, "controlnet1"], EulerDiscreteScheduler, 1, prompt="a boat", image=["image0.png", "image0.png"],
    num_inference_steps=3, controlnet_conditioning_scale=[0.5, 1.5])
run(TEXT, SD, [CONTROL0, CONTROL1], DDIMScheduler, 2, prompt=prompts, num_inference_steps=3, width=40, height=32,
    image=[["image0.png", "image1.png"], ["image1.png", "image2.png"]], control_guidance_end=[0.4, 0.7], num_images_per_prompt=2)
run(TEXT, SD, [CONTROL0], HeunDiscreteScheduler, [3, 4], prompt=prompts, num_inference_steps=3, image={"tensor": "pictures"},
    guidance_scale=1.0, control_guidance_start=0.3)
run(TEXT, SD, [CONTROL0], DDIMScheduler, 5, several=True, prompt="a boat", image=["image0.png"], num_inference_steps=3,
    guess_mode=True, callback=[dict(after_step=0, tensor="prompt_embeds", mul=0.5, add=0.1)])
run(IMAGE, SD, [CONTROL0], EulerAncestralDiscreteScheduler, 6, prompt="a boat", image="image1.png", control_image="image2.png",
    num_inference_steps=4, height=40, width=48)
run(XL_TEXT, XL, ["controlnet2"], EulerDiscreteScheduler, 7, prompt="a boat", image="image0.png", num_inference_steps=4,
    controlnet_conditioning_scale=0.6, control_guidance_start=0.2, control_guidance_end=0.8)
run(XL_TEXT, XL, ["controlnet2", "controlnet3"], DDIMScheduler, 8, prompt=prompts, negative_prompt="dark", guess_mode=True,
    image=["image0.png", "image1.png"], height=40, width=32, num_inference_steps=4, num_images_per_prompt=2,
    original_size=[64, 64], crops_coords_top_left=[4, 8], controlnet_conditioning_scale=[0.5, 1.1])
run(XL_TEXT, XL, ["controlnet3"], EulerDiscreteScheduler, 9, prompt="a boat", image="image2.png", num_inference_steps=6,
    denoising_end=0.6, control_guidance_end=0.5, guidance_scale=1.0)
run(XL_IMAGE, XL, ["controlnet2"], EulerDiscreteScheduler, 10, prompt="a boat", image="image1.png", control_image="image1.png",
    num_inference_steps=5, strength=0.7)
run(XL_IMAGE, XL, ["controlnet2", "controlnet3"], DPMSolverMultistepScheduler, 11, prompt="a boat", negative_prompt="dark",
    image="image0.png", control_image=["image1.png", "image2.png"], height=32, width=40, num_inference_steps=4,
    num_images_per_prompt=2, control_guidance_start=[0.0, 0.4], guess_mode=True)

# Tensors whose sides are no multiples, given in -1..1; a generator for each result; latents in; negative sizes.
expected["odd"] = 2 * torch.rand((1, 3, 43, 37), generator=generator) - 1
expected["control"] = torch.rand((1, 3, 43, 37), generator=generator)
expected["start"] = torch.randn((2, 4, 5, 4), generator=generator)
ODD = dict(image={"tensor": "odd"}, control_image={"tensor": "control"})
run(XL_TEXT, XL, ["controlnet2"], DPMSolverMultistepScheduler, [12, 13], config=dict(prediction_type="sample"), prompt="a boat",
    image="image2.png", num_inference_steps=4, num_images_per_prompt=2, guess_mode=True, controlnet_conditioning_scale=-0.3,
    guidance_scale=3.0)
run(IMAGE, SD, [CONTROL0], DDPMScheduler, [14, 15], config=dict(timestep_spacing="trailing"), prompt="a boat", **ODD,
    num_inference_steps=4, strength=0.6, num_images_per_prompt=2, controlnet_conditioning_scale=1.7)
run(IMAGE, SD, ["controlnet1", "controlnet1"], UniPCMultistepScheduler, 16, prompt=prompts, image={"tensor": "start"},
    control_image=["image0.png", "image1.png"], height=40, width=32, num_inference_steps=5, strength=0.99,
    control_guidance_end=[0.5, 1.0], guidance_scale=3.0)
run(XL_IMAGE, XL, ["controlnet3"], EulerAncestralDiscreteScheduler, 17, config=dict(prediction_type="v_prediction"), **ODD,
    prompt="a boat", num_inference_steps=3, strength=1.0, negative_original_size=[32, 64], negative_target_size=[64, 32],
    control_guidance_start=0.3, guess_mode=True)

# Inpainting, by models whose UNet takes the mask and by others.
for i, (width, height) in enumerate([(40, 56), (52, 40)]):
    mask = np.zeros((height, width), np.uint8)
    mask[height // 3 : height // 2 + 6 * i, 8 : width // 2] = 255
    mask[height // 2 - 4 : height // 2, width // 3 :] = 90 + 60 * i
    Image.fromarray(mask).save(TARGET / f"mask{i}.png")
expected["mask"] = torch.rand((1, 1, 43, 37), generator=generator)
INPAINT, MASKED = "StableDiffusionControlNetInpaintPipeline", "../inpaint/model"
run(INPAINT, SD, [CONTROL0], DDIMScheduler, 18, prompt="a boat", image="image0.png", mask_image="mask0.png",
    control_image="image0.png", num_inference_steps=4, strength=0.7, eta=0.5)
run(INPAINT, MASKED, [CONTROL0, CONTROL1], EulerDiscreteScheduler, [19, 20], prompt=prompts, height=40, width=32,
    image=["image0.png", "image1.png"], mask_image=["mask0.png", "mask1.png"], control_image=["image2.png", "image1.png"],
    num_inference_steps=3, guess_mode=True, controlnet_conditioning_scale=[1.0, 0.4], control_guidance_start=[0.0, 0.3])
run(INPAINT, MASKED, [CONTROL1], EulerAncestralDiscreteScheduler, 21, prompt="a boat", image="image0.png", mask_image="mask0.png",
    control_image="image0.png", num_inference_steps=3, padding_mask_crop=3, height=48, width=32, output_type="pil",
    negative_prompt="dark")
run(INPAINT, SD, ["controlnet1"], UniPCMultistepScheduler, 22, prompt="a boat", **ODD, mask_image={"tensor": "mask"},
    num_inference_steps=4, strength=0.5, num_images_per_prompt=2, guidance_scale=1.0)
run(INPAINT, SD, [CONTROL0], DDIMScheduler, 23, prompt="a boat", image="image1.png", mask_image="mask1.png",
    control_image="image1.png", num_inference_steps=3, padding_mask_crop=0, output_type="pil", strength=0.8)

versions = dict(diffusers=diffusers.__version__, torch=torch.__version__)
(TARGET / "case.json").write_text(json.dumps(dict(versions=versions, runs=runs), indent=1) + "\n")
save_file(expected, TARGET / "expected.safetensors")
