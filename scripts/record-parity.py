"""Records what diffusers computes for many configurations of tiny models, for test/parity/configs.addon.test.ts.

Each case is a folder of test/fixtures/parity-configs: the model's files as a repository would hold them (configurations
often without the keys that have their default, as older versions wrote them), expected.safetensors with inputs and outputs,
and an entry in cases.json with the call's arguments. Weights are random.

Usage: python scripts/record-parity.py (needs diffusers 0.40 development, transformers, torch, Pillow 13; CPU)
"""

import inspect
import json
import pathlib
import shutil

import numpy as np
import torch
import diffusers
from diffusers import AutoencoderKL, StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

FIXTURES = pathlib.Path(__file__).parent.parent / "test" / "fixtures"
TARGET = FIXTURES / "parity-configs"
DOWN, CROSS_DOWN = "DownBlock2D", "CrossAttnDownBlock2D"
UP, CROSS_UP = "UpBlock2D", "CrossAttnUpBlock2D"

cases = []
shutil.rmtree(TARGET, ignore_errors=True)

def randomised(model, generator):
    """Leaves no bias at 0 and no norm at 1, so that omitting one is detected."""
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.1 if parameter.dim() == 1 else 0.02
            parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def sparse(model):
    """The configuration without keys that have their default."""
    parameters = inspect.signature(type(model).__init__).parameters
    plain = lambda value: list(value) if isinstance(value, tuple) else value
    return {
        key: value
        for key, value in dict(model.config).items()
        if not key.startswith("_") and (key not in parameters or plain(parameters[key].default) != plain(value))
    }


def save_weights(folder, stem, state, layout):
    state = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
    if layout == "shards":
        names = list(state)
        shards = {f"{stem}-{i + 1:05d}-of-00003.safetensors": names[i::3] for i in range(3)}
        for file, part in shards.items():
            save_file({name: state[name] for name in part}, folder / file)
        weight_map = {name: file for file, part in shards.items() for name in part}
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=1))
    elif layout == "fp16":
        save_file({name: tensor.half() for name, tensor in state.items()}, folder / f"{stem}.fp16.safetensors")
    else:
        save_file(state, folder / f"{stem}.safetensors")


def save_case(kind, name, config, state, tensors, layout="single", **call):
    folder = TARGET / name.replace(" ", "-")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_weights(folder, "model" if kind == "text" else "diffusion_pytorch_model", state, layout)
    save_file({key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}, folder / "expected.safetensors")
    variant = {"variant": "fp16"} if layout == "fp16" else {}
    cases.append({"kind": kind, "name": name, "folder": folder.name, **variant, **call})


# ---- UNets --------------------------------------------------------------------------------------------------------------

TWO_LEVELS = dict(
    block_out_channels=(4, 8), down_block_types=(CROSS_DOWN, DOWN), up_block_types=(UP, CROSS_UP), layers_per_block=1
)
THREE_LEVELS = dict(
    block_out_channels=(4, 8, 8),
    down_block_types=(CROSS_DOWN, CROSS_DOWN, DOWN),
    up_block_types=(UP, CROSS_UP, CROSS_UP),
    layers_per_block=1,
)
SMALL = dict(in_channels=8, norm_num_groups=2, attention_head_dim=2, cross_attention_dim=6)


def unet(name, config, size=(8, 8), batch=1, timesteps=500, layout="single"):
    seed = len(cases)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = randomised(UNet2DConditionModel(**{**SMALL, **TWO_LEVELS, **config}), generator)
    if layout == "fp16":
        model = model.half().float()
    sample = torch.randn(batch, model.config.in_channels, *size, generator=generator)
    width = model.config.cross_attention_dim
    context = torch.randn(batch, 7, width if isinstance(width, int) else width[0], generator=generator)
    with torch.no_grad():
        out = model(sample, torch.tensor(timesteps), context).sample
    tensors = dict(sample=sample, context=context, out=out)
    save_case("unet", name, sparse(model), model.state_dict(), tensors, layout, timesteps=timesteps)


