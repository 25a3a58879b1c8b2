"""Writes models in the original single-file layout, for the tests of lib/single-file.

The table here goes from diffusers' names to the original ones, by arithmetic on the indices, and was written apart from
the one in lib/single-file, which goes the other way.

Usage:
  python scripts/record-single-file.py fixtures
      test/fixtures/single-file: how the tensors of two tiny models are called in a single file, and names and shapes of
      published models, and the repository that diffusers takes for each kind of file
  python scripts/record-single-file.py compare CONFIGS OUT sd1|sd2
      makes OUT/model.safetensors, a float16 model with random weights, loads it with
      diffusers' from_single_file and CONFIGS (a folder with configurations), and writes OUT/expected.json: SHA-256 of
      every tensor of the state dicts

Needs diffusers, transformers, torch, safetensors; CPU.
"""

import hashlib
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parent.parent
FIXTURES = ROOT / "test" / "fixtures"

UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_WHOLE = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def unet_original(name, config):
    module, kind = name.rsplit(".", 1)
    if module in UNET_WHOLE:
        return f"{UNET_WHOLE[module]}.{kind}"
    per_level = config["layers_per_block"] + 1
    if match := re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.+)", name):
        way, level, what, layer, rest = match.groups()
        index = int(level) * per_level + int(layer)
        block = f"input_blocks.{index + 1}" if way == "down" else f"output_blocks.{index}"
        if what == "attentions":
            return f"{block}.1.{rest}"
        part, kind = rest.rsplit(".", 1)
        return f"{block}.0.{UNET_RESNET[part]}.{kind}"
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", name):
        what, index, rest = match.groups()
        if what == "attentions":
            return f"middle_block.1.{rest}"
        part, kind = rest.rsplit(".", 1)
        return f"middle_block.{2 * int(index)}.{UNET_RESNET[part]}.{kind}"
    if match := re.fullmatch(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.+)", name):
        return f"input_blocks.{(int(match[1]) + 1) * per_level}.0.op.{match[2]}"
    if match := re.fullmatch(r"up_blocks\.(\d+)\.upsamplers\.0\.conv\.(.+)", name):
        slot = 2 if config["up_block_types"][int(match[1])].startswith("CrossAttn") else 1
        return f"output_blocks.{(int(match[1]) + 1) * per_level - 1}.{slot}.conv.{match[2]}"
    raise ValueError(name)


VAE_ATTENTION = {
    "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
    "query": "q", "key": "k", "value": "v", "proj_attn": "proj_out",
}


def vae_original(name, config):
    """The original name, and whether the tensor is a matrix that the original layout has as a convolution."""
    levels = len(config["block_out_channels"])
    if match := re.fullmatch(r"(encoder|decoder)\.mid_block\.attentions\.0\.(.+)\.(weight|bias)", name):
        half, part, kind = match.groups()
        return f"{half}.mid.attn_1.{VAE_ATTENTION[part]}.{kind}", part != "group_norm" and kind == "weight"
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    if match := re.fullmatch(r"(encoder|decoder)\.mid_block\.resnets\.(\d)\.(.+)", name):
        return f"{match[1]}.mid.block_{int(match[2]) + 1}.{match[3]}", False
    if match := re.fullmatch(r"encoder\.down_blocks\.(\d+)\.(.+)", name):
        return f"encoder.down.{match[1]}.{vae_block(match[2])}", False
    if match := re.fullmatch(r"decoder\.up_blocks\.(\d+)\.(.+)", name):
        return f"decoder.up.{levels - 1 - int(match[1])}.{vae_block(match[2])}", False
    return name, False


def vae_block(name):
    name = re.sub(r"^resnets\.", "block.", name)
    return re.sub(r"^(down|up)samplers\.0\.", r"\1sample.", name)


OPEN_CLIP = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
OPEN_CLIP_WHOLE = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
    "text_projection.weight": "text_projection",
}


