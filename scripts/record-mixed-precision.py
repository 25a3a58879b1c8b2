"""Records the results of diffusers' UNet on the recorded training batches of test/fixtures/ip2p-tiny in half precision.

    python scripts/record-mixed-precision.py

Writes test/fixtures/mixed-precision/<type>.json: losses of all micro-steps and gradient norms of all optimizer steps,
with float32 weights under torch.autocast, as accelerate has it. Needs torch, diffusers, transformers and safetensors.
"""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel

FIXTURES = Path(__file__).parent.parent / "test" / "fixtures"
CASE = FIXTURES / "ip2p-tiny"
recorded = load_file(CASE / "expected.safetensors")
case = json.loads((CASE / "case.json").read_text())["train"]
torch.set_num_threads(1)


def record(dtype):
    model = CASE / "model"
    unet = UNet2DConditionModel.from_pretrained(model / "unet").train()
    vae = AutoencoderKL.from_pretrained(model / "vae").eval()
    text = CLIPTextModel.from_pretrained(model / "text_encoder").eval()
    scheduler = DDPMScheduler.from_pretrained(model / "scheduler")
    optimizer = torch.optim.AdamW(unet.parameters(), lr=case["lr"], weight_decay=1e-2)
    with torch.no_grad():
        null_text = text(recorded["train.null_input_ids"])[0]
    losses, norms = [], []
    for step in range(case["steps"]):
        for micro in range(case["accumulation"]):
            at = lambda key: recorded[f"train.{step}.{micro}.{key}"]
            with torch.no_grad():
                posterior = vae.encode(at("edited")).latent_dist
                latents = (posterior.mean + posterior.std * at("posterior_noise")) * vae.config.scaling_factor
                image = vae.encode(at("original")).latent_dist.mode()
                hidden = text(at("input_ids"))[0]
            noisy = scheduler.add_noise(latents, at("noise"), at("timesteps"))
            p, drawn = case["dropout"], at("random_p")
            hidden = torch.where((drawn < 2 * p).reshape(-1, 1, 1), null_text, hidden)
            image = image * (1 - ((drawn >= p) & (drawn < 3 * p)).float()).reshape(-1, 1, 1, 1)
            with torch.autocast("cpu", dtype=dtype):
                prediction = unet(torch.cat([noisy, image], 1), at("timesteps"), hidden).sample
            loss = torch.nn.functional.mse_loss(prediction.float(), at("noise"))
            (loss / case["accumulation"]).backward()
            losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(unet.parameters(), case["max_grad_norm"]).item())
        optimizer.step()
        optimizer.zero_grad()
    return {"torch": torch.__version__, "losses": losses, "grad_norms": norms}


if __name__ == "__main__":
    for name, dtype in {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}.items():
        result = record(dtype)
        if dtype == torch.float32:
            # The recipe itself is the recorded one.
            torch.testing.assert_close(torch.tensor(result["losses"]), recorded["train.losses"].float(), rtol=1e-5, atol=0)
            continue
        folder = FIXTURES / "mixed-precision"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(name, result)
