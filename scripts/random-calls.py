"""Makes random calls of diffusers' upscalers and pipelines with ControlNets, for scripts/random-calls.mjs to compare with.

    python scripts/random-calls.py KIND COUNT SEED FOLDER
    node scripts/random-calls.mjs FOLDER

KIND is x4, x2, controlnet, controlnet-img2img, controlnet-inpaint, controlnet-xl or controlnet-xl-img2img. The models are tiny and random, of
several configurations. FOLDER gets the models, the images, case.json with the calls and expected.safetensors with what came of
them: a result, or the error of a call that is refused. Each call is made a second time with the last bits of the UNet's weights
changed, which tells how far rounding alone changes its result. Needs torch, diffusers 0.42.1, transformers and safetensors; CPU.
"""

import functools
import inspect
import json
import random
import sys
import warnings
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers import AutoencoderKL, ControlNetModel, MultiControlNetModel, UNet2DConditionModel
from diffusers.utils import load_image
from PIL import Image
from safetensors.torch import save_file

FIXTURES = Path(__file__).parent.parent / "test" / "fixtures"
warnings.filterwarnings("ignore")
diffusers.logging.set_verbosity(50)
transformers.logging.set_verbosity(50)
transformers.logging.disable_progress_bar()
diffusers.logging.disable_progress_bar()
torch.set_num_threads(1)

kind, count, first, target = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
target.mkdir(parents=True, exist_ok=True)
XL = "-xl" in kind
IMG2IMG = kind.endswith("img2img")
INPAINT = kind.endswith("inpaint")
CONTROL = kind.startswith("controlnet")
CLASS = {
    "x4": "StableDiffusionUpscalePipeline",
    "x2": "StableDiffusionLatentUpscalePipeline",
    "controlnet": "StableDiffusionControlNetPipeline",
    "controlnet-img2img": "StableDiffusionControlNetImg2ImgPipeline",
    "controlnet-inpaint": "StableDiffusionControlNetInpaintPipeline",
    "controlnet-xl": "StableDiffusionXLControlNetPipeline",
    "controlnet-xl-img2img": "StableDiffusionXLControlNetImg2ImgPipeline",
}[kind]
MODELS = 4
rng = random.Random(f"{kind} {first}")
chance = lambda share: rng.random() < share
pick = lambda *values: rng.choice(values)

# ---- Models -----------------------------------------------------------------------------------------------------------


