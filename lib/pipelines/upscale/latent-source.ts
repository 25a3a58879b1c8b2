import { Scope } from "../../core/scope.js";
import type { Tensor } from "../../core/tensor.js";
import type { SamplingCall } from "../call.js";
import type { FiniteChecks } from "../finite.js";
import type { ImageInput } from "../image-input.js";
import { expandRows, type RowCounts, unitNoise } from "../latents.js";
import type { PictureLatentsCall } from "../picture-latents.js";
import { type Area, partOf } from "./tiles.js";

/** The latents of images, encoded part by part. */
export interface LatentSource extends Disposable {
  height: number;
  width: number;
  /** [B,C,height,width] of a part. */
  latentsOf(area: Area): Promise<Tensor>;
}

/**
 * The scaled latents of images, or latents as they are given. The draw for the whole image is made at once, so that parts
 * agree where they overlap.
 *
 * @param input stays the caller's, and must outlive the source
 * @throws `ERR_NOT_FINITE`, `ERR_INVALID_ARGUMENT` if images and prompts cannot be matched
 */
export async function latentSource(
  call: PictureLatentsCall & RowCounts & Pick<SamplingCall, "generator">,
  input: ImageInput,
  finite: FiniteChecks,
): Promise<LatentSource> {
  const { vae, scale, device, dtype, generator, signal } = call;
  if ("latents" in input) {
    const scope = new Scope();
    const placed = scope.add(await input.latents.to({ device, dtype }));
    await finite.imageLatents(placed);
    const rows = scope.add(await expandRows(placed, call));
    const [, , height, width] = rows.shape as [number, number, number, number];
    return { height, width, latentsOf: (area) => partOf(rows, area), [Symbol.dispose]: () => scope[Symbol.dispose]() };
  }
  const { pixels } = input;
  const [pictures, , ...edges] = pixels.shape as [number, number, number, number];
  const [height, width] = edges.map((pixels) => pixels / vae.scaleFactor) as [number, number];
  // Several generators draw for one result each.
  const each = Array.isArray(generator);
  const shape = [each ? call.count : pictures, vae.config.latent_channels, height, width];
  const noise = await unitNoise(shape, { generator, device, dtype: vae.dtype });
  const latentsOf = async (area: Area): Promise<Tensor> => {
    using scope = new Scope();
    const part = scope.add(await partOf(pixels, area, vae.scaleFactor));
    const posterior = scope.add(await vae.encode(part, { ...(signal && { signal }) }));
    const rows = each ? scope.add(await posterior.map((tensor) => expandRows(tensor, call))) : posterior;
    const drawn = scope.add(await scope.add(await partOf(noise, area)).to({ device: rows.mean.device }));
    const latents = scope.add(await scale.apply(scope.add(await rows.at(drawn))));
    const placed = scope.add(await latents.to({ device, dtype }));
    await finite.imageLatents(placed);
    return each ? await placed.clone() : await expandRows(placed, call);
  };
  return { height, width, latentsOf, [Symbol.dispose]: () => noise.dispose() };
}
