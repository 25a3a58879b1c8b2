import { savedPipeline } from "../../../components/save.js";
import { encodePrompts, tokenizePrompts } from "../../../conditioning/prompt.js";
import type { AutoencoderKL } from "../../../models/autoencoder_kl.js";
import type { CLIPTextModel } from "../../../models/clip_text_model.js";
import { INSTRUCT_PIX2PIX, type StableDiffusionComponents } from "../../../pipelines/components.js";
import { InstructPix2PixPipeline } from "../../../pipelines/stable_diffusion/instruct_pix2pix.js";
import type { CLIPTokenizer } from "../../../tokenizer/clip_tokenizer.js";
import type { TensorsByModel } from "../../trainer.js";
import type { TextRows } from "../edit/micro-batch.js";
import { type EditCall, EditModels, type LoadedParts } from "../edit/models.js";
import { trainedComponent } from "../edit/save-model.js";
import type { LoadPlace } from "../recipe.js";

/** The text encoder is not among them if it is trained. */
export type StableDiffusionFrozen = { readonly vae: AutoencoderKL; readonly textEncoder?: CLIPTextModel };

const SAFETY = ["safetyChecker", "featureExtractor"] as const;

type Parts = LoadedParts<StableDiffusionComponents, StableDiffusionFrozen>;

/** The models of InstructPix2Pix with Stable Diffusion. */
export class StableDiffusionModels extends EditModels<StableDiffusionComponents, StableDiffusionFrozen> {
  readonly family = "sd";
  readonly #tokenizer: CLIPTokenizer;

  /** @param textEncoder if it is trained */
  constructor(parts: Parts, place: LoadPlace, textEncoder: CLIPTextModel | null) {
    super(parts, place, textEncoder ? { textEncoder } : {});
    this.#tokenizer = parts.source.ready.tokenizer!;
  }

  async encodeText(prompts: readonly string[], signal: AbortSignal | undefined): Promise<TextRows> {
    const parts = await this.#text();
    return this.textEncoders.textEncoder
      ? { inputIds: tokenizePrompts(prompts, parts) }
      : { embeddings: await encodePrompts(prompts, parts, { signal }) };
  }

  nullText(signal: AbortSignal | undefined): Promise<TextRows> {
    return this.encodeText([""], signal);
  }

  conditions({ embeddings, inputIds }: TextRows) {
    return { ...(embeddings && { embeddings }), ...(inputIds && { inputIds: [inputIds] }) };
  }

  async checkPrompt(prompt: string): Promise<void> {
    tokenizePrompts([prompt], await this.#text()).dispose();
  }

  editSize(): undefined {
    return undefined;
  }

  async editor() {
    const { vae } = await this.frozen.get();
    const { unet, scheduler } = this;
    const pipeline = new InstructPix2PixPipeline({ ...(await this.#text()), vae, unet, scheduler });
    return (call: EditCall) => pipeline.run(call);
  }

  pipeline(weights: TensorsByModel) {
    const slots = INSTRUCT_PIX2PIX.components;
    const { source } = this;
    const { textEncoder } = this.textEncoders;
    return savedPipeline(INSTRUCT_PIX2PIX, {
      // Training does not use them, but diffusers' script saves them.
      ...Object.fromEntries(
        SAFETY.filter((name) => source.configs[name]).map((name) => [slots[name].folder, source.kept(name)]),
      ),
      [slots.vae.folder]: source.kept("vae"),
      [slots.textEncoder.folder]: textEncoder
        ? trainedComponent(textEncoder, weights.textEncoder)
        : source.kept("textEncoder"),
      [slots.tokenizer.folder]: source.kept("tokenizer"),
      [slots.unet.folder]: trainedComponent(this.unet, weights.unet),
      [slots.scheduler.folder]: this.savedScheduler(),
    });
  }

  contents(): Promise<string[]> {
    return this.source.contents([
      "vae",
      ...(this.textEncoders.textEncoder ? [] : ["textEncoder" as const]),
      "tokenizer",
    ]);
  }

  async #text() {
    const textEncoder = this.textEncoders.textEncoder ?? (await this.frozen.get()).textEncoder!;
    return { tokenizer: this.#tokenizer, textEncoder };
  }
}
