"""One side of a comparison (see side.mjs): diffusers. Commands come as one JSON object per line on standard input."""

import json
import logging
import sys
import time
import warnings

warnings.filterwarnings("ignore")
answers = sys.stdout
sys.stdout = sys.stderr  # so that no library can write between the answers

import diffusers
import torch
import transformers
from diffusers import StableDiffusionInstructPix2PixPipeline
from PIL import Image

logging.disable(logging.WARNING)
diffusers.utils.logging.set_verbosity_error()
pipe = None


def answer(value):
    answers.write(json.dumps(value) + "\n")
    answers.flush()


def next_command():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)


def versions(threads):
    torch.set_num_threads(threads)
    names = {module.__name__: module.__version__ for module in (diffusers, torch, transformers)}
    return {
        "versions": {"python": sys.version.split()[0], **names},
        "cpuCapability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def load(model, dtype):
    global pipe
    start = time.perf_counter()
    pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(model, torch_dtype=getattr(torch, dtype))
    seconds = time.perf_counter() - start
    pipe.set_progress_bar_config(disable=True)
    if sys.argv[1:] == ["channels_last"]:
        for model in (pipe.unet, pipe.vae):
            model.to(memory_format=torch.channels_last)
    return {"seconds": seconds}


def edit(image, prompt, steps, guidanceScale, imageGuidanceScale, seed, output):
    start = time.perf_counter()

    def after_step(_, step, timestep, tensors):
        nonlocal start
        answer({"step": step, "seconds": time.perf_counter() - start})
        command = next_command()["command"]
        if command != "continue":
            raise RuntimeError(f"{command} during an edit")
        start = time.perf_counter()
        return tensors

    images = pipe(
        prompt,
        image=Image.open(image).convert("RGB"),
        num_inference_steps=steps,
        guidance_scale=guidanceScale,
        image_guidance_scale=imageGuidanceScale,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="pt",
        callback_on_step_end=after_step,
    ).images
    seconds = time.perf_counter() - start
    images.float().contiguous().numpy().tofile(output)
    return {"done": True, "seconds": seconds, "shape": list(images.shape)}


@torch.no_grad()
def part(part, size):
    """One of the models around the denoising loop, with random input."""
    vae, text_encoder = pipe.vae, pipe.text_encoder
    latent = size // 2 ** (len(vae.config.block_out_channels) - 1)
    config = text_encoder.config
    x = {
        "encode": lambda: torch.randn(1, 3, size, size, dtype=vae.dtype),
        "decode": lambda: torch.randn(1, vae.config.latent_channels, latent, latent, dtype=vae.dtype),
        "text": lambda: torch.randint(0, config.vocab_size, (2, config.max_position_embeddings)),
    }[part]()
    call = {"encode": vae.encode, "decode": vae.decode, "text": text_encoder}[part]
    start = time.perf_counter()
    call(x)
    return {"seconds": time.perf_counter() - start}


def memory():
    try:
        with open("/proc/self/status") as status:
            kilobytes = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
        return {"peak": int(kilobytes) * 1024}
    except OSError:
        import resource

        return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)}


commands = {"versions": versions, "load": load, "edit": edit, "part": part, "memory": memory}

while True:
    options = next_command()
    try:
        answer(commands[options.pop("command")](**options))
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"})
