"""Records what PyTorch and diffusers do with several processes (Gloo, on the CPU), for tests of training by several.

    python scripts/record-distributed.py reduce
    python scripts/record-distributed.py script train_instruct_pix2pix.py [--processes 2 3 4] [--output DIR]

`reduce` writes test/fixtures/distributed/reduce.json: for 2, 3 and 4 processes the SHA-256 of the gradients that
DistributedDataParallel makes of known ones, in its first step and, with the buckets that it builds then, in its second. They
become ready in the order of the parameters, or in that of the UNet's backward pass.

`script` runs diffusers' training script under torchrun and writes test/fixtures/script-ddpN/: the flags, the logged losses
and the final UNet (the norm of every parameter). Needs torch, diffusers, transformers, accelerate, datasets and
safetensors; torchvision, of which the script uses two transforms, is replaced by exactly these.
"""

import argparse
import hashlib
import importlib.machinery
import json
import os
import runpy
import subprocess
import sys
import tempfile
import types
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent.parent / "test" / "fixtures"
UNET = FIXTURES / "script-full" / "base" / "unet"

CASES = {
    2: ["--train_batch_size=1", "--gradient_accumulation_steps=2", "--max_train_steps=5", "--learning_rate=1e-3",
        "--lr_scheduler=cosine", "--lr_warmup_steps=2", "--conditioning_dropout_prob=0.3", "--seed=42", "--random_flip"],
    3: ["--train_batch_size=2", "--max_train_steps=4", "--learning_rate=5e-4", "--lr_warmup_steps=0",
        "--conditioning_dropout_prob=0.1", "--seed=7", "--use_ema", "--scale_lr"],
    4: ["--train_batch_size=1", "--gradient_accumulation_steps=2", "--max_train_steps=4", "--learning_rate=1e-3",
        "--lr_scheduler=linear", "--lr_warmup_steps=1", "--conditioning_dropout_prob=0.2", "--seed=11", "--random_flip"],
}


def torchrun(processes, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node",
               str(processes),
               __file__, *arguments]
    env = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, env=env, check=True)


def gradient_seed(step, rank, parameter):
    """Also in test/training/distributed/bits-rank.mjs."""
    return 1_000_000 * step + 10_000 * rank + parameter


def reduce_rank(order, output):
    import torch
    import torch.distributed as dist
    from diffusers import UNet2DConditionModel

    class OfParameters(torch.nn.Module):
        """A loss whose gradients are the given numbers, and become ready in the order of the parameters."""

        def __init__(self):
            super().__init__()
            self.unet = UNet2DConditionModel.from_pretrained(UNET)

        def forward(self, gradients):
            total = 0
            for parameter, gradient in reversed(list(zip(self.unet.parameters(), gradients))):
                total = total + (parameter * gradient).sum()
            return total

    class OfBackward(OfParameters):
        """The UNet's own backward pass, whose gradients are replaced by the given numbers."""

        def __init__(self):
            super().__init__()
            for i, parameter in enumerate(self.unet.parameters()):
                parameter.register_hook(lambda _, i=i: self.gradients[i])

        def forward(self, gradients):
            self.gradients = gradients
            config = self.unet.config
            sample = torch.ones(1, config.in_channels, 8, 8)
            embeddings = torch.ones(1, 7, config.cross_attention_dim)
            return self.unet(sample, torch.zeros(1), embeddings).sample.square().mean()

    dist.init_process_group("gloo")
    rank = dist.get_rank()
    model = torch.nn.parallel.DistributedDataParallel({"parameters": OfParameters, "backward": OfBackward}[order]())
    names = [name for name, _ in model.module.unet.named_parameters()]
    hashes = []
    for step in range(2):
        gradients = [
            torch.randn(parameter.shape, generator=torch.Generator().manual_seed(gradient_seed(step, rank, i)))
            for i, parameter in enumerate(model.module.unet.parameters())
        ]
        model.zero_grad(set_to_none=True)
        model(gradients).backward()
        parameters = dict(model.module.unet.named_parameters())
        sha = hashlib.sha256()
        for name in sorted(names):
            sha.update(parameters[name].grad.contiguous().numpy().tobytes())
        hashes.append(sha.hexdigest())
    if rank == 0:
        Path(output).write_text(json.dumps({"parameters": names, "hashes": hashes}))
    dist.destroy_process_group()


