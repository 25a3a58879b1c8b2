"""Records what diffusers and published optimizers compute for the recipes of `ip2p train`, for test/training/recipes.addon.test.ts.

    python scripts/record-recipes.py

Writes test/fixtures/recipes/expected.safetensors. Needs torch, diffusers 0.42.1, prodigyopt, lion-pytorch and ema-pytorch; CPU.
"""

from pathlib import Path

import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from ema_pytorch.post_hoc_ema import sigma_rel_to_gamma, solve_weights
from lion_pytorch import Lion
from prodigyopt import Prodigy
from safetensors.torch import save_file

TARGET = Path(__file__).parent.parent / "test" / "fixtures" / "recipes"
STEPS = torch.tensor([0, 1, 20, 250, 500, 750, 998, 999])
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
torch.set_num_threads(1)
recorded = {"steps": STEPS}

for name, zero in (("plain", False), ("zero", True)):
    scheduler = DDPMScheduler(**SCHEDULE, rescale_betas_zero_snr=zero, prediction_type="v_prediction")
    recorded[f"{name}.alphas_cumprod"] = scheduler.alphas_cumprod[STEPS]
    snr = compute_snr(scheduler, STEPS)
    # The weights of diffusers' scripts: train_text_to_image.py with --snr_gamma 5.
    least = torch.minimum(snr, torch.full_like(snr, 5.0))
    recorded[f"{name}.snr_epsilon"] = least / snr
    recorded[f"{name}.snr_v"] = least / (snr + 1)
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(len(STEPS), 4, 4, 4, generator=generator) for _ in range(2))
    recorded.update({"latents": latents, "noise": noise})
    recorded[f"{name}.noisy"] = scheduler.add_noise(latents, noise, STEPS)
    recorded[f"{name}.velocity"] = scheduler.get_velocity(latents, noise, STEPS)

# Thresholds and losses as in diffusers' examples/research_projects/scheduled_huber_loss_training.
c, count = 0.1, 1000
alphas = DDPMScheduler(**SCHEDULE).alphas_cumprod[STEPS].double()
sigmas = ((1 - alphas) / alphas).sqrt()
recorded["huber.snr"] = (1 - c) / (1 + sigmas) ** 2 + c
recorded["huber.exponential"] = torch.exp(torch.log(torch.tensor(c, dtype=torch.float64)) / count * STEPS)
difference = recorded["latents"] - recorded["noise"]
delta = recorded["huber.snr"].float().view(-1, 1, 1, 1)
root = (difference**2 + delta**2).sqrt() - delta
recorded["huber.loss"] = (2 * delta * root).mean()
recorded["huber.smooth_l1"] = (2 * root).mean()


def trained(make, dtype=torch.float32):
    """Four numbers after each of 30 steps towards others, by their mean squared difference."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.nn.Parameter(torch.randn(4, generator=generator).to(dtype))
    target = torch.randn(4, generator=generator).to(dtype)
    recorded["optimizer.target"] = target.float()
    optimizer = make([weight])
    weights = [weight.detach().clone()]
    for _ in range(30):
        optimizer.zero_grad()
        ((weight - target) ** 2).mean().backward()
        optimizer.step()
        weights.append(weight.detach().clone())
    return torch.stack(weights)


recorded["optimizer.prodigy"] = trained(lambda p: Prodigy(p, lr=1.0, weight_decay=0.01))
# It multiplies the rounding of its first steps, a millionth of a weight long, by a thousand and more.
recorded["optimizer.prodigy_exact"] = trained(lambda p: Prodigy(p, lr=1.0, weight_decay=0.01), torch.float64).float()
recorded["optimizer.lion"] = trained(lambda p: Lion(p, lr=1e-2, betas=(0.9, 0.99), weight_decay=0.1))
# Of lucidrains' ema-pytorch: exponents of relative widths, and the coefficients that make an average of several snapshots.
widths = torch.tensor([0.01, 0.05, 0.1, 0.15, 0.25], dtype=torch.float64)
gammas = torch.tensor([sigma_rel_to_gamma(width) for width in widths.tolist()], dtype=torch.float64)
# So many steps that its continuous time makes no difference.
steps = torch.tensor([1, 2, 3, 4, 5], dtype=torch.float64).repeat(2) * 100_000
kept = gammas[1:3].repeat_interleave(5)
recorded["post_hoc_ema.widths"], recorded["post_hoc_ema.gammas"] = widths, gammas
recorded["post_hoc_ema.steps"], recorded["post_hoc_ema.kept"] = steps, kept
recorded["post_hoc_ema.coefficients"] = solve_weights(steps, kept, torch.full((5,), 500_000.0), gammas)
TARGET.mkdir(exist_ok=True)
save_file({name: value.contiguous() for name, value in recorded.items()}, TARGET / "expected.safetensors")
print(recorded["optimizer.prodigy"][:, 0], recorded["optimizer.lion"][:, 0], recorded["zero.snr_epsilon"])
