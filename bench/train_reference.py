"""Training steps of diffusers in PyTorch, as its InstructPix2Pix script makes them: see train.mjs."""

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextModel, CLIPTokenizer

options = json.loads(sys.argv[1])
model, size, accumulation = options["model"], options["size"], options["accumulation"]
batch = options["batch"] // accumulation
half = options["precision"] == "bf16"
frozen = torch.bfloat16 if half else torch.float32
device = options["device"]
torch.set_num_threads(options["threads"])


def now():
    """The time in seconds, after all queued work on the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def say(value):
    print(json.dumps(value), flush=True)


def peak():
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    with open("/proc/self/status") as status:
        return int(next(line.split()[1] for line in status if line.startswith("VmHWM:"))) * 1024


start = now()
unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet").to(device)
vae = AutoencoderKL.from_pretrained(model, subfolder="vae", torch_dtype=frozen).to(device).requires_grad_(False)
text = CLIPTextModel.from_pretrained(model, subfolder="text_encoder", torch_dtype=frozen).to(device).requires_grad_(False)
tokenizer = CLIPTokenizer.from_pretrained(model, subfolder="tokenizer")
noise_schedule = DDPMScheduler.from_pretrained(model, subfolder="scheduler")
unet.train()
if options["attention"] == "math":
    unet.set_attn_processor(AttnProcessor())
if options["checkpointing"]:
    unet.enable_gradient_checkpointing()
if options["lora"]:
    from peft import LoraConfig

    # As train_instruct_pix2pix_lora.py: everything frozen is in the type of mixed precision.
    unet.requires_grad_(False).to(dtype=frozen)
    targets = ["to_k", "to_q", "to_v", "to_out.0"]
    unet.add_adapter(LoraConfig(r=4, lora_alpha=4, init_lora_weights="gaussian", target_modules=targets))
trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
for parameter in trained:
    parameter.data = parameter.data.float()
optimizer = torch.optim.AdamW(trained, lr=1e-5, weight_decay=1e-2)
say({"loadSeconds": now() - start})

torch.manual_seed(0)
originals, edited = (torch.rand(batch, 3, size, size, device=device) * 2 - 1 for _ in range(2))


def tokens(texts):
    return tokenizer(texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids.to(device)


def encode():
    with torch.no_grad():
        latents = vae.encode(edited.to(frozen)).latent_dist
        source = vae.encode(originals.to(frozen)).latent_dist.mode()
        states = text(tokens(["make it winter"] * batch))[0]
        null = text(tokens([""]))[0]
    return latents, source, states, null


kept = encode() if options["cached"] else None
for step in range(options["steps"]):
    start = now()
    total = 0.0
    for _ in range(accumulation):
        posterior, source, states, null = kept or encode()
        latents = posterior.sample() * vae.config.scaling_factor
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, 1000, (batch,), device=device)
        noisy = noise_schedule.add_noise(latents, noise, timesteps)
        drop = torch.rand(batch, device=device)
        states = torch.where((drop < 0.1).reshape(batch, 1, 1), null, states)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
            prediction = unet(torch.cat([noisy, source], dim=1), timesteps, states, return_dict=False)[0]
        loss = F.mse_loss(prediction.float(), noise.float())
        (loss / accumulation).backward()
        total += loss.item() / accumulation
    norm = torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    say(
        {
            "step": step,
            "seconds": now() - start,
            "loss": total,
            "gradNorm": norm.item(),
            "peakBytes": peak(),
        }
    )