def record_reduce():
    recorded = {"hashes": {"parameters": {}, "backward": {}}}
    for order, hashes in recorded["hashes"].items():
        for processes in (2, 3, 4):
            with tempfile.NamedTemporaryFile(suffix=".json") as file:
                torchrun(processes, "reduce-rank", order, file.name)
                answer = json.loads(Path(file.name).read_text())
            recorded["parameters"] = answer["parameters"]
            hashes[processes] = answer["hashes"]
    folder = FIXTURES / "distributed"
    folder.mkdir(exist_ok=True)
    (folder / "reduce.json").write_text(json.dumps(recorded, indent=1) + "\n")


def stand_in_for_torchvision():
    import torch

    class Same:
        def __init__(self, *_):
            pass

        def __call__(self, images):
            return images

    class Flip(Same):
        def __call__(self, images):
            return images.flip(-1) if torch.rand(1) < 0.5 else images

    class Compose:
        def __init__(self, steps):
            self.steps = steps

        def __call__(self, images):
            for step in self.steps:
                images = step(images)
            return images

    transforms = types.ModuleType("torchvision.transforms")
    transforms.Compose, transforms.RandomHorizontalFlip = Compose, Flip
    # The recorded cases have images of exactly the resolution: a crop is the identity, and draws nothing.
    transforms.RandomCrop = transforms.CenterCrop = transforms.Lambda = Same
    module = types.ModuleType("torchvision")
    module.transforms = transforms
    for each in (module, transforms):
        each.__spec__ = importlib.machinery.ModuleSpec(each.__name__, None)
    sys.modules.update({"torchvision": module, "torchvision.transforms": transforms})


def script_rank(trace, script, *flags):
    import accelerate
    import diffusers  # noqa: F401  before the stand-in, which is none for them
    import transformers  # noqa: F401

    stand_in_for_torchvision()

    def log(self, values, step=None, **_):
        if self.is_main_process and "train_loss" in values:
            with open(trace, "a") as file:
                file.write(json.dumps({"step": step, "train_loss": values["train_loss"]}) + "\n")

    accelerate.Accelerator.log = log
    accelerate.Accelerator.init_trackers = lambda *_, **__: None
    sys.argv = [script, *flags]
    runpy.run_path(script, run_name="__main__")


def record_script(script, processes, output):
    from safetensors.torch import load_file, save_file
    import torch

    flags = ["--resolution=32", *CASES[processes]]
    base = FIXTURES / "script-basic"
    folder = Path(output) / f"script-ddp{processes}"
    folder.mkdir(parents=True, exist_ok=True)
    trace = folder / "trace.jsonl"
    trace.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as out:
        torchrun(processes, "script-rank", str(trace), script, *flags,
                 f"--pretrained_model_name_or_path={base / 'base'}", f"--train_data_dir={base / 'dataset'}",
                 f"--output_dir={out}")
        weights = load_file(Path(out) / "unet" / "diffusion_pytorch_model.safetensors")
    names = sorted(weights)
    case = {"base": "script-basic", "processes": processes, "args": flags, "parameter_names": names}
    (folder / "case.json").write_text(json.dumps(case, indent=1) + "\n")
    norms = torch.stack([weights[name].norm() for name in names])
    some = {f"final.{name}": weights[name] for name in names[:: max(1, len(names) // 8)]}
    save_file({"final_norms": norms, **some}, folder / "expected.safetensors")


def main():
    if sys.argv[1:2] == ["reduce-rank"]:
        return reduce_rank(*sys.argv[2:])
    if sys.argv[1:2] == ["script-rank"]:
        return script_rank(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("reduce")
    script = commands.add_parser("script")
    script.add_argument("script")
    script.add_argument("--processes", type=int, nargs="+", default=[2, 3, 4], choices=list(CASES))
    script.add_argument("--output", default=FIXTURES)
    arguments = parser.parse_args()
    if arguments.command == "reduce":
        return record_reduce()
    for processes in arguments.processes:
        record_script(arguments.script, processes, arguments.output)


if __name__ == "__main__":
    main()