ONE_LEVEL = dict(block_out_channels=(6,), down_block_types=(CROSS_DOWN,), up_block_types=(CROSS_UP,))

unet("unet of one level", ONE_LEVEL, size=(5, 3))
unet("unet of two plain levels", dict(down_block_types=(DOWN, DOWN), up_block_types=(UP, UP)))
unet("unet of odd size", THREE_LEVELS, size=(13, 7), batch=2)
unet(
    "unet of lists",
    dict(
        THREE_LEVELS,
        attention_head_dim=(1, 2, 4),
        layers_per_block=(2, 1, 1),
        transformer_layers_per_block=(1, 2, 1),
        cross_attention_dim=(6, 6, 6),
        up_block_types=(CROSS_UP, CROSS_UP, CROSS_UP),
    ),
)
unet("unet of asymmetric transformers", dict(transformer_layers_per_block=(1, 2), reverse_transformer_layers_per_block=(1, 3)))
unet("unet of cross attention only", dict(only_cross_attention=True))
unet("unet of cross attention only in some levels", dict(only_cross_attention=(True, False), up_block_types=(CROSS_UP, CROSS_UP)))
unet("unet without a middle", dict(mid_block_type=None))
unet("unet with a plain middle", dict(mid_block_type="UNetMidBlock2D", mid_block_scale_factor=1.4142135))
unet("unet of scaled and shifted time", dict(resnet_time_scale_shift="scale_shift", act_fn="mish"))
unet("unet of gelu", dict(act_fn="gelu", norm_eps=1e-3))
unet("unet of relu", dict(act_fn="relu", norm_num_groups=1))
unet("unet of swish", dict(act_fn="swish", dropout=0.1, sample_size=8))
unet("unet without padding on the way down", dict(THREE_LEVELS, downsample_padding=0), size=(12, 11))
unet("unet of a centred input", dict(center_input_sample=True, flip_sin_to_cos=False, freq_shift=1, block_out_channels=(8, 8)))
unet("unet of other kernels", dict(conv_in_kernel=5, conv_out_kernel=1, time_embedding_dim=10))
unet("unet of linear projections", dict(use_linear_projection=True, upcast_attention=True))
unet("unet of a timestep per row", {}, batch=3, timesteps=[1, 500, 999])
unet("unet of fractional timesteps", {}, batch=2, timesteps=[0.25, 700.5])
unet("unet in shards", {}, layout="shards")
unet("unet in half precision", {}, layout="fp16")


# ---- Autoencoders -------------------------------------------------------------------------------------------------------

OLD_NAMES = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


