"""Records losses and gradients of the other models that `ip2p train` can train: the text encoder with the UNet, and an
autoencoder, from the tiny model of test/fixtures/ip2p-tiny; and both text encoders of Stable Diffusion XL, from that of
test/fixtures/sdxl-ip2p.

    python scripts/record-trainers.py [denoising+autoencoder | sdxl]

Writes test/fixtures/trainers/expected.safetensors and sdxl.safetensors: inputs, losses and the gradients of the smaller
parameters. Needs torch, diffusers, transformers and safetensors.
"""

import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

FIXTURES = Path(__file__).parent.parent / "test" / "fixtures"
MODEL = FIXTURES / "ip2p-tiny" / "model"
XL_MODEL = FIXTURES / "sdxl-ip2p" / "model"
LARGEST = 2000
XL_LARGEST = 64
KL_WEIGHT = 0.1
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
recorded = {}


def gradients(case, model, prefix="", largest=LARGEST):
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        recorded[f"{case}.norm.{prefix}{name}"] = parameter.grad.norm()
        if parameter.numel() <= largest:
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


def sdxl():
    """As diffusers' train_text_to_image_lora_sdxl.py encodes: penultimate states of both, the pooled ones of the second."""
    unet = UNet2DConditionModel.from_pretrained(XL_MODEL / "unet").train()
    texts = [
        CLIPTextModel.from_pretrained(XL_MODEL / "text_encoder").train(),
        CLIPTextModelWithProjection.from_pretrained(XL_MODEL / "text_encoder_2").train(),
    ]
    ids = [torch.randint(1, text.config.vocab_size, (2, 9), generator=generator) for text in texts]
    inputs = {
        "sample": torch.randn(2, unet.config.in_channels, 8, 8, generator=generator),
        "timesteps": torch.randint(0, 1000, (2,), generator=generator),
        "target": torch.randn(2, unet.config.out_channels, 8, 8, generator=generator),
        "time_ids": torch.tensor([[64.0, 48.0, 0.0, 4.0, 64.0, 64.0], [32.0, 64.0, 2.0, 0.0, 64.0, 64.0]]),
        **{f"input_ids_{i + 1}": each for i, each in enumerate(ids)},
    }
    outputs = [text(each, output_hidden_states=True) for text, each in zip(texts, ids)]
    states = torch.cat([output.hidden_states[-2] for output in outputs], -1)
    added = {"text_embeds": outputs[1][0], "time_ids": inputs["time_ids"]}
    prediction = unet(inputs["sample"], inputs["timesteps"], states, added_cond_kwargs=added).sample
    loss = torch.nn.functional.mse_loss(prediction, inputs["target"])
    loss.backward()
    recorded.update({f"sdxl.{name}": value for name, value in inputs.items()})
    recorded["sdxl.loss"] = loss.detach()
    gradients("sdxl", texts[0], "text_encoder.", XL_LARGEST)
    gradients("sdxl", texts[1], "text_encoder_2.", XL_LARGEST)
    gradients("sdxl", unet, "", XL_LARGEST)


def save(name):
    folder = FIXTURES / "trainers"
    folder.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in recorded.items()}, folder / name)
    print(name, len(recorded), {name: value for name, value in recorded.items() if name.endswith(".loss")})
    recorded.clear()


if __name__ == "__main__":
    if "sdxl" not in sys.argv[1:]:
        denoising()
        autoencoder()
        save("expected.safetensors")
    if "denoising+autoencoder" not in sys.argv[1:]:
        generator.manual_seed(1)
        sdxl()
        save("sdxl.safetensors")
