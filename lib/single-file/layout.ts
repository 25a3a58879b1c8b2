import { InstructPix2PixError } from "../core/errors.js";
import type { StoredTensor } from "../files/safetensors.js";

/** The models of pipelines, by the names of their folders in diffusers' format. */
export type ComponentName = "unet" | "vae" | "text_encoder" | "text_encoder_2";

/**
 * Families of files that name and combine their models in one way; "autoencoder" is an autoencoder alone.
 */
export type Family = "sd1" | "sd2" | "sdxl" | "sdxl-refiner" | "autoencoder";

/** Whether models of a family have SDXL's second text encoder. */
export function isXLFamily(family: Family): boolean {
  return family === "sdxl" || family === "sdxl-refiner";
}

interface ComponentPrefix {
  component: ComponentName;
  prefix: string;
}

const UNET = "model.diffusion_model.";
const DIFFUSION: readonly ComponentPrefix[] = [
  { component: "unet", prefix: UNET },
  { component: "vae", prefix: "first_stage_model." },
  { component: "vae", prefix: "vae." },
];

/** Where the models of each family are. */
export const COMPONENT_PREFIXES: Readonly<Record<Family, readonly ComponentPrefix[]>> = {
  sd1: [...DIFFUSION, { component: "text_encoder", prefix: "cond_stage_model.transformer." }],
  sd2: [...DIFFUSION, { component: "text_encoder", prefix: "cond_stage_model.model." }],
  sdxl: [
    ...DIFFUSION,
    { component: "text_encoder", prefix: "conditioner.embedders.0.transformer." },
    { component: "text_encoder_2", prefix: "conditioner.embedders.1.model." },
  ],
  "sdxl-refiner": [...DIFFUSION, { component: "text_encoder_2", prefix: "conditioner.embedders.0.model." }],
  autoencoder: [{ component: "vae", prefix: "" }],
};

/** What training left in files: averaged weights, the noise schedule, losses, indices that are always 0, 1, 2, ... */
const IGNORED: readonly RegExp[] = [
  /^model_ema\./,
  /^(?:betas|alphas_cumprod(?:_prev)?|logvar|lvlb_weights|global_step|epoch|scale_factor)$/,
  /^(?:sqrt|log_one_minus|posterior)_\w+$/,
  /^ddim_\w+$/,
  /^denoiser\.(?:sigmas|log_sigmas)$/,
  /^edm_vpred\.sigma_(?:min|max)$/,
  /^(?:first_stage_model\.|vae\.)?(?:loss|model_ema)\./,
  /^(?:cond_stage_model|conditioner\.embedders\.\d)\.(?:.+\.)?(?:position_ids|logit_scale|attn_mask)$/,
];

/** What only files of CosXL have, whose models take continuous noise levels and predict velocities (EDM). */
export const EDM_SIGN = "edm_vpred.sigma_max";

/** Whether a tensor is known to be of no use. */
export function isIgnored(name: string): boolean {
  return IGNORED.some((pattern) => pattern.test(name));
}

/** Files that hold something else: a name that gives them away, and what to do. */
const OTHERS: readonly { names: RegExp; what: string }[] = [
  {
    names: /^lora_(?:unet|te\d?)_|\.lora_(?:down|up|A|B)\.|\.lora\.(?:down|up)\.|\.lora_linear_layer\./,
    what: "is a LoRA: load the model it belongs to, and the LoRA into that",
  },
  {
    names: /^control_model\.|^controlnet_cond_embedding\./,
    what: "is a ControlNet, which guides a Stable Diffusion model: load that from its own file",
  },
  {
    names: /^(?:model\.diffusion_model\.)?(?:joint_blocks|double_blocks|single_blocks|double_layers)\.\d/,
    what: "is a diffusion transformer (Stable Diffusion 3, Flux or the like), which is not supported",
  },
  {
    names: /^(?:time_embedding\.linear_1|down_blocks\.\d+\.resnets\.\d+\.conv1)\.weight$/,
    what: "is a UNet in diffusers' own format: put it with its config.json in a folder, as diffusion_pytorch_model.safetensors, and load that with UNet2DConditionModel.fromPretrained",
  },
  {
    names: /^(?:encoder|decoder)\.(?:down|up)_blocks\.\d/,
    what: "is an autoencoder in diffusers' own format: put it with its config.json in a folder, as diffusion_pytorch_model.safetensors, and load that with AutoencoderKL.fromPretrained",
  },
  {
    names: /^(?:text_model\.)?(?:embeddings\.token_embedding|encoder\.layers\.\d+\.layer_norm1)\.weight$/,
    what: "is a text encoder in transformers' own format: put it with its config.json in a folder, as model.safetensors, and load that with CLIPTextModel.fromPretrained",
  },
  {
    names: /^(?:emb_params|clip_[lg]|string_to_param\..*)$/,
    what: "is a textual inversion: a few embeddings, not a model",
  },
];

/**
 * The family of a file, by the names of its tensors.
 *
 * @throws `ERR_STATE_DICT` saying what the file is instead
 */
export function identify(path: string, header: ReadonlyMap<string, StoredTensor>): Family {
  const names = [...header.keys()];
  const some = (prefix: string) => names.some((name) => name.startsWith(prefix));
  if (header.has(`${UNET}input_blocks.0.0.weight`)) {
    if (some("conditioner.embedders.1.")) return "sdxl";
    if (some("conditioner.embedders.0.model.")) return "sdxl-refiner";
    if (some("cond_stage_model.model.")) return "sd2";
    if (some("cond_stage_model.transformer.")) return "sd1";
    // Without a text encoder, the width that the UNet expects of one tells.
    if (header.has(`${UNET}label_emb.0.0.weight`)) return "sdxl";
    const key = header.get(`${UNET}input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight`);
    return key?.shape[1] === 1024 ? "sd2" : "sd1";
  }
  for (const { names: pattern, what } of OTHERS) {
    const sign = names.find((name) => pattern.test(name));
    if (sign !== undefined) throw refused(path, what);
  }
  if (header.has("encoder.conv_in.weight") && header.has("decoder.conv_in.weight")) return "autoencoder";
  if (header.has("first_stage_model.encoder.conv_in.weight")) return "sd1";
  throw refused(
    path,
    `is no Stable Diffusion model in the original layout: it has no tensor "${UNET}input_blocks.0.0.weight"`,
  );
}

function refused(path: string, what: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_STATE_DICT", `${path}: ${what}`);
}