def vae(name, config, channels=(4, 4), size=(12, 10), batch=1, slicing=False, tiling=False, old_names=False):
    seed = len(cases)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    levels = len(channels)
    model = AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        **{"norm_num_groups": 2, **config},
    )
    randomised(model, generator)
    if slicing:
        model.enable_slicing()
    if tiling:
        model.enable_tiling()
    factor = 2 ** (levels - 1)
    image = torch.rand(batch, model.config.in_channels, *size, generator=generator) * 2 - 1
    latents = torch.randn(batch, model.config.latent_channels, *(edge // factor for edge in size), generator=generator)
    with torch.no_grad():
        posterior = model.encode(image).latent_dist
        decoded = model.decode(latents).sample
    state = model.state_dict()
    if old_names:
        for now, before in OLD_NAMES.items():
            state = {key.replace(now, before) if ".attentions." in key else key: value for key, value in state.items()}
    tensors = dict(image=image, latents=latents, mean=posterior.mean, logvar=posterior.logvar, decoded=decoded)
    save_case("vae", name, sparse(model), state, tensors, slicing=slicing, tiling=tiling)


vae("autoencoder of one level", {}, channels=(4,), size=(5, 3))
vae("autoencoder of three levels and two layers", dict(layers_per_block=2), channels=(2, 4, 6), size=(12, 20))
vae("autoencoder of odd size", dict(latent_channels=3), size=(13, 9), batch=2)
vae("autoencoder without attention", dict(mid_block_add_attention=False, act_fn="mish"))
vae("autoencoder without quantisation layers", dict(use_quant_conv=False, use_post_quant_conv=False, act_fn="relu"))
vae("autoencoder row by row", {}, batch=3, slicing=True)
vae("autoencoder in tiles", dict(sample_size=16), size=(40, 26), tiling=True)
vae("autoencoder in tiles row by row", dict(sample_size=16), size=(16, 18), batch=2, slicing=True, tiling=True)
vae("autoencoder of old names", {}, old_names=True)


# ---- Text encoders ------------------------------------------------------------------------------------------------------


def text(name, config, length=8, end=None, prefix="text_model.", position_ids=False):
    seed = len(cases)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    small = dict(vocab_size=60, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2)
    tokens = dict(max_position_embeddings=8, bos_token_id=0, eos_token_id=59, pad_token_id=1)
    configuration = CLIPTextConfig(**{**small, **tokens, **config})
    model = randomised(CLIPTextModel(configuration), generator)
    ids = torch.randint(3, 58, (3, length), generator=generator)
    end = configuration.eos_token_id if end is None else end
    for row, position in enumerate([2, length - 1, 1]):
        ids[row, position:] = end
    with torch.no_grad():
        output = model(ids, output_hidden_states=True)
    state = {prefix + key.removeprefix("text_model."): value for key, value in model.state_dict().items()}
    if position_ids:
        state[f"{prefix}embeddings.position_ids"] = torch.arange(configuration.max_position_embeddings)[None]
    tensors = dict(ids=ids, last=output.last_hidden_state, pooled=output.pooler_output)
    tensors.update({f"hidden.{i}": hidden for i, hidden in enumerate(output.hidden_states)})
    save_case("text", name, configuration.to_diff_dict(), state, tensors)


text("text encoder", {})
text("text encoder that says 2 ends the text", dict(eos_token_id=2), end=59, position_ids=True)
text("text encoder of gelu and bare names", dict(hidden_act="gelu", layer_norm_eps=1e-3), prefix="", position_ids=True)
text("text encoder of few tokens", dict(num_hidden_layers=3, num_attention_heads=4), length=3)


# ---- Pipelines ----------------------------------------------------------------------------------------------------------


def picture(width, height, seed):
    random = np.random.RandomState(seed)
    small = Image.fromarray(random.randint(0, 256, (4, 4, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def lanczos(image, factor, size=None):
    """Resizes as diffusers does."""
    size = size or (image.width - image.width % factor, image.height - image.height % factor)
    return image.resize(size, Image.Resampling.LANCZOS)


def tiny_pipeline():
    torch.manual_seed(7)
    generator = torch.Generator().manual_seed(7)
    tokenizer = CLIPTokenizer.from_pretrained(FIXTURES / "ip2p-tiny" / "model" / "tokenizer")
    encoder = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, eos_token_id=2
    )
    parts = dict(
        unet=UNet2DConditionModel(**{**SMALL, **TWO_LEVELS, "cross_attention_dim": 8}),
        vae=AutoencoderKL(
            block_out_channels=(2, 4, 4),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=2,
        ),
        text_encoder=CLIPTextModel(encoder),
    )
    for part in parts.values():
        randomised(part, generator)
    pipe = StableDiffusionInstructPix2PixPipeline(
        **parts,
        tokenizer=tokenizer,
        scheduler=diffusers.DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    for name in parts:
        parts[name].save_pretrained(TARGET / "pipeline" / name)
    return pipe


BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
runs = []
run_tensors = {}


def run(name, pipe, scheduler, sizes=((26, 19),), prompt="make it snow", seeds=(3,), tensors=None, output="tensor", **call):
    """`call` has the names of this package's options; tensors go to the file."""
    index = len(runs)
    pipe.scheduler = getattr(diffusers, scheduler)(**BETAS)
    tensors = tensors or {}
    run_tensors.update({f"{index}.{key}": tensor for key, tensor in tensors.items()})
    if "image" in tensors:
        image = tensors["image"]
    else:
        pictures = [picture(*size, seed=10 * index + i) for i, size in enumerate(sizes)]
        for i, original in enumerate(pictures):
            original.save(TARGET / "pipeline" / f"{index}.{i}.png")
        first = lanczos(pictures[0], pipe.vae_scale_factor)
        image = [first, *(lanczos(other, 0, first.size) for other in pictures[1:])]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    names = {
        "negativePrompt": "negative_prompt",
        "numInferenceSteps": "num_inference_steps",
        "guidanceScale": "guidance_scale",
        "imageGuidanceScale": "image_guidance_scale",
        "numImagesPerPrompt": "num_images_per_prompt",
        "eta": "eta",
    }
    given = {
        "promptEmbeds": "prompt_embeds",
        "negativePromptEmbeds": "negative_prompt_embeds",
        "latents": "latents",
    }
    with torch.no_grad():
        out = pipe(
            prompt=prompt,
            image=image,
            generator=generators[0] if len(generators) == 1 else generators,
            output_type="latent" if output == "latent" else "pt",
            **{names[key]: value for key, value in call.items()},
            **{given[key]: tensors[key] for key in given if key in tensors},
        ).images
    run_tensors[f"{index}.out"] = out
    pictures = 0 if "image" in tensors else len(sizes)
    runs.append(dict(name=name, scheduler=scheduler, prompt=prompt, pictures=pictures, seeds=seeds, output=output, call=call))


def pipelines():
    pipe = tiny_pipeline()
    normal = lambda *shape: torch.randn(*shape, generator=torch.Generator().manual_seed(len(runs)))
    few = dict(numInferenceSteps=3)
    run("a picture whose sides divide by nothing", pipe, "EulerAncestralDiscreteScheduler", ((37, 23),), **few)
    run("no guidance at a text scale of 1", pipe, "DDIMScheduler", guidanceScale=1.0, **few)
    run("no guidance at an image scale below 1", pipe, "DDIMScheduler", imageGuidanceScale=0.99, **few)
    run("guidance at an image scale of 1", pipe, "EulerDiscreteScheduler", guidanceScale=3.0, imageGuidanceScale=1.0, **few)
    run(
        "several prompts with their own pictures and negative prompts",
        pipe,
        "DPMSolverMultistepScheduler",
        ((24, 16), (31, 40)),
        prompt=["make it snow", "add a boat"],
        negativePrompt=["blurry", ""],
        **few,
    )
    run("several pictures of a prompt, each with its seed", pipe, "DDPMScheduler", seeds=(1, 2, 3), numImagesPerPrompt=3, **few)
    run("DDIM with noise", pipe, "DDIMScheduler", eta=0.7, **few)
    run("latents given", pipe, "LMSDiscreteScheduler", tensors=dict(latents=normal(1, 4, 4, 6)), output="latent", **few)
    embeddings = dict(promptEmbeds=normal(2, 77, 8), negativePromptEmbeds=normal(2, 77, 8) * 0.5)
    run("embeddings given", pipe, "UniPCMultistepScheduler", prompt=None, tensors=embeddings, **few)
    embeddings = dict(promptEmbeds=normal(1, 9, 8))
    run("embeddings of fewer tokens", pipe, "HeunDiscreteScheduler", prompt=None, tensors=embeddings, **few)
    tensor = dict(image=torch.rand(1, 3, 18, 29, generator=torch.Generator().manual_seed(5)))
    run("a tensor whose sides do not divide", pipe, "PNDMScheduler", tensors=tensor, numInferenceSteps=6)
    save_file({key: value.clone().contiguous() for key, value in run_tensors.items()}, TARGET / "pipeline" / "expected.safetensors")


pipelines()
versions = dict(diffusers=diffusers.__version__, torch=torch.__version__)
(TARGET / "cases.json").write_text(json.dumps(dict(versions=versions, modules=cases, runs=runs), indent=1) + "\n")
