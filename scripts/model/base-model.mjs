import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CLIPTextModel, Generator, UNet2DConditionModel } from "../../dist/index.js";
import { writeTokenizer } from "./vocabulary.mjs";

const json = (path, value) => writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);

/**
 * Makes the pipeline folder that training begins with: the trained autoencoder, and text encoder and UNet with random
 * weights.
 *
 * @param {string} vae the autoencoder's folder
 * @param {object} parts words (each of them one token), tokens (of an instruction), and the configurations textEncoder, unet and
 *   scheduler
 */
export async function makeBaseModel(folder, vae, { words, tokens, textEncoder: ofText, unet: ofUnet, scheduler }) {
  if (existsSync(folder)) return folder;
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(join(partial, "scheduler"), { recursive: true });
  cpSync(vae, join(partial, "vae"), { recursive: true });
  const { vocabularySize, startId, endId } = writeTokenizer(join(partial, "tokenizer"), words, tokens);
  json(join(partial, "scheduler", "scheduler_config.json"), scheduler);

  const generator = new Generator("cpu", 2);
  const ids = { vocab_size: vocabularySize, bos_token_id: startId, eos_token_id: endId, pad_token_id: endId };
  const textEncoder = await CLIPTextModel.fromConfig({ ...ofText, ...ids }, { generator });
  await textEncoder.savePretrained(join(partial, "text_encoder"));
  textEncoder.dispose();
  const unet = await UNet2DConditionModel.fromConfig(ofUnet, { generator });
  await unet.savePretrained(join(partial, "unet"));
  unet.dispose();

  json(join(partial, "model_index.json"), {
    _class_name: "StableDiffusionInstructPix2PixPipeline",
    _diffusers_version: scheduler._diffusers_version,
    feature_extractor: [null, null],
    image_encoder: [null, null],
    requires_safety_checker: false,
    safety_checker: [null, null],
    scheduler: ["diffusers", scheduler._class_name],
    text_encoder: ["transformers", "CLIPTextModel"],
    tokenizer: ["transformers", "CLIPTokenizer"],
    unet: ["diffusers", "UNet2DConditionModel"],
    vae: ["diffusers", "AutoencoderKL"],
  });
  renameSync(partial, folder);
  return folder;
}
