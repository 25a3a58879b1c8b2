"""Records what diffusers makes with LoRAs of Stable Diffusion XL and with convolutions in kohya's names.

    python scripts/record-lora.py

Writes test/fixtures/lora-more: adapters, case.json with the runs (operations before each, on the pipeline of the run before it), and
expected.safetensors with their pictures. The base models are those of other fixtures. Needs torch, diffusers 0.42.1,
transformers, peft and safetensors; CPU.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionInstructPix2PixPipeline, StableDiffusionXLInstructPix2PixPipeline
from PIL import Image
from safetensors.torch import save_file

FIXTURES = Path(__file__).parent.parent / "test" / "fixtures"
TARGET = FIXTURES / "lora-more"
SD, XL = FIXTURES / "ip2p-tiny" / "model", FIXTURES / "sdxl-ip2p" / "model"
CLASSES = {"sd": (StableDiffusionInstructPix2PixPipeline, SD), "xl": (StableDiffusionXLInstructPix2PixPipeline, XL)}
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
CONVOLUTIONS = ["conv1", "conv2", "proj_in", "proj_out", "conv", "conv_shortcut"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
torch.set_num_threads(1)


def load(kind):
    pipeline_class, folder = CLASSES[kind]
    options = {"safety_checker": None} if kind == "sd" else {}
    pipeline = pipeline_class.from_pretrained(folder, **options)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def factors(model, targets, rank, seed):
    """A and B of every layer that ends with one of the targets, by peft's names."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, layer in sorted(model.named_modules()):
        if not any(name == target or name.endswith(f".{target}") for target in targets) or not hasattr(layer, "weight"):
            continue
        rows, *inner = layer.weight.shape
        made[f"{name}.lora_A.weight"] = 0.25 * torch.randn(rank, *inner, generator=generator)
        made[f"{name}.lora_B.weight"] = 0.25 * torch.randn(rows, rank, *(1 for _ in inner[1:]), generator=generator)
    return made


def bare(name):
    for ending in (".lora_A.weight", ".lora_B.weight"):
        if name.endswith(ending):
            return name[: -len(ending)], ending
    raise ValueError(name)


def kohya(prefix, state, alpha):
    result = {}
    for name, tensor in state.items():
        layer, ending = bare(name)
        flat = prefix + layer.replace(".", "_")
        result[flat + (".lora_down.weight" if "lora_A" in ending else ".lora_up.weight")] = tensor
        result[flat + ".alpha"] = torch.tensor(float(alpha))
    return result


def with_model(name):
    """transformers' names below the model, whichever version."""
    return name if name.startswith("text_model.") else "text_model." + name


def make_adapters():
    sd = load("sd")
    unet = factors(sd.unet, ATTENTION + CONVOLUTIONS + ["time_emb_proj", "ff.net.0.proj"], 3, 1)
    text = {with_model(k): v for k, v in factors(sd.text_encoder, TEXT, 2, 2).items()}
    save_file({**kohya("lora_unet_", unet, 1.5), **kohya("lora_te_", text, 1)}, TARGET / "sd-kohya.safetensors")
    xl = load("xl")
    unet = factors(xl.unet, ATTENTION + ["proj_in", "proj_out"], 2, 3)
    one = {with_model(k): v for k, v in factors(xl.text_encoder, TEXT, 2, 4).items()}
    two = {with_model(k): v for k, v in factors(xl.text_encoder_2, TEXT, 2, 5).items()}
    peft = {f"unet.{k}": v for k, v in unet.items()}
    peft |= {f"text_encoder.{k}": v for k, v in one.items()} | {f"text_encoder_2.{k}": v for k, v in two.items()}
    save_file(peft, TARGET / "xl-peft.safetensors")
    unet = factors(xl.unet, ATTENTION + CONVOLUTIONS, 3, 6)
    two = {with_model(k): v for k, v in factors(xl.text_encoder_2, TEXT, 1, 7).items()}
    one = {with_model(k): v for k, v in factors(xl.text_encoder, TEXT, 1, 8).items()}
    texts = {**kohya("lora_te1_", one, 1), **kohya("lora_te2_", two, 1)}
    save_file({**kohya("lora_unet_", unet, 2), **texts}, TARGET / "xl-kohya.safetensors")


RUNS = [
    {"pipeline": "sd", "lora": [{"op": "load", "file": "sd-kohya.safetensors", "adapter": "k"}]},
    {"pipeline": "sd", "lora": [{"op": "set", "adapters": ["k"], "weights": [-0.5]}]},
    # Weights of blocks are those of their attention there, so the adapter has no other layers.
    {
        "pipeline": "sd",
        "lora": [
            {"op": "load", "file": "../lora/style.safetensors", "adapter": "s"},
            {
                "op": "set",
                "adapters": ["s"],
                "weights": [{"text_encoder": 0.3, "unet": {"down": 0.5, "mid": 1.0, "up": {"block_0": 0.2}}}],
            },
        ],
    },
    {"pipeline": "xl", "lora": []},
    {"pipeline": "xl", "lora": [{"op": "load", "file": "xl-peft.safetensors", "adapter": "a"}]},
    {
        "pipeline": "xl",
        "lora": [
            {"op": "load", "file": "xl-kohya.safetensors", "adapter": "b"},
            {"op": "set", "adapters": ["a", "b"], "weights": [0.8, 0.6]},
        ],
    },
    {"pipeline": "xl", "lora": [{"op": "fuse", "scale": 0.5}]},
]


def apply(pipeline, operation):
    op = operation["op"]
    if op == "load":
        pipeline.load_lora_weights(TARGET / operation["file"], adapter_name=operation["adapter"])
    elif op == "set":
        pipeline.set_adapters(operation["adapters"], operation["weights"])
    elif op == "fuse":
        components = ["unet", "text_encoder"] + (["text_encoder_2"] if hasattr(pipeline, "text_encoder_2") else [])
        pipeline.fuse_lora(components=components, lora_scale=operation["scale"])


def main():
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir()
    make_adapters()
    expected, pipelines = {}, {}
    for i, run in enumerate(RUNS):
        kind = run["pipeline"]
        pipeline = pipelines.setdefault(kind, load(kind))
        for operation in run["lora"]:
            apply(pipeline, operation)
        image = Image.open(FIXTURES / ("ip2p-tiny" if kind == "sd" else "sdxl-ip2p") / "image.png").convert("RGB")
        size = {} if kind == "sd" else {"height": 32, "width": 32}
        result = pipeline(
            "make it snow",
            image=image,
            num_inference_steps=3,
            guidance_scale=5.0,
            image_guidance_scale=1.4,
            generator=torch.Generator().manual_seed(11),
            output_type="np",
            **size,
        )
        expected[f"run{i}.images"] = torch.from_numpy(np.ascontiguousarray(result.images.transpose(0, 3, 1, 2)))
    save_file(expected, TARGET / "expected.safetensors")
    (TARGET / "case.json").write_text(json.dumps({"runs": RUNS}, indent=1) + "\n")


main()
