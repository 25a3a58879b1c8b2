"""Records losses and gradients of the other models that `ip2p train` can train: the text encoder with the UNet, and an
autoencoder, from the tiny model of test/fixtures/ip2p-tiny.

    python scripts/record-trainers.py

Writes test/fixtures/trainers/expected.safetensors: inputs, losses and the gradients of the smaller parameters. Needs
torch, diffusers, transformers and safetensors.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel

FIXTURES = Path(__file__).parent.parent / "test" / "fixtures"
MODEL = FIXTURES / "ip2p-tiny" / "model"
LARGEST = 2000
KL_WEIGHT = 0.1
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
recorded = {}


def gradients(case, model, prefix=""):
    for name, parameter in model.named_parameters():
        recorded[f"{case}.norm.{prefix}{name}"] = parameter.grad.norm()
        if parameter.numel() <= LARGEST:
            recorded[f"{case}.gradient.{prefix}{name}"] = parameter.grad


def denoising():
    unet = UNet2DConditionModel.from_pretrained(MODEL / "unet").train()
    text = CLIPTextModel.from_pretrained(MODEL / "text_encoder").train()
    context = torch.randint(1, text.config.vocab_size, (2, 9), generator=generator)
    inputs = {
        "sample": torch.randn(2, unet.config.in_channels, 8, 8, generator=generator),
        "timesteps": torch.randint(0, 1000, (2,), generator=generator),
        "input_ids": context,
        "target": torch.randn(2, unet.config.out_channels, 8, 8, generator=generator),
    }
    prediction = unet(inputs["sample"], inputs["timesteps"], text(context)[0]).sample
    loss = torch.nn.functional.mse_loss(prediction, inputs["target"])
    loss.backward()
    recorded.update({f"denoising.{name}": value for name, value in inputs.items()})
    recorded["denoising.loss"] = loss.detach()
    gradients("denoising", text, "text_encoder.")
    gradients("denoising", unet)


def autoencoder():
    vae = AutoencoderKL.from_pretrained(MODEL / "vae").train()
    x = torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1
    posterior = vae.encode(x).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=generator)
    decoded = vae.decode(posterior.mean + posterior.std * noise).sample
    divergence = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
    loss = torch.nn.functional.mse_loss(decoded, x) + KL_WEIGHT * divergence
    loss.backward()
    recorded.update({"autoencoder.x": x, "autoencoder.noise": noise, "autoencoder.loss": loss.detach()})
    gradients("autoencoder", vae)


if __name__ == "__main__":
    denoising()
    autoencoder()
    folder = FIXTURES / "trainers"
    folder.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in recorded.items()}, folder / "expected.safetensors")
    print(len(recorded), recorded["denoising.loss"], recorded["autoencoder.loss"])