def stirred(net, seed, spread):
    """Weights of which none is zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
    return net.eval()


def autoencoder(levels, latent_channels=4):
    widths = [pick(4, 8) for _ in range(levels)]
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=4,
        scaling_factor=pick(0.18215, 0.13025, 0.5),
        force_upcast=False,
        **(dict(latents_mean=[0.1, -0.2, 0.05, 0.3], latents_std=[1.1, 0.9, 1.3, 0.8]) if XL and chance(0.3) else {}),
    ).eval()


def text_encoder(width, projection, layers, tokenizer):
    cls = transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel
    config = dict(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        hidden_act=pick("quick_gelu", "gelu"),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=pick(tokenizer.eos_token_id, 2),
        pad_token_id=tokenizer.pad_token_id,
    )
    if projection:
        config["projection_dim"] = projection
    return stirred(cls(transformers.CLIPTextConfig(**config)).eval(), rng.randrange(1000), 0.02)


def unet(cross, in_channels, **config):
    levels = pick(2, 2, 3)
    down = [pick("CrossAttnDownBlock2D", "DownBlock2D") for _ in range(levels)]
    if all(name == "DownBlock2D" for name in down):
        down[-1] = "CrossAttnDownBlock2D"
    up = [name.replace("Down", "Up") for name in reversed(down)]
    return UNet2DConditionModel(
        sample_size=pick(8, 16, 24),
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=[pick(4, 8) for _ in range(levels)],
        down_block_types=down,
        up_block_types=up,
        layers_per_block=pick(1, 2),
        norm_num_groups=4,
        attention_head_dim=pick(1, 2, 4),
        cross_attention_dim=cross,
        use_linear_projection=chance(0.5),
        only_cross_attention=[chance(0.4) for _ in range(levels)] if kind == "x4" else False,
        **config,
    ).eval()


def latent_unet(cross):
    return UNet2DConditionModel(
        sample_size=pick(8, 16),
        in_channels=8,
        out_channels=5,
        act_fn="gelu",
        attention_head_dim=pick(8, 16),
        block_out_channels=(32, 64, 64),
        conv_in_kernel=1,
        conv_out_kernel=1,
        mid_block_type=None,
        norm_num_groups=None,
        resnet_time_scale_shift="scale_shift",
        time_cond_proj_dim=128 + cross,
        time_embedding_type="fourier",
        timestep_post_act="gelu",
        cross_attention_dim=cross,
        layers_per_block=1,
        down_block_types=("KDownBlock2D", pick("KDownBlock2D", "KCrossAttnDownBlock2D"), "KCrossAttnDownBlock2D"),
        up_block_types=("KCrossAttnUpBlock2D", "KCrossAttnUpBlock2D", "KUpBlock2D"),
    )


refiners = set()


def save_model(place):
    torch.manual_seed(rng.randrange(10**6))
    folder = target / f"model{place}"
    parts, cross = {}, pick(8, 12)
    levels = pick(2, 3, 3, 4)
    own = diffusers.EulerDiscreteScheduler if kind == "x2" else diffusers.DDIMScheduler
    scheduler = own(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1)
    tokenizer = transformers.CLIPTokenizer.from_pretrained(FIXTURES / "controlnet/model/tokenizer")
    if kind == "x2":
        parts["unet"] = latent_unet(cross)
    elif XL:
        refiner = IMG2IMG and chance(0.4)
        second = cross
        cross = cross if refiner else cross + 8
        parts["unet"] = unet(
            cross,
            4,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=6 + (5 if refiner else 6) * 4,
        )
        parts["tokenizer_2"] = transformers.CLIPTokenizer.from_pretrained(FIXTURES / "sdxl-img2img/model/tokenizer_2")
        parts["text_encoder_2"] = text_encoder(second, 6, 3, parts["tokenizer_2"])
        parts["text_encoder"] = None if refiner else text_encoder(8, 0, 3, tokenizer)
        parts["tokenizer"] = None if refiner else tokenizer
        if IMG2IMG:
            parts["requires_aesthetics_score"] = refiner
            if refiner:
                refiners.add(folder.name)
        parts["force_zeros_for_empty_prompt"] = chance(0.5)
        parts["add_watermarker"] = False
    else:
        labels = dict(num_class_embeds=pick(None, 120, 400)) if kind == "x4" else {}
        parts["unet"] = unet(cross, 7 if kind == "x4" else pick(4, 9) if INPAINT else 4, **labels)
    if not XL:
        parts["text_encoder"], parts["tokenizer"] = text_encoder(cross, 0, 3, tokenizer), tokenizer
    parts["vae"] = autoencoder(levels)
    stirred(parts["unet"], place, 0.05)
    if kind == "x4":
        parts["low_res_scheduler"] = diffusers.DDPMScheduler(beta_schedule=pick("linear", "scaled_linear", "squaredcos_cap_v2"))
        parts["max_noise_level"] = pick(100, 350)
    if CONTROL:
        nets = []
        for i in range(3):
            net = ControlNetModel.from_unet(
                parts["unet"],
                load_weights_from_unet=not INPAINT,
                conditioning_embedding_out_channels=[pick(4, 6) for _ in range(levels)],
                controlnet_conditioning_channel_order=pick("rgb", "rgb", "bgr"),
            )
            if INPAINT:  # for latents alone, whatever the UNet takes
                net = ControlNetModel.from_config({**net.config, "in_channels": 4})
            net.register_to_config(global_pool_conditions=i == 2)
            stirred(net, 10 * place + i, 0.1).save_pretrained(target / f"net{place}.{i}")
            nets.append(net)
        parts["controlnet"] = nets[0]
    if not XL and kind != "x2":
        parts["safety_checker"] = parts["feature_extractor"] = None
        if CONTROL:
            parts["requires_safety_checker"] = False
    pipe = getattr(diffusers, CLASS)(scheduler=scheduler, **parts)
    pipe.save_pretrained(folder)
    return folder.name


# ---- Calls ------------------------------------------------------------------------------------------------------------

tensors, pictures = {}, 0


def scheduler():
    """A class and what differs from the model's configuration."""
    names = ["EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "LMSDiscrete", "DPMSolverMultistep"]
    if kind != "x2":
        names += ["DDIM", "DDPM", "PNDM", "LCM", "UniPCMultistep", "EulerDiscrete", "DDIM"]
    name = f"{pick(*names)}Scheduler"
    config = dict(prediction_type=pick("epsilon", "epsilon", "v_prediction", "sample"))
    if name == "PNDMScheduler":
        config["prediction_type"] = pick("epsilon", "v_prediction")
        config["skip_prk_steps"] = chance(0.8)
    if kind == "x2":
        config["prediction_type"] = pick("original_sample" if name == "EulerDiscreteScheduler" else "sample", "sample", "epsilon")
    config["beta_schedule"] = pick("scaled_linear", "linear", "squaredcos_cap_v2")
    config["timestep_spacing"] = pick("leading", "linspace", "trailing")
    config["steps_offset"] = pick(0, 1)
    if name in ("DDIMScheduler", "DDPMScheduler", "LCMScheduler"):
        config["clip_sample"] = chance(0.3)
        config["rescale_betas_zero_snr"] = chance(0.2) and config["prediction_type"] != "epsilon"
    if name in ("EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "HeunDiscreteScheduler", "LMSDiscreteScheduler"):
        config["use_karras_sigmas"] = chance(0.4)
    if name == "DPMSolverMultistepScheduler":
        config["algorithm_type"] = pick("dpmsolver++", "sde-dpmsolver++", "dpmsolver++")
        config["solver_order"] = pick(1, 2, 3)
        config["final_sigmas_type"] = pick("zero", "sigma_min")
        config["euler_at_final"] = chance(0.3)
    if name == "DDPMScheduler":
        config["variance_type"] = pick("fixed_small", "fixed_large", "fixed_small_log")
    return name, config


def size():
    if kind == "x2":
        return pick(32, 33, 48, 63, 64, 66), pick(32, 35, 48, 64)
    return pick(16, 17, 19, 24, 31, 32, 33, 40, 45, 48), pick(16, 18, 24, 27, 32, 34, 40, 47, 48)


def picture(width, height, mode=None):
    global pictures
    noise = np.random.default_rng(pictures)
    pixels = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[0:height, 0:width]
    pixels[..., 0] = (x * (pictures % 7 + 2)) % 256
    pixels[..., 1] = (y * 5 + 40 * pictures) % 256
    image = Image.fromarray(pixels)
    mode = mode or pick("RGB", "RGB", "RGB", "L", "RGBA", "P")
    if mode == "RGBA":
        image.putalpha(Image.fromarray(noise.integers(0, 256, (height, width), dtype=np.uint8)))
    elif mode != "RGB":
        image = image.convert(mode)
    name = f"image{pictures}.png"
    image.save(target / name)
    pictures += 1
    return name


def tensor(*shape, low=0.0, high=1.0, normal=False):
    name = f"given{len(tensors)}"
    generator = torch.Generator().manual_seed(len(tensors))
    drawn = torch.randn(shape, generator=generator) if normal else torch.rand(shape, generator=generator)
    tensors[name] = drawn if normal else low + (high - low) * drawn
    return dict(tensor=name)


def image_input(batch, latents=None, control=False, same=None, alone=False):
    """Pictures or a tensor, for one prompt or for several; latents of a height and width of some."""
    width, height = same or size()
    low = -1.0 if chance(0.25) and not control else 0.0
    which = pick("picture", "pictures", "tensor", "tensor", "list", "latents" if latents else "picture")
    many = batch if batch > 1 and (not CONTROL or chance(0.6)) else 1
    if alone:  # of several ControlNets
        which = pick("picture", "tensor")
        many = 1 if which == "picture" else many
    if which == "picture":
        return picture(width, height) if many == 1 else [picture(width, height) for _ in range(many)]
    if which == "pictures":
        return [picture(*(size() if chance(0.3) else (width, height))) for _ in range(many)]
    if which == "tensor":
        return tensor(many, 3, height, width, low=low)
    if which == "list":
        return [tensor(*([] if chance(0.5) else [1]), 3, height, width, low=low) for _ in range(many)] if many == 1 else [
            tensor(3, height, width, low=low) for _ in range(many)
        ]
    return tensor(many, 4, *latents, normal=True)


def mask(width, height, picture=False):
    """White in a rectangle, grey in another."""
    values = np.zeros((height, width), np.uint8)
    top, left = rng.randrange(height // 2), rng.randrange(width // 2)
    values[top : top + height // 2, left : left + width // 3] = 255
    values[height // 2 : height // 2 + 3] = pick(0, 100, 160)
    if not picture and chance(0.4):
        name = f"given{len(tensors)}"
        tensors[name] = torch.from_numpy(values).float()[None, None] / 255
        return dict(tensor=name)
    name = f"mask{len(list(target.glob('mask*.png')))}.png"
    Image.fromarray(values).save(target / name)
    return name


WORDS = "a an old lighthouse boat in the fog fantasy landscape trending on artstation red very large (small) 4k,".split()


def sentence():
    return " ".join(rng.choice(WORDS) for _ in range(pick(0, 1, 3, 6, 90)))


def call():
    batch = pick(1, 1, 2)
    args = dict(prompt=sentence() if batch == 1 and chance(0.7) else [sentence() for _ in range(batch)])
    args["num_inference_steps"] = pick(1, 2, 3, 4, 5)
    args["guidance_scale"] = pick(0.0, 0.5, 1.0, 1.0, 1.5, 3.0, 7.5)
    if chance(0.5):
        alone = isinstance(args["prompt"], str) or chance(0.1)  # another kind than the prompt is refused
        args["negative_prompt"] = sentence() if alone else [sentence() for _ in range(batch)]
    many = 1
    if kind != "x2":
        many = pick(1, 1, 1, 2, 3)
        args["num_images_per_prompt"] = many
        args["eta"] = pick(0.0, 0.0, 0.4, 1.0)
    if kind != "x2" and chance(0.3):
        args["clip_skip"] = pick(0, 1)
    args["output_type"] = pick("pt", "pt", "pt", "latent")
    seed = rng.randrange(10**6) if chance(0.7) else [rng.randrange(10**6) for _ in range(batch * many)]
    run = dict(model=pick(*models), seed=seed, args=args)
    factor = factors[run["model"]]
    if kind == "x4":
        args["image"] = image_input(batch)
        args["noise_level"] = pick(0, 5, 20, 100)
    if kind == "x2":
        args["image"] = image_input(batch, latents=(pick(4, 6, 8, 6, 8, 5), pick(4, 8, 12)))
    if CONTROL:
        control(run, batch, factor)
    if XL:
        sizes = lambda: [pick(32, 64, 100), pick(32, 64, 100)]
        if chance(0.3):
            args["prompt_2"] = sentence() if isinstance(args["prompt"], str) else [sentence() for _ in range(batch)]
        if chance(0.3) and "negative_prompt" in args:
            same = isinstance(args["negative_prompt"], str)
            args["negative_prompt_2"] = sentence() if same else [sentence() for _ in range(batch)]
        for name in ("original_size", "target_size", "negative_original_size", "negative_target_size"):
            if chance(0.25):
                args[name] = sizes()
        for name in ("crops_coords_top_left", "negative_crops_coords_top_left"):
            if chance(0.25):
                args[name] = [pick(0, 4), pick(0, 7)]
        if not IMG2IMG and chance(0.2):
            args["denoising_end"] = pick(0.4, 0.75)
        if run["model"] in refiners:  # a size that is not given is no tuple of numbers there, and refused
            args.setdefault("original_size", sizes())
        if IMG2IMG and chance(0.3):
            args["aesthetic_score"], args["negative_aesthetic_score"] = pick(5.0, 7.0), pick(1.0, 3.0)
    run["scheduler"], run["scheduler_config"] = scheduler()
    return run


def control(run, batch, factor):
    args = run["args"]
    place = run["model"].removeprefix("model")
    # Residuals that are means are added only to such.
    nets = [rng.randrange(3) for _ in range(pick(1, 1, 1, 2, 3))]
    if len(nets) > 1 and chance(0.9):
        nets = [2 for _ in nets] if nets[0] == 2 else [min(net, 1) for net in nets]
    run["controlnets"] = [f"net{place}.{net}" for net in nets]
    run["several"] = len(nets) > 1 or chance(0.15)
    width, height = size()
    given = chance(0.5)
    if INPAINT and given and chance(0.95):  # others are refused
        width, height = pick(24, 32, 40), pick(16, 32, 48)
    if given:
        args["width"], args["height"] = width, height
    elif chance(0 if INPAINT else 0.15):
        args["width"] = width
    own = lambda: size() if given or chance(0.03) else (width, height)
    images = [image_input(batch, control=True, same=own(), alone=run["several"]) for _ in nets]
    name = "control_image" if IMG2IMG or INPAINT else "image"
    args[name] = images if run["several"] else images[0]
    each = lambda value: [value() for _ in nets] if run["several"] and chance(0.6) else value()
    if chance(0.8):
        args["controlnet_conditioning_scale"] = each(lambda: pick(-0.3, 0.0, 0.4, 0.8, 1.0, 1.7))
    if chance(0.4):
        args["control_guidance_start"] = each(lambda: pick(0.0, 0.2, 0.34))
    if chance(0.4):
        args["control_guidance_end"] = each(lambda: pick(0.5, 0.7, 1.0))
    if chance(0.35):
        args["guess_mode"] = True
    if INPAINT:
        args["strength"] = pick(0.4, 0.8, 1.0, 1.0)
        args["num_inference_steps"] += 2
        one = own()
        args["image"] = image_input(batch, same=one)
        args["mask_image"] = mask(*(one if chance(0.9) else size()))
        if chance(0.3) and not run["several"] and batch == 1:
            args["padding_mask_crop"], args["output_type"] = pick(0, 2, 5), "pil"
            # With a palette or alpha it is cut out of the file's own pixels, which load_image does not give.
            args["image"], args["mask_image"] = picture(*one, "RGB"), mask(*one, picture=True)
            args["control_image"] = picture(*(one if chance(0.8) else size()))
    if IMG2IMG:
        args["strength"] = pick(0.4, 0.5, 0.8, 0.99, 1.0)
        args["num_inference_steps"] += 2
        latents = (height // factor, width // factor)
        args["image"] = image_input(batch, latents=latents, same=own())


# ---- Running ----------------------------------------------------------------------------------------------------------

# Where newer transformers have no level of that name.
if not hasattr(transformers.CLIPTextModel, "text_model"):
    transformers.CLIPTextModel.text_model = property(lambda self: self)
loaded = {}


def pipeline(run):
    key = run["model"]
    if key not in loaded:
        loaded[key] = getattr(diffusers, CLASS).from_pretrained(target / key)
        loaded[key].set_progress_bar_config(disable=True)
    pipe = loaded[key]
    if CONTROL:
        for name in run["controlnets"]:
            if name not in loaded:
                loaded[name] = ControlNetModel.from_pretrained(target / name)
        nets = [loaded[name] for name in run["controlnets"]]
        pipe.register_modules(controlnet=MultiControlNetModel(nets) if run["several"] else nets[0])
    cls = getattr(diffusers, run["scheduler"])
    base = {key: value for key, value in base_scheduler.items() if not key.startswith("_")}
    pipe.register_modules(scheduler=cls.from_config({**base, **run["scheduler_config"]}))
    return pipe


base_scheduler = {}


def argument(value):
    if isinstance(value, list):
        return [argument(each) for each in value]
    if isinstance(value, str) and value.endswith(".png"):
        return load_image(str(target / value))
    if isinstance(value, dict):
        return tensors[value["tensor"]].clone()
    return value


def pair_sizes(rows, _, args, kwargs):
    """Gives negative rows the negative sizes, and the others theirs, which diffusers repeats in turn."""
    added = kwargs["added_cond_kwargs"]
    negative, positive = added["time_ids"][:1], added["time_ids"][-1:]
    halves = [negative, positive] if len(added["time_ids"]) == 2 * rows else [positive]
    ids = torch.cat([half.repeat(rows, 1) for half in halves])
    return args, {**kwargs, "added_cond_kwargs": {**added, "time_ids": ids}}


def perform(run, change=None):
    pipe = pipeline(run)
    if change:
        change(pipe.scheduler)
    args = {key: argument(value) for key, value in run["args"].items()}
    for key in args:
        if key.endswith("_size") or "crops" in key:
            args[key] = tuple(args[key])
    seeds = run["seed"]
    generators = [torch.Generator().manual_seed(each) for each in (seeds if isinstance(seeds, list) else [seeds])]
    latents = []
    hooks = []
    if kind == "controlnet-xl" and args["guidance_scale"] > 1:
        rows = args["num_images_per_prompt"] * (len(args["prompt"]) if isinstance(args["prompt"], list) else 1)
        for net in (pipe.unet, pipe.controlnet):
            hooks.append(net.register_forward_pre_hook(functools.partial(pair_sizes, rows), with_kwargs=True))
    if kind == "x2" and "generator" in inspect.signature(pipe.scheduler.step).parameters:
        # It draws the noise of a step from the global generator otherwise.
        own = generators if isinstance(seeds, list) else generators[0]
        pipe.scheduler.step = functools.partial(pipe.scheduler.step, generator=own)
    if CONTROL:

        def on_step(_, step, timestep, kwargs):
            latents.append(kwargs["latents"].clone())
            return {}

        args["callback_on_step_end"] = on_step
    else:
        args["callback"] = lambda step, timestep, now: latents.append(now.clone())
    try:
        images = pipe(**args, generator=generators if isinstance(seeds, list) else generators[0]).images
    finally:
        for hook in hooks:
            hook.remove()
    if args["output_type"] == "pil":
        images = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 for image in images])
    after = torch.cat([torch.randn(16, generator=each) for each in generators])
    return images, latents, after


def exact_step(scheduler):
    """Has a scheduler that draws nothing compute its steps in float64."""
    step = scheduler.step

    def exact(model_output, timestep, sample, *args, **kwargs):
        result = step(model_output.double(), timestep, sample.double(), *args, **kwargs)
        if isinstance(result, tuple):
            return (result[0].float(), *result[1:])
        result.prev_sample = result.prev_sample.float()
        return result

    scheduler.step = exact


def nudged(run):
    """The result with the last bits of the UNet's weights changed, and with other rounding in the scheduler."""
    net = pipeline(run).unet
    generator = torch.Generator().manual_seed(1)
    saved = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1 + 1.2e-7 * torch.randn(parameter.shape, generator=generator))
    config = run["scheduler_config"]
    draws = run["scheduler"] in ("DDPMScheduler", "EulerAncestralDiscreteScheduler", "LCMScheduler")
    draws = draws or config.get("algorithm_type", "").startswith("sde") or run["args"].get("eta", 0) > 0
    try:
        return perform(run, None if draws else exact_step)[0]
    finally:
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                parameter.copy_(saved[name])


models = [save_model(place) for place in range(MODELS)]
factors = {}
for name in models:
    config = json.loads((target / name / "vae/config.json").read_text())
    factors[name] = 2 ** (len(config["block_out_channels"]) - 1)
    base_scheduler.update(json.loads((target / name / "scheduler/scheduler_config.json").read_text()))

runs, expected = [], {}
for place in range(count):
    run = {"class": CLASS, **call()}
    try:
        images, latents, after = perform(run)
        again = nudged(run)
        run["noise"] = float((images - again).abs().nan_to_num(0).max())
        expected[f"run{place}.images"] = images.contiguous()
        if latents:
            expected[f"run{place}.latents"] = torch.stack(latents).contiguous()
        expected[f"run{place}.rng"] = after
        run["finite"] = bool(torch.isfinite(images).all())
    except Exception as error:  # what a call is refused with, or crashes with
        run["error"] = f"{type(error).__name__}: {error}"[:300]
    runs.append(run)
    if place % 20 == 19:
        print(f"{place + 1} calls", flush=True)

(target / "case.json").write_text(json.dumps(dict(runs=runs), indent=1) + "\n")
save_file({**expected, **{name: value.contiguous() for name, value in tensors.items()}}, target / "expected.safetensors")
print(f"{sum('error' in run for run in runs)} of {count} calls were refused")
