"""One side of a comparison (see side.mjs): diffusers, or OpenVINO under its pipelines. Commands come as one JSON object per line on standard input."""

import inspect
import json
import logging
import re
import sys
import time
import warnings

warnings.filterwarnings("ignore")
answers = sys.stdout
sys.stdout = sys.stderr  # so that no library output mixes with the answers

import diffusers
import torch
import transformers
from PIL import Image

logging.disable(logging.WARNING)
diffusers.utils.logging.set_verbosity_error()
pipe = None
device = "cpu"
peer = (sys.argv[1:] or ["eager"])[0]


def now():
    """The time in seconds, after all queued work on the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def answer(value):
    answers.write(json.dumps(value) + "\n")
    answers.flush()


def next_command():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)


def versions(threads, device, **_):
    globals()["device"] = device
    torch.set_num_threads(threads)
    names = {module.__name__: module.__version__ for module in (diffusers, torch, transformers)}
    return {
        "versions": {"python": sys.version.split()[0], **names},
        "cpuCapability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        **({"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}),
    }


def load(model, dtype, size=256, pipeline="StableDiffusionInstructPix2PixPipeline", vaeSlicing=False, vaeTiling=False):
    global pipe
    if peer.startswith("openvino"):
        import openvino_peer

        folder, unet = openvino_peer.convert(model, size, peer == "openvino_int8")
        start = now()
        pipe = getattr(diffusers, pipeline).from_pretrained(model, unet=None)
        openvino_peer.place(pipe, folder, unet, model, dtype, torch.get_num_threads())
    else:
        start = now()
        pipe = getattr(diffusers, pipeline).from_pretrained(model, torch_dtype=getattr(torch, dtype)).to(device)
    seconds = now() - start
    pipe.set_progress_bar_config(disable=True)
    if vaeSlicing:
        pipe.vae.enable_slicing()
    if vaeTiling:
        pipe.vae.enable_tiling()
    if peer == "attention_slicing":
        pipe.enable_attention_slicing()
    if peer in ("channels_last", "compile"):
        for model in (pipe.unet, pipe.vae):
            model.to(memory_format=torch.channels_last)
    if peer == "compile":
        pipe.unet = torch.compile(pipe.unet, mode="max-autotune")
        pipe.vae.decode = torch.compile(pipe.vae.decode, mode="max-autotune")
    return {"seconds": seconds}


def run(args, seed, output, image=None, embeds=None):
    given = {re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name): value for name, value in args.items()}
    if image:
        given["image"] = Image.open(image).convert("RGB")
    if embeds:
        row = lambda seed: torch.randn(1, embeds, generator=torch.Generator("cpu").manual_seed(seed))
        given |= dict(image_embeds=row(1), negative_image_embeds=row(2))
    start = now()

    def wait(step):
        nonlocal start
        answer({"step": step, "seconds": now() - start})
        command = next_command()["command"]
        if command != "continue":
            raise RuntimeError(f"{command} during a run")
        start = now()

    def after_step(_, step, timestep, tensors):
        wait(step)
        return tensors

    if "callback_on_step_end" in inspect.signature(pipe.__call__).parameters:
        callback = {"callback_on_step_end": after_step}
    else:  # the upscalers have the older callback
        callback = {"callback": lambda step, timestep, latents: wait(step)}

    result = pipe(
        **given,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="pt",
        **callback,
    )
    seconds = now() - start
    images = result.images if "images" in result else result.image_embeds
    if type(pipe).__name__ == "KandinskyV22Pipeline":  # it leaves them in -1..1
        images = (images * 0.5 + 0.5).clamp(0, 1)
    images.float().cpu().contiguous().numpy().tofile(output)
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
    }[part]().to(device)
    call = {"encode": vae.encode, "decode": vae.decode, "text": text_encoder}[part]
    start = now()
    call(x)
    return {"seconds": now() - start}


def memory():
    if device == "cuda":
        return {"peak": torch.cuda.max_memory_allocated()}
    try:
        with open("/proc/self/status") as status:
            kilobytes = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
        return {"peak": int(kilobytes) * 1024}
    except OSError:
        import resource

        return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)}


commands = {"versions": versions, "load": load, "run": run, "part": part, "memory": memory}

while True:
    options = next_command()
    try:
        answer(commands[options.pop("command")](**options))
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"})
