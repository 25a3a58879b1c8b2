import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import { native } from "../../runtime/native.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import type { FiniteChecks } from "../finite.js";
import type { ImageInput } from "../image-input.js";
import { expandRows, unitNoise } from "../latents.js";
import { prepareMask } from "../mask.js";
import { ownLatents, pictureLatents } from "../picture-latents.js";
import { type InpaintCall, latentShape } from "./call.js";
import type { InpaintPictures } from "./pictures.js";

/** What a run of inpainting starts from. */
export interface InpaintStart {
  latents: Tensor;
  noise: Tensor;
  /** [B·n,1,h,w] */
  mask: Tensor;
  /** The image's latents; undefined for UNets that take the mask, at strength 1. */
  known: Tensor | undefined;
  /** Mask and masked image, for UNets that take them. */
  channels: Tensor | undefined;
}

export interface InpaintStartOptions {
  /** The prepared image. */
  image: ImageInput;
  masks: InpaintPictures["masks"];
  scheduler: Scheduler;
  timesteps: readonly number[];
  /** Whether the image is latents with the noise that another model left in them: they are not noised again. */
  noised?: boolean;
  finite: FiniteChecks;
}

/**
 * The draws are in diffusers' order: image, noise, masked image. Everything that is returned is in the scope but the
 * latents.
 */
export async function startInpainting(
  call: InpaintCall,
  { image, masks, scheduler, timesteps, noised = false, finite }: InpaintStartOptions,
  scope: Scope,
): Promise<InpaintStart> {
  const { size, takesMask, strength, vae, allowNonFinite } = call;
  const shape = latentShape(call);
  const [, , h, w] = shape;
  const pixelMask = scope.add(await prepareMask(masks, { factor: vae.scaleFactor, size, allowNonFinite }));
  const needsPicture = !takesMask || noised || (!call.latents && strength < 1);
  const known = needsPicture ? scope.add(await imageLatents(call, image, finite)) : undefined;
  const noise = scope.add(await unitNoise(shape, { ...call, given: call.latents }));
  const masked = await maskedLatents(call, { image, mask: pixelMask, finite }, scope);
  const fromNoise = () => Tensor.linearCombination([[scheduler.initNoiseSigma, noise]]);
  const latents = noised
    ? await known!.clone()
    : strength === 1 || call.latents
      ? await fromNoise()
      : await scheduler.addNoise(known!, noise, timesteps.slice(0, 1));
  const small = scope.add(new Tensor(await native().resizeNearest(pixelMask.handle, h, w)));
  const placed = scope.add(await small.to({ device: call.device, dtype: call.dtype }));
  const mask = scope.add(await expandRows(placed, call));
  const channels = takesMask && masked ? scope.add(await Tensor.cat([mask, masked], 1)) : undefined;
  return { latents, noise, mask, known, channels };
}

/** [B·n,C,h,w]: the image's latents without the part that is painted anew. Drawn for all UNets, as in diffusers. */
async function maskedLatents(
  call: InpaintCall,
  { image, mask, finite }: { image: ImageInput; mask: Tensor; finite: FiniteChecks },
  scope: Scope,
): Promise<Tensor | undefined> {
  const { maskedImageLatents: given, device, dtype } = call;
  const encode = async (pixels: Tensor) => scope.add(await imageLatents(call, { pixels }, finite));
  if (given && given.shape[1] !== call.vae.config.latent_channels)
    return await encode(scope.add(await given.to({ dtype: "float32" })));
  if (given) return scope.add(await expandRows(scope.add(await given.to({ device, dtype })), call));
  // Without pixels there is nothing to mask; UNets that need it are refused before.
  if ("latents" in image) return undefined;
  const stays = scope.add(await Tensor.linearCombination([[-1, mask]]));
  const factor = scope.add(await stays.add(1));
  return await encode(scope.add(await image.pixels.mul(factor)));
}

/** [B·n,C,h,w]: images' latents, drawn for each image and then repeated, also where each result has its own generator. */
async function imageLatents(call: InpaintCall, image: ImageInput, finite: FiniteChecks): Promise<Tensor> {
  const encoding = { draws: true, scaled: true };
  if ("latents" in image) return await pictureLatents(call, image, encoding, finite);
  using own = await ownLatents(call, image.pixels, encoding, finite);
  return await expandRows(own, call);
}

/**
 * What becomes of the latents after each step: the part that stays is put back, with the noise of the next timestep, or
 * without noise at the end. UNets that take the mask keep it themselves.
 */
export function puttingBack(
  { takesMask }: InpaintCall,
  kept: Pick<InpaintStart, "known" | "noise" | "mask">,
  { scheduler, timesteps }: Pick<InpaintStartOptions, "scheduler" | "timesteps">,
): ((painted: Tensor, step: number) => Promise<Tensor>) | undefined {
  if (takesMask) return undefined;
  return (painted, step) => putBack(painted, kept, scheduler, timesteps[step + 1]);
}

async function putBack(
  painted: Tensor,
  { known, noise, mask }: Pick<InpaintStart, "known" | "noise" | "mask">,
  scheduler: Scheduler,
  next: number | undefined,
): Promise<Tensor> {
  using scope = new Scope();
  const proper = next === undefined ? known! : scope.add(await scheduler.addNoise(known!, noise, [next]));
  const inverse = scope.add(await scope.add(await mask.mul(-1)).add(1));
  const stays = scope.add(await proper.mul(inverse));
  const anew = scope.add(await painted.mul(mask));
  return await stays.add(anew);
}
