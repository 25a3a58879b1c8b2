import { InstructPix2PixError } from "../core/errors.js";
import type { Tensor } from "../core/tensor.js";

const NAN_OR_INFINITY = "NaN or infinity";

/**
 * Checks that input tensors are finite.
 *
 * @param tensors by the names of their options
 * @throws `ERR_INVALID_ARGUMENT` naming the option
 */
export async function checkGivenTensors(
  tensors: Readonly<Record<string, Tensor | undefined>>,
  allowNonFinite: boolean,
): Promise<void> {
  if (allowNonFinite) return;
  for (const [name, tensor] of Object.entries(tensors))
    if (tensor && !(await tensor.isFinite())) throw givenNotFinite(name);
}

export function givenNotFinite(name: string): InstructPix2PixError {
  return new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `${name} holds ${NAN_OR_INFINITY} (allowNonFinite permits it)`,
  );
}

/** What the checks of a run need to know of it, to say what to try. */
export interface FiniteChecksOptions {
  allowNonFinite: boolean;
  textEncoders: readonly { readonly dtype: string }[];
  vae: { readonly dtype: string };
  unet: { readonly dtype: string };
  /** What predicts, in words. Default "the UNet". */
  denoiser?: string;
  /** Milder guidance, in words; undefined without guidance. */
  milderGuidance?: string | undefined;
}

/**
 * Detects where the values of a run stop being finite, so that it ends with an error instead of a black image.
 */
export class FiniteChecks {
  readonly #options: FiniteChecksOptions;

  constructor(options: FiniteChecksOptions) {
    this.#options = options;
  }

  /** @throws `ERR_NOT_FINITE` */
  async textEmbeddings(embeddings: Tensor): Promise<void> {
    const dtypes = [...new Set(this.#options.textEncoders.map(({ dtype }) => dtype))];
    // The narrowest type is the likeliest cause.
    const advice = dtypes.map(wider).sort((a, b) => b.join().length - a.join().length)[0] ?? [];
    const how = `the text encoder computed in ${dtypes.join(" and ")}`;
    await this.#check(embeddings, "the text embeddings hold", how, advice);
  }

  /** @throws `ERR_NOT_FINITE` */
  async imageLatents(latents: Tensor): Promise<void> {
    await this.#check(latents, "the latents of the image hold", this.#autoencoder(), this.#widerAutoencoder());
  }

  /**
   * @param step counts from 0
   * @throws `ERR_NOT_FINITE` naming the step, counted from 1
   */
  async step(latents: Tensor, step: number, totalSteps: number): Promise<void> {
    const { unet, denoiser = "the UNet", milderGuidance } = this.#options;
    const advice = [...wider(unet.dtype)];
    if (milderGuidance !== undefined) advice.push(milderGuidance);
    const what = `from step ${step + 1} of ${totalSteps} on the latents hold`;
    await this.#check(latents, what, `${denoiser} computed in ${unet.dtype}`, advice);
  }

  /**
   * Latents that the step callback gave, which no computation is to blame for.
   *
   * @param step counts from 0
   * @throws `ERR_NOT_FINITE` naming the step, counted from 1
   */
  async replaced(latents: Tensor, step: number, totalSteps: number): Promise<void> {
    if (this.#options.allowNonFinite || (await latents.isFinite())) return;
    throw new InstructPix2PixError(
      "ERR_NOT_FINITE",
      `from step ${step + 1} of ${totalSteps} on the latents hold ${NAN_OR_INFINITY}: onStep returned them so`,
    );
  }

  /** @throws `ERR_NOT_FINITE` */
  async decoded(picture: Tensor): Promise<void> {
    const what = "the latents are finite, but decoded they hold";
    await this.#check(picture, what, this.#autoencoder(), this.#widerAutoencoder());
  }

  async #check(tensor: Tensor, what: string, how: string, advice: readonly string[]): Promise<void> {
    if (this.#options.allowNonFinite || (await tensor.isFinite())) return;
    const tries = advice.length > 0 ? advice.join(", or ") : "other options, or look at the model's weights";
    throw new InstructPix2PixError("ERR_NOT_FINITE", `${what} ${NAN_OR_INFINITY} (${how}); try ${tries}`);
  }

  #autoencoder(): string {
    return `the autoencoder computed in ${this.#options.vae.dtype}`;
  }

  #widerAutoencoder(): readonly string[] {
    const { dtype } = this.#options.vae;
    return dtype === "float16" ? ['vaeDtype "float32"', ...wider(dtype)] : wider(dtype);
  }
}

/** Types with more range or precision. */
function wider(dtype: string): readonly string[] {
  if (dtype === "float16") return ['dtype "bfloat16" or "float32"'];
  return dtype === "bfloat16" ? ['dtype "float32"'] : [];
}
