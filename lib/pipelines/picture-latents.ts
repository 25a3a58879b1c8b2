import { Scope } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import type { AutoencoderKL, DiagonalGaussian } from "../models/autoencoder_kl.js";
import type { RunCall, SamplingCall } from "./call.js";
import type { FiniteChecks } from "./finite.js";
import type { ImageInput } from "./image-input.js";
import type { LatentScale } from "./latent-scale.js";
import { expandRows, type Placement, type RowCounts } from "./latents.js";

export type PictureLatentsCall = Placement &
  RowCounts &
  Pick<SamplingCall, "generator"> &
  Pick<RunCall, "signal"> & { vae: AutoencoderKL; scale: LatentScale };

/** The mean of what the autoencoder predicts, or a draw; scaled as the UNet has them, or not. */
export interface Encoding {
  draws: boolean;
  scaled: boolean;
}

/**
 * The latents of images, one row for each result. Latents that are given are used unchanged.
 *
 * A generator draws for the images, which are repeated afterwards; several generators draw for one result each.
 *
 * @param input [images,C,H,W]; stays the caller's
 * @returns [B·n,C,h,w]
 * @throws `ERR_NOT_FINITE`, `ERR_INVALID_ARGUMENT` if images and prompts cannot be matched
 */
export async function pictureLatents(
  call: PictureLatentsCall,
  input: ImageInput,
  encoding: Encoding,
  finite: FiniteChecks,
): Promise<Tensor> {
  using scope = new Scope();
  const { device, dtype } = call;
  if ("latents" in input) {
    const placed = scope.add(await input.latents.to({ device, dtype }));
    await finite.imageLatents(placed);
    return await expandRows(placed, call);
  }
  if (!encoding.draws || !Array.isArray(call.generator)) {
    using own = await ownLatents(call, input.pixels, encoding, finite);
    return await expandRows(own, call);
  }
  const posterior = scope.add(await call.vae.encode(input.pixels, { signal: call.signal }));
  const perResult = scope.add(await posterior.map((tensor) => expandRows(tensor, call)));
  const latents = scope.add(await encoded(perResult, call, encoding));
  const placed = scope.add(await latents.to({ device, dtype }));
  await finite.imageLatents(placed);
  return await placed.clone();
}

/**
 * The latents of images as they are, without a row for each result; a list of generators draws for one image each.
 * Throws and returns as {@link pictureLatents}.
 */
export async function ownLatents(
  call: Omit<PictureLatentsCall, keyof RowCounts>,
  pixels: Tensor,
  encoding: Encoding,
  finite: FiniteChecks,
): Promise<Tensor> {
  using scope = new Scope();
  const posterior = scope.add(await call.vae.encode(pixels, { signal: call.signal }));
  const { generator, device, dtype } = call;
  const own = Array.isArray(generator) ? generator.slice(0, pixels.shape[0]) : generator;
  const latents = scope.add(await encoded(posterior, { ...call, generator: own }, encoding));
  const placed = scope.add(await latents.to({ device, dtype }));
  await finite.imageLatents(placed);
  return await placed.clone();
}

async function encoded(
  posterior: DiagonalGaussian,
  { scale, generator }: Pick<PictureLatentsCall, "scale" | "generator">,
  { draws, scaled }: Encoding,
): Promise<Tensor> {
  const latents = draws ? await posterior.sample(generator) : await posterior.mode();
  if (!scaled) return latents;
  using _unscaled = latents;
  return await scale.apply(latents);
}
