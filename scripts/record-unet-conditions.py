"""Records what diffusers computes for tiny UNets with conditions beside the text: SDXL's pooled text and sizes, class
labels of every kind, a condition of the timestep, residuals of a ControlNet; for lists of transformer layers; and for the
blocks of the ×2 latent upscaler.

    python scripts/record-unet-conditions.py

Writes test/fixtures/unet-conditions: for each case a folder with the model and expected.safetensors, which holds the inputs,
the output, the mean squared error against a target, and the norms of its gradients, the small ones whole, all computed in
float64; cases.json lists them. Needs torch, diffusers 0.42.1 and safetensors; CPU.
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

TARGET = Path(__file__).parent.parent / "test" / "fixtures" / "unet-conditions"
DOWN, CROSS_DOWN, UP, CROSS_UP = "DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"
SMALL = dict(
    in_channels=8,
    norm_num_groups=2,
    attention_head_dim=2,
    cross_attention_dim=6,
    block_out_channels=(4, 8),
    down_block_types=(CROSS_DOWN, DOWN),
    up_block_types=(UP, CROSS_UP),
    layers_per_block=1,
)
TIME_DIM = 16
LARGEST = 160  # elements of a gradient that is recorded whole
torch.set_num_threads(1)
cases = []


def case(name, config, batch=2, size=(8, 8), timesteps=(500, 20), residuals=False, **conditions):
    generator = torch.Generator().manual_seed(len(cases))
    torch.manual_seed(len(cases))
    model = UNet2DConditionModel(**{**SMALL, **config})
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.1 if parameter.dim() == 1 else 0.02
            parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
    state = {key: value.clone() for key, value in model.state_dict().items()}
    model.double()

    def random(shape):
        return torch.randn(shape, generator=generator).double()

    given = {key: value(random) if callable(value) else value for key, value in conditions.items()}
    inputs = dict(sample=random((batch, 8, *size)), timesteps=torch.tensor(timesteps), context=random((batch, 5, 6)), **given)
    target = random((batch, 4, *size))
    if residuals:
        shapes = []
        handles = [
            block.register_forward_hook(lambda module, args, output: shapes.append((output[0].shape, [x.shape for x in output[1]])))
            for block in model.down_blocks
        ]
        first = model.conv_in.register_forward_hook(lambda module, args, output: shapes.append((None, [output.shape])))
        mid = model.mid_block.register_forward_hook(lambda module, args, output: shapes.append((output.shape, [])))
        call(model, inputs)
        for handle in (*handles, first, mid):
            handle.remove()
        skips = [shape for _, of_block in shapes for shape in of_block]
        for i, shape in enumerate(skips):
            inputs[f"residual.{i}"] = 0.3 * random(shape)
        inputs["residual.mid"] = 0.3 * random(shapes[-1][0])
    out = call(model, inputs)
    loss = torch.nn.functional.mse_loss(out, target)
    loss.backward()
    folder = TARGET / name.replace(" ", "-")
    folder.mkdir(parents=True)
    recorded = dict(**inputs, out=out, target=target, loss=loss)
    for key, value in model.named_parameters():
        if not value.requires_grad:
            continue  # random frequencies
        gradient = torch.zeros_like(value) if value.grad is None else value.grad
        recorded[f"norm.{key}"] = gradient.norm()
        if value.numel() <= LARGEST:
            recorded[f"gradient.{key}"] = gradient
    written = {"_class_name": "UNet2DConditionModel", **SMALL, **config}
    (folder / "config.json").write_text(json.dumps(written, indent=1) + "\n")
    save_file(state, folder / "diffusion_pytorch_model.safetensors")
    save_file({key: single(value) for key, value in recorded.items()}, folder / "expected.safetensors")
    cases.append({"name": name, "folder": folder.name})


def single(tensor):
    """A copy in float32, if it is of floating point."""
    return tensor.detach().to(torch.float32 if tensor.is_floating_point() else tensor.dtype).clone().contiguous()


def call(model, inputs):
    added = {key: inputs[key] for key in ("text_embeds", "time_ids") if key in inputs}
    down = [value for key, value in inputs.items() if key.startswith("residual.") and not key.endswith("mid")]
    return model(
        inputs["sample"],
        inputs["timesteps"],
        inputs["context"],
        class_labels=inputs.get("class_labels"),
        timestep_cond=inputs.get("timestep_cond"),
        added_cond_kwargs=added or None,
        down_block_additional_residuals=tuple(down) or None,
        mid_block_additional_residual=inputs.get("residual.mid"),
    ).sample


if __name__ == "__main__":
    shutil.rmtree(TARGET, ignore_errors=True)
    sizes = torch.tensor([[64.0, 48.0, 0.0, 8.0, 64.0, 48.0], [32.0, 32.0, 4.0, 0.0, 32.0, 32.0]])
    text_time = dict(addition_embed_type="text_time", addition_time_embed_dim=5, projection_class_embeddings_input_dim=9 + 6 * 5)
    case("pooled text and sizes", text_time, text_embeds=lambda random: random((2, 9)), time_ids=sizes)
    case(
        "pooled text and sizes with other embeddings",
        dict(text_time, act_fn="gelu", flip_sin_to_cos=False, freq_shift=1, resnet_time_scale_shift="scale_shift"),
        text_embeds=lambda random: random((2, 9)),
        time_ids=sizes,
    )
    case("labels of a table", dict(num_class_embeds=7), class_labels=torch.tensor([6, 0]))
    case("labels as timesteps", dict(class_embed_type="timestep", act_fn="mish"), class_labels=torch.tensor([3.5, 700.0]))
    case("labels as they are", dict(class_embed_type="identity"), class_labels=lambda random: random((2, TIME_DIM)))
    case(
        "projected labels",
        dict(class_embed_type="projection", projection_class_embeddings_input_dim=3, act_fn="relu"),
        class_labels=lambda random: random((2, 3)),
    )
    case(
        "simply projected labels",
        dict(class_embed_type="simple_projection", projection_class_embeddings_input_dim=3),
        class_labels=lambda random: random((2, 3)),
    )
    case(
        "labels and sizes",
        dict(text_time, num_class_embeds=4),
        class_labels=torch.tensor([1, 3]),
        text_embeds=lambda random: random((2, 9)),
        time_ids=sizes,
    )
    case("condition of the timestep", dict(time_cond_proj_dim=3), timestep_cond=lambda random: random((2, 3)))
    case("condition of the timestep not given", dict(time_cond_proj_dim=3))
    case("residuals", {}, residuals=True)
    case("residuals of odd size", dict(layers_per_block=2), size=(7, 5), residuals=True)
    case(
        "lists of transformer layers",
        dict(
            layers_per_block=(2, 1),
            down_block_types=(CROSS_DOWN, CROSS_DOWN),
            up_block_types=(CROSS_UP, CROSS_UP),
            attention_head_dim=(1, 4),
            transformer_layers_per_block=[[2, 1], [3]],
            reverse_transformer_layers_per_block=[[1, 2], [2, 1, 1]],
        ),
    )
    case(
        "lists and cross attention only",
        dict(
            text_time,
            down_block_types=(DOWN, CROSS_DOWN),
            up_block_types=(CROSS_UP, UP),
            use_linear_projection=True,
            attention_head_dim=(2, 4),
            transformer_layers_per_block=(1, 2),
            only_cross_attention=(False, True),
        ),
        text_embeds=lambda random: random((2, 9)),
        time_ids=sizes,
    )
    k_blocks = dict(
        act_fn="gelu",
        norm_num_groups=None,
        mid_block_type=None,
        time_embedding_type="fourier",
        timestep_post_act="gelu",
        time_cond_proj_dim=3,
        conv_in_kernel=1,
        conv_out_kernel=1,
    )
    case(
        "k blocks",
        dict(
            k_blocks,
            block_out_channels=(32, 32),
            time_embedding_dim=32,
            layers_per_block=(1, 2),
            attention_head_dim=(16, 12),
            down_block_types=("KCrossAttnDownBlock2D", "KCrossAttnDownBlock2D"),
            up_block_types=("KCrossAttnUpBlock2D", "KUpBlock2D"),
        ),
        timesteps=(0.3, -1.2),
        timestep_cond=lambda random: random((2, 3)),
    )
    case(
        "k blocks with a middle and labels",
        dict(
            k_blocks,
            act_fn="silu",
            timestep_post_act=None,
            flip_sin_to_cos=False,
            norm_num_groups=4,
            class_embed_type="timestep",
            mid_block_type="UNetMidBlock2DCrossAttn",
            block_out_channels=(32, 64),
            attention_head_dim=8,
            down_block_types=("KCrossAttnDownBlock2D", "KDownBlock2D"),
            up_block_types=("KCrossAttnUpBlock2D", "KUpBlock2D"),
        ),
        size=(4, 10),
        timesteps=(0.3, -1.2),
        class_labels=torch.tensor([0.25, 0.5]),
    )
    (TARGET / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    print(len(cases), "cases")
