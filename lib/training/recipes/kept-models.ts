import { AutoencoderKL } from "../../models/autoencoder_kl.js";
import { CLIPTextModel } from "../../models/clip_text_model.js";
import { CLIPTextModelWithProjection } from "../../models/clip_text_model_with_projection.js";

/** The classes of the models of a base model that training may leave as they are, by component. */
export const KEPT_MODELS = {
  vae: AutoencoderKL,
  textEncoder: CLIPTextModel,
  textEncoder2: CLIPTextModelWithProjection,
} as const;
