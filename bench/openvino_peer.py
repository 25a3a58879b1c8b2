"""OpenVINO in place of a diffusers pipeline's UNet and autoencoder, for reference.py.

Models are converted once, untimed, into a folder beside the model, one for each size. Needs openvino, and nncf for int8.
"""

import json
from pathlib import Path

import openvino
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.configuration_utils import FrozenDict

#: Of a run with guidance by text and image.
ROWS, TOKENS, CALIBRATION = 3, 77, 2


def convert(model, size, int8):
    """Converts the UNet, and the autoencoder's two halves, unless they are there. Returns their folder, and the UNet's file."""
    model = Path(model)
    folder = model.parent / f"{model.name}-openvino-{size}"
    unet_file = folder / ("unet-int8.xml" if int8 else "unet.xml")
    if not unet_file.exists():
        unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet").eval()
        side = size // 8
        inputs = {
            "sample": torch.randn(ROWS, unet.config.in_channels, side, side),
            "timestep": torch.tensor(500),
            "encoder_hidden_states": torch.randn(ROWS, TOKENS, unet.config.cross_attention_dim),
        }
        with torch.no_grad():
            converted = openvino.convert_model(unet, example_input=inputs)
        if int8:
            import nncf

            arrays = {name: value.numpy() for name, value in inputs.items()}
            data = nncf.Dataset([arrays] * CALIBRATION)
            # How fast it computes does not depend on what it is calibrated with.
            converted = nncf.quantize(
                converted, data, subset_size=CALIBRATION, model_type=nncf.ModelType.TRANSFORMER, fast_bias_correction=True
            )
        save(converted, unet_file)
    for half in ("encoder", "decoder"):
        if (folder / f"vae-{half}.xml").exists():
            continue
        vae = AutoencoderKL.from_pretrained(model, subfolder="vae").eval()
        x = torch.randn(1, *((3, size, size) if half == "encoder" else (vae.config.latent_channels, size // 8, size // 8)))
        with torch.no_grad():
            save(openvino.convert_model(getattr(vae, half), example_input=x), folder / f"vae-{half}.xml")
    return folder, unet_file


def save(model, path):
    path.parent.mkdir(exist_ok=True)
    openvino.save_model(model, path, compress_to_fp16=False)


class Compiled(torch.nn.Module):
    """A converted model that takes and gives tensors."""

    def __init__(self, path, precision, threads, config=None):
        super().__init__()
        properties = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        self.compiled = openvino.Core().compile_model(str(path), "CPU", properties)
        self.request = self.compiled.create_infer_request()
        self.config = config and FrozenDict(config)
        self.dtype, self.device = torch.float32, torch.device("cpu")

    def forward(self, *tensors, encoder_hidden_states=None, return_dict=True, **rest):
        given = [*tensors, *([] if encoder_hidden_states is None else [encoder_hidden_states])]
        if any(value is not None for value in rest.values()):
            raise ValueError(f"not converted: {', '.join(name for name, value in rest.items() if value is not None)}")
        results = self.request.infer([torch.as_tensor(tensor).numpy() for tensor in given], share_inputs=True)
        result = torch.from_numpy(results[0].copy())
        return (result,) if self.config else result


def place(pipe, folder, unet_file, model, dtype, threads):
    """Gives a pipeline without UNet the converted models."""
    precision = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}[dtype]
    config = json.loads((Path(model) / "unet" / "config.json").read_text())
    pipe.unet = Compiled(unet_file, precision, threads, config)
    for half in ("encoder", "decoder"):
        setattr(pipe.vae, half, Compiled(folder / f"vae-{half}.xml", precision, threads))
