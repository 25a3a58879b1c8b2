import { InstructPix2PixError } from "../core/errors.js";
import type { Generator } from "../core/generator.js";
import { listOfThisRealm, ofThisRealm } from "../core/realm.js";
import { Scope } from "../core/scope.js";
import { type ModelDType, Tensor } from "../core/tensor.js";
import { RgbImage } from "../images/index.js";
import type { AutoencoderKL } from "../models/autoencoder_kl.js";
import { native } from "../runtime/native.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import type { FiniteChecks } from "./finite.js";
import type { LatentScale } from "./latent-scale.js";
import type { ImagesResult, OutputType, RunOptions } from "./run-options.js";
import { blackPicture, blackRows, findUnsafe, type SafetyCheck } from "./safety.js";

/** Where and in which type a run computes its latents. */
export interface Placement {
  device: string;
  dtype: ModelDType;
}

/**
 * The initial latents of a run that starts from noise alone, scaled to the scheduler's initial deviation.
 *
 * @param shape [B·n,C,h,w]
 * @param given noise used instead of a draw
 * @throws `ERR_INVALID_ARGUMENT` for noise of another shape
 */
export async function initialLatents(
  shape: readonly number[],
  scheduler: Scheduler,
  options: Placement & { generator: Generator | Generator[]; given?: Tensor | undefined },
): Promise<Tensor> {
  using noise = await unitNoise(shape, options);
  return await Tensor.linearCombination([[scheduler.initNoiseSigma, noise]]);
}

/**
 * Standard normal noise: drawn, or the given tensor. Throws as {@link initialLatents}.
 */
export async function unitNoise(
  shape: readonly number[],
  { given, generator, device, dtype }: Placement & { generator: Generator | Generator[]; given?: Tensor | undefined },
): Promise<Tensor> {
  if (!given) return await Tensor.randn(shape, { generator, device, dtype });
  checkLatents(given, shape);
  return await given.to({ device, dtype });
}

/** Refuses given latents of another shape than the run's. */
export function checkLatents(given: Tensor | undefined, shape: readonly number[]): void {
  if (given && given.shape.join() !== shape.join())
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `latents must be [${shape}], not [${given.shape}]`);
}

/** How many rows there are, and how they belong to prompts. */
export interface RowCounts {
  /** Number of prompts. */
  batch: number;
  numImagesPerPrompt: number;
  /** batch · numImagesPerPrompt */
  count: number;
}

/**
 * Expands one row per image to one per result: image i goes with prompt i, and both are repeated one by one
 * (diffusers repeats the images as a whole, which pairs them with other prompts). If the numbers differ, images repeat
 * cyclically.
 *
 * @param rows [images,…]
 * @returns [B·n,…]
 * @throws `ERR_INVALID_ARGUMENT` if the numbers cannot be matched
 */
export async function expandRows(rows: Tensor, counts: RowCounts): Promise<Tensor> {
  const { batch, numImagesPerPrompt, count } = counts;
  const pictures = rows.shape[0]!;
  checkPairing("images", pictures, counts);
  const paired = batch % pictures === 0;
  const times = (n: number) => [n, ...rows.shape.slice(1).fill(1)];
  using repeated = await rows.repeat(times((paired ? batch : count) / pictures));
  return paired ? await repeated.repeatInterleave(numImagesPerPrompt, 0) : await repeated.clone();
}

/** Refuses a number of images that {@link expandRows} cannot expand. */
export function checkPairing(what: string, given: number, { batch, numImagesPerPrompt, count }: RowCounts): void {
  if (count % given === 0) return;
  throw new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `${given} ${what} cannot be matched with ${batch} prompts of ${numImagesPerPrompt} images each`,
  );
}

/**
 * A run's result from its denoised latents, which are freed.
 *
 * @throws `ERR_NOT_FINITE`, `ERR_ABORTED`
 */
export async function finish<T extends OutputType>(
  denoised: Tensor,
  options: Placement & DecodeOptions & ResultOptions,
): Promise<ImagesResult<T>> {
  using latents = denoised;
  using output = await outputOf(latents, options);
  return await asResult<T>(output, options);
}

/** What the result is made of: the latents [B,C,h,w], or the pixels of {@link decode}. */
export async function outputOf(
  latents: Tensor,
  options: Placement & DecodeOptions & { outputType: OutputType },
): Promise<Tensor> {
  const { device, dtype, outputType, onProgress } = options;
  if (outputType === "latent") return await latents.to({ device, dtype });
  onProgress?.({ stage: "decode", fraction: undefined });
  const decoded = await decode(latents, options);
  onProgress?.({ stage: "decode", fraction: 1 });
  return decoded;
}

/** A run's result from {@link outputOf}, which stays the caller's. */
export async function asResult<T extends OutputType>(
  output: Tensor,
  { outputType, seed, safety, signal }: ResultOptions,
): Promise<ImagesResult<T>> {
  if (outputType === "latent" || (outputType === "tensor" && !safety))
    return { images: await output.clone(), seed } as ImagesResult<T>;
  const pictures = await toPictures(output);
  if (!safety) return { images: pictures, seed } as ImagesResult<T>;
  const nsfw = await findUnsafe(pictures, safety, signal);
  const images =
    outputType === "tensor"
      ? await blackRows(output, nsfw)
      : pictures.map((picture, i) => (nsfw[i] ? blackPicture(picture) : picture));
  return { images, seed, nsfw } as ImagesResult<T>;
}

/** What becomes of a run's output. */
export interface ResultOptions {
  outputType: OutputType;
  seed: number | bigint | undefined;
  /** What images are looked at with. */
  safety?: SafetyCheck | undefined;
  signal?: AbortSignal | undefined;
}

export interface DecodeOptions {
  vae: AutoencoderKL;
  scale: LatentScale;
  finite: FiniteChecks;
  signal?: AbortSignal | undefined;
  onProgress?: RunOptions["onProgress"] | undefined;
}

type PreviewOptions = Omit<DecodeOptions, "finite"> & Partial<Pick<DecodeOptions, "finite">>;

/** What the first image of a run looks like between two steps; its noise is part of it. */
export async function previewOf(latents: Tensor, options: PreviewOptions): Promise<RgbImage> {
  using first = await latents.slice(0, 0, 1);
  using unit = await decode(first, options);
  return (await toPictures(unit))[0]!;
}

/** Latents to images [B,3,H,W] in 0..1, float32. */
async function decode(latents: Tensor, { vae, scale, finite, signal }: PreviewOptions): Promise<Tensor> {
  using scope = new Scope();
  const unscaled = scope.add(await scale.revert(latents, vae.dtype));
  const decoded = scope.add(await vae.decode(unscaled, { signal }));
  await finite?.decoded(decoded);
  const float = scope.add(await decoded.to({ dtype: "float32" }));
  const half = scope.add(await float.mul(0.5));
  const shifted = scope.add(await half.add(0.5));
  return await shifted.clamp(0, 1);
}

/** Pixels [B,3,H,W] in 0..1 as images of 8 bits, rounded to even. */
export async function toPictures(unit: Tensor): Promise<RgbImage[]> {
  const [, , height, width] = unit.shape as [number, number, number, number];
  const pictures = listOfThisRealm(await native().tensorToPictures(unit.handle));
  return pictures.map((data) => new RgbImage(width, height, ofThisRealm(data)));
}
