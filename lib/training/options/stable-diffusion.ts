import { declareOptions } from "../../options/declaration.js";
import { VALIDATION } from "./validation.js";

/** Options for a Stable Diffusion base model only. */
export const stableDiffusionOptions = declareOptions({
  val_image_url: {
    type: "string",
    value: "FILE|URL",
    addresses: true,
    group: VALIDATION,
    mayChange: true,
    help: "an image to edit for validation, read before training begins",
  },
  validation_epochs: {
    type: "integer",
    min: 1,
    default: 1,
    group: VALIDATION,
    mayChange: true,
    help: "validate after every so many epochs, and at the end",
  },
});
