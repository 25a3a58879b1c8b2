import { declareOptions } from "../../options/declaration.js";

/** Their heading in the help. */
export const VALIDATION = "Validation";

/** Edits that are made while training. */
export const validationOptions = declareOptions({
  validation_prompt: { type: "string", value: "TEXT", group: VALIDATION, mayChange: true, help: "its instruction" },
  num_validation_images: {
    type: "integer",
    min: 1,
    default: 4,
    group: VALIDATION,
    mayChange: true,
    help: "edits to make of it",
  },
});