def open_clip_entries(names):
    """Original name -> (operation, names of the parameters)."""
    entries = {}
    for name in names:
        bare = name.removeprefix("text_model.")
        if bare == "embeddings.position_ids":
            continue
        if bare in OPEN_CLIP_WHOLE:
            entries[OPEN_CLIP_WHOLE[bare]] = ("transposed" if bare == "text_projection.weight" else "same", [name])
            continue
        layer, part, kind = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", bare).groups()
        block = f"transformer.resblocks.{layer}"
        if part in OPEN_CLIP:
            entries[f"{block}.{OPEN_CLIP[part]}.{kind}"] = ("same", [name])
        elif part == "self_attn.q_proj":
            fused = [name.replace("q_proj", f"{letter}_proj") for letter in "qkv"]
            entries[f"{block}.attn.in_proj_{kind}"] = ("fused", fused)
    return entries


def component_entries(component, names, config, open_clip):
    if component == "unet":
        return {unet_original(name, config): ("same", [name]) for name in names}
    if component == "vae":
        result = {}
        for name in names:
            original, convolution = vae_original(name, config)
            result[original] = ("convolution" if convolution else "same", [name])
        return result
    if open_clip:
        return open_clip_entries(names)
    return {f"{'' if name.startswith('text_model.') else 'text_model.'}{name}": ("same", [name]) for name in names}


PREFIXES = {
    "sd1": {"unet": "model.diffusion_model.", "vae": "first_stage_model.", "text_encoder": "cond_stage_model.transformer."},
    "sd2": {"unet": "model.diffusion_model.", "vae": "first_stage_model.", "text_encoder": "cond_stage_model.model."},
    "sdxl": {
        "unet": "model.diffusion_model.", "vae": "first_stage_model.",
        "text_encoder": "conditioner.embedders.0.transformer.", "text_encoder_2": "conditioner.embedders.1.model.",
    },
    "sdxl-refiner": {
        "unet": "model.diffusion_model.", "vae": "first_stage_model.", "text_encoder_2": "conditioner.embedders.0.model.",
    },
}


def is_open_clip(family, component):
    return component == "text_encoder_2" or (component == "text_encoder" and family == "sd2")


def layout(family, names, configs):
    """Original name -> [component, operation, names of its parameters]."""
    result = {}
    for component, prefix in PREFIXES[family].items():
        entries = component_entries(component, names[component], configs[component], is_open_clip(family, component))
        for original, (operation, parameters) in entries.items():
            assert prefix + original not in result, original
            result[prefix + original] = [component, operation, parameters]
    return result


def original_shape(operation, shapes):
    first = list(shapes[0])
    if operation == "convolution":
        return [*first, 1, 1] if len(first) == 2 else first
    if operation == "fused":
        return [3 * first[0], *first[1:]]
    return first[::-1] if operation == "transposed" else first


def original_tensor(operation, tensors):
    import torch

    if operation == "convolution":
        return tensors[0][:, :, None, None] if tensors[0].dim() == 2 else tensors[0]
    if operation == "fused":
        return torch.cat(tensors)
    return tensors[0].T.contiguous() if operation == "transposed" else tensors[0]


def read_json(path):
    return json.loads(pathlib.Path(path).read_text())


def write_json(path, lines):
    """One entry a line."""
    body = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in lines.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + body + "\n}\n")


def stored_names(folder):
    from safetensors import safe_open

    with safe_open(next(pathlib.Path(folder).glob("*.safetensors")), "pt") as file:
        return list(file.keys())


def record_fixtures():
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    target = FIXTURES / "single-file"
    for family, model in (("sd1", "ip2p-tiny"), ("sd2", "ip2p-linear-v")):
        folder = FIXTURES / model / "model"
        names = {part: stored_names(folder / part) for part in PREFIXES[family]}
        configs = {part: read_json(folder / part / "config.json") for part in PREFIXES[family]}
        write_json(target / f"{model}.json", layout(family, names, configs))
    published = read_json(target / "published.json")
    digests = {}
    for family, configs in published.items():
        shapes = {}
        with torch.device("meta"):
            for part, config in configs.items():
                if part == "unet":
                    model = UNet2DConditionModel(**config)
                elif part == "vae":
                    model = AutoencoderKL(**config)
                else:
                    kind = CLIPTextModelWithProjection if part == "text_encoder_2" else CLIPTextModel
                    config = dict(config)
                    if family == "sd2":  # the file holds a last layer that is not used
                        config["num_hidden_layers"] += 1
                    model = kind(CLIPTextConfig(**config))
                shapes[part] = {name: list(value.shape) for name, value in model.state_dict().items()}
        names = {part: list(shapes[part]) for part in configs}
        used = lambda part, name: not (family == "sd2" and part == "text_encoder" and ".layers.23." in f".{name}")
        digests[family] = {
            part: digest(name.removeprefix("text_model.") for name in names[part] if used(part, name)) for part in configs
        }
        write_json(
            target / f"shapes-{family}.json",
            {
                original: original_shape(operation, [shapes[part][name] for name in parameters])
                for original, (part, operation, parameters) in layout(family, names, configs).items()
            },
        )
    write_json(target / "names.json", digests)


