import { declareOptions } from "../../options/declaration.js";
import { MODEL } from "./model.js";
import { RUN } from "./run.js";
import { VALIDATION } from "./validation.js";

/** Options for a Stable Diffusion XL base model only. */
export const stableDiffusionXLOptions = declareOptions({
  pretrained_vae_model_name_or_path: {
    type: "string",
    value: "DIR|HUB_ID",
    group: MODEL,
    help: "SDXL: another autoencoder, such as one that computes in float16; by default the model's own",
  },
  vae_precision: {
    type: "string",
    choices: ["fp32", "fp16", "bf16"],
    default: "fp32",
    group: MODEL,
    help: "SDXL: the type that the autoencoder computes in; that of SDXL 1.0 gives NaN in fp16",
  },
  crops_coords_top_left_h: {
    type: "integer",
    default: 0,
    group: RUN,
    help: "SDXL: the top of the crop that the UNet is told of",
  },
  crops_coords_top_left_w: {
    type: "integer",
    default: 0,
    group: RUN,
    help: "SDXL: the left of the crop that the UNet is told of",
  },
  val_image_url_or_path: {
    type: "string",
    value: "FILE|URL",
    addresses: true,
    group: VALIDATION,
    mayChange: true,
    help: "SDXL: an image to edit for validation, read before training begins",
  },
  validation_steps: {
    type: "integer",
    min: 1,
    default: 100,
    group: VALIDATION,
    mayChange: true,
    help: "SDXL: validate after every so many steps, and at the end",
  },
});
