import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AutoencoderKL, CLIPTextModel, UNet2DConditionModel } from "../../dist/index.js";

const MODELS = { text_encoder: CLIPTextModel, unet: UNet2DConditionModel, vae: AutoencoderKL };

/** Copies a pipeline folder with its weights in half precision. The README there is the model's own and stays. */
export async function exportModel(from, to) {
  mkdirSync(to, { recursive: true });
  for (const [name, Model] of Object.entries(MODELS)) {
    rmSync(join(to, name), { recursive: true, force: true });
    const model = await Model.fromPretrained(join(from, name));
    await model.savePretrained(join(to, name), { dtype: "float16" });
    model.dispose();
  }
  // transformers would load the type of the weights, diffusers float32: without this their types do not match.
  const config = join(to, "text_encoder", "config.json");
  const parsed = JSON.parse(readFileSync(config, "utf8"));
  writeFileSync(config, `${JSON.stringify({ ...parsed, dtype: "float32" }, null, 2)}\n`);
  for (const name of ["scheduler", "tokenizer"]) {
    mkdirSync(join(to, name), { recursive: true });
    for (const file of readdirSync(join(from, name))) cpSync(join(from, name, file), join(to, name, file));
  }
  cpSync(join(from, "model_index.json"), join(to, "model_index.json"));
}