def record_repositories():
    """The repository whose configurations diffusers' from_single_file takes for each kind of file, by the shapes that it looks at."""
    import torch
    from diffusers.loaders.single_file_utils import fetch_diffusers_config

    empty = lambda *shape: torch.empty(shape, device="meta")
    kinds = {}
    for family, width in (("sd1", 768), ("sd2", 1024)):
        for channels in (4, 8, 9):
            unet = PREFIXES[family]["unet"]
            file = {
                f"{unet}input_blocks.0.0.weight": empty(320, channels, 3, 3),
                f"{unet}input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight": empty(320, width),
                f"{unet}output_blocks.11.0.skip_connection.weight": empty(320, 640, 1, 1),
            }
            kinds[f"{family}-{channels}"] = fetch_diffusers_config(file)["pretrained_model_name_or_path"]
    write_json(FIXTURES / "single-file" / "repositories.json", kinds)


def digest(names):
    """Of sorted names, one a line."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def sha256(tensor):
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


def compare(configs_folder, out, family):
    """A model of full size, as diffusers loads it."""
    import torch
    from diffusers import AutoencoderKL, StableDiffusionInstructPix2PixPipeline, StableDiffusionPipeline, UNet2DConditionModel
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig, CLIPTextModel

    folder, out = pathlib.Path(configs_folder), pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    configs = {part: read_json(folder / part / "config.json") for part in PREFIXES[family]}
    kinds = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}
    states = {}
    for part, config in configs.items():
        plain = {key: value for key, value in config.items() if not key.startswith("_")}
        if part == "text_encoder" and family == "sd2":
            plain["num_hidden_layers"] += 1
        with torch.device("meta"):
            model = kinds[part](**plain) if part in kinds else CLIPTextModel(CLIPTextConfig(**plain))
        states[part] = {
            name: torch.randn(value.shape, dtype=torch.float16).mul_(0.02) for name, value in model.state_dict().items()
        }
    names = {part: list(state) for part, state in states.items()}
    tensors = {
        original: original_tensor(operation, [states[part][name] for name in parameters]).contiguous()
        for original, (part, operation, parameters) in layout(family, names, configs).items()
    }
    # What training leaves in such files.
    tensors["alphas_cumprod"] = torch.zeros(1000)
    tensors["model_ema.decay"] = torch.zeros(())
    if family == "sd1":
        tensors["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(tensors, out / "model.safetensors")
    del states, tensors
    kind = StableDiffusionInstructPix2PixPipeline if configs["unet"]["in_channels"] == 8 else StableDiffusionPipeline
    pipeline = kind.from_single_file(
        str(out / "model.safetensors"), config=str(folder), local_files_only=True, torch_dtype=torch.float16, safety_checker=None
    )
    expected = {"scheduler": type(pipeline.scheduler).__name__}
    for part in configs:
        state = getattr(pipeline, part).state_dict()
        expected[part] = {name: sha256(value) for name, value in state.items() if not name.endswith("position_ids")}
    (out / "expected.json").write_text(json.dumps(expected, indent=1))
    print({part: len(expected[part]) for part in configs})


if __name__ == "__main__":
    if sys.argv[1:2] == ["fixtures"]:
        record_fixtures()
        record_repositories()
    elif sys.argv[1:2] == ["compare"] and len(sys.argv) == 5:
        compare(*sys.argv[2:])
    else:
        sys.exit(__doc__)
