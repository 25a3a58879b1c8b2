import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CLIPTextModel, Generator, UNet2DConditionModel } from "../../dist/index.js";
import { WORLD_WORDS } from "../../dist/world/index.js";
import { SCHEDULER, TEXT_ENCODER, TOKENS, UNET } from "./settings.mjs";
import { writeTokenizer } from "./vocabulary.mjs";

const json = (path, value) => writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);

/**
 * Makes the pipeline folder that training begins with: the trained autoencoder, and text encoder and UNet with random
 * weights.
 */
export async function makeBaseModel(folder, vae) {
  if (existsSync(folder)) return folder;
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(join(partial, "scheduler"), { recursive: true });
  cpSync(vae, join(partial, "vae"), { recursive: true });
  const { vocabularySize, startId, endId } = writeTokenizer(join(partial, "tokenizer"), WORLD_WORDS, TOKENS);
  json(join(partial, "scheduler", "scheduler_config.json"), SCHEDULER);

  const generator = new Generator("cpu", 2);
  const ids = { vocab_size: vocabularySize, bos_token_id: startId, eos_token_id: endId, pad_token_id: endId };
  const textEncoder = await CLIPTextModel.fromConfig({ ...TEXT_ENCODER, ...ids }, { generator });
  await textEncoder.savePretrained(join(partial, "text_encoder"));
  textEncoder.dispose();
  const unet = await UNet2DConditionModel.fromConfig(UNET, { generator });
  await unet.savePretrained(join(partial, "unet"));
  unet.dispose();

  json(join(partial, "model_index.json"), {
    _class_name: "StableDiffusionInstructPix2PixPipeline",
    _diffusers_version: SCHEDULER._diffusers_version,
    feature_extractor: [null, null],
    image_encoder: [null, null],
    requires_safety_checker: false,
    safety_checker: [null, null],
    scheduler: ["diffusers", SCHEDULER._class_name],
    text_encoder: ["transformers", "CLIPTextModel"],
    tokenizer: ["transformers", "CLIPTokenizer"],
    unet: ["diffusers", "UNet2DConditionModel"],
    vae: ["diffusers", "AutoencoderKL"],
  });
  renameSync(partial, folder);
  return folder;
}
