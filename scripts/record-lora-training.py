"""Records what diffusers' LoRA training script does, for test/parity/lora-script.addon.test.ts.

    python scripts/record-lora-training.py DIFFUSERS/examples/research_projects/instructpix2pix_lora/train_instruct_pix2pix_lora.py

Runs the script on the tiny InstructPix2Pix model and the pairs of other fixtures. Writes test/fixtures/lora-script: case.json with the
arguments, trace.jsonl with the loss of every step, and adapter.safetensors, the adapter it ends with. Needs torch, diffusers 0.42.1,
transformers, peft, accelerate and datasets; CPU.
"""

import importlib.machinery
import json
import runpy
import shutil
import sys
import tempfile
import types
from pathlib import Path

import diffusers.utils
import torch

FIXTURES = Path(__file__).parent.parent / "test" / "fixtures"
TARGET = FIXTURES / "lora-script"
ARGUMENTS = [
    "--resolution=32", "--train_batch_size=2", "--max_train_steps=8", "--gradient_accumulation_steps=2",
    "--learning_rate=1e-2", "--conditioning_dropout_prob=0.1", "--seed=42", "--checkpointing_steps=100",
    "--random_flip", "--lr_scheduler=cosine", "--lr_warmup_steps=2", "--max_grad_norm=0.5", "--rank=3",
]  # fmt: skip

torch.set_num_threads(1)
trace = []


def record(self, values, step=None, **_):
    if "train_loss" in values:
        trace.append({"step": step, "train_loss": values["train_loss"]})


if __name__ == "__main__":
    import accelerate

    accelerate.Accelerator.log = record
    diffusers.utils.check_min_version = lambda *_: None
    if "torchvision" not in sys.modules:
        try:
            import torchvision  # noqa: F401
        except ImportError:
            # Before there is a torchvision, which these would use for much more.
            from diffusers import StableDiffusionInstructPix2PixPipeline  # noqa: F401
            from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401

            # Of torchvision the script uses crops and flips of tensors.
            class RandomHorizontalFlip:
                def __call__(self, x):
                    return x.flip(-1) if torch.rand(1) < 0.5 else x

            class Compose:
                def __init__(self, steps):
                    self.steps = steps

                def __call__(self, x):
                    for step in self.steps:
                        x = step(x)
                    return x

            class Crop:
                def __init__(self, size):
                    self.size = size

                def __call__(self, x):
                    assert x.shape[-1] == x.shape[-2] == self.size, "images are resized first"
                    return x

            class Lambda:
                def __init__(self, change):
                    self.change = change

                def __call__(self, x):
                    return self.change(x)

            transforms = types.ModuleType("torchvision.transforms")
            transforms.Compose, transforms.CenterCrop, transforms.RandomCrop = Compose, Crop, Crop
            transforms.RandomHorizontalFlip, transforms.Lambda = RandomHorizontalFlip, Lambda
            torchvision = types.ModuleType("torchvision")
            torchvision.transforms = transforms
            torchvision.__spec__ = importlib.machinery.ModuleSpec("torchvision", None)
            sys.modules.update({"torchvision": torchvision, "torchvision.transforms": transforms})
    with tempfile.TemporaryDirectory() as output:
        sys.argv = [
            sys.argv[1],
            *ARGUMENTS,
            f"--pretrained_model_name_or_path={FIXTURES / 'ip2p-tiny' / 'model'}",
            f"--train_data_dir={FIXTURES / 'script-full' / 'dataset'}",
            "--original_image_column=input_image",
            f"--output_dir={output}",
            f"--cache_dir={output}/cache",
        ]
        runpy.run_path(sys.argv[0], run_name="__main__")
        TARGET.mkdir(exist_ok=True)
        shutil.copy(Path(output) / "pytorch_lora_weights.safetensors", TARGET / "adapter.safetensors")
    (TARGET / "case.json").write_text(json.dumps({"args": ARGUMENTS}, indent=1) + "\n")
    (TARGET / "trace.jsonl").write_text("".join(json.dumps(line) + "\n" for line in trace))
    print(trace)
