import { InstructPix2PixError } from "../../core/errors.js";
import { optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import { refuseArgument } from "../options.js";
import type { RunOptions } from "../run-options.js";

/** Options of computing large images in parts. */
export interface TileOptions {
  /**
   * Computes images that are larger than this in overlapping tiles of so many pixels of the given image, whose seams are
   * blended: memory for the models no longer depends on the image's size, and results differ from those without tiles.
   * `true` takes the size that the model was trained for. Default false.
   */
  tile?: number | boolean | undefined;
  /** Pixels of the given image that neighbouring tiles have in common, less than half a tile. Default a quarter of it. */
  tileOverlap?: number | undefined;
}

/** The names of {@link TileOptions}. */
export const TILE_OPTIONS = optionNames<TileOptions>()({ tile: true, tileOverlap: true });

/** Edges of tiles, in cells: the pixels or latents that the upscaler starts from. */
export interface Tiling {
  size: number;
  overlap: number;
}

/** What tiles can be, in pixels of the given image. */
export interface TileLimits {
  /** Pixels of a cell along an edge. */
  cell: number;
  /** What a tile's edge is a multiple of, at least `least`. */
  multiple: number;
  least: number;
  /** The size that the model was trained for. */
  own: number;
}

/**
 * Validates the options of tiles.
 *
 * @returns undefined without tiles
 * @throws `ERR_INVALID_ARGUMENT` naming the option
 */
export function checkTiles(options: TileOptions, { cell, multiple, least, own }: TileLimits): Tiling | undefined {
  const { tile = false, tileOverlap } = options;
  if (tile === false) {
    if (tileOverlap === undefined) return undefined;
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "tileOverlap is for tiles: give tile too");
  }
  const edge = tile === true ? own : tile;
  if (!Number.isSafeInteger(edge) || edge < least || edge % multiple !== 0)
    refuseArgument("tile", tile, `true, false, or a multiple of ${multiple} of at least ${least}`);
  const overlap = tileOverlap ?? Math.floor(edge / 4 / cell) * cell;
  if (!Number.isSafeInteger(overlap) || overlap < 0 || 2 * overlap >= edge || overlap % cell !== 0)
    refuseArgument("tileOverlap", tileOverlap, `a multiple of ${cell}, less than half the tile of ${edge}`);
  return { size: edge / cell, overlap: overlap / cell };
}

/** A part of an image, in cells. */
export interface Area {
  top: number;
  left: number;
  height: number;
  width: number;
}

/** The part of a tensor [B,C,H,W] with `scale` values for each cell along an edge. */
export async function partOf(tensor: Tensor, { top, left, height, width }: Area, scale = 1): Promise<Tensor> {
  using rows = await tensor.slice(2, scale * top, scale * (top + height));
  return await rows.slice(3, scale * left, scale * (left + width));
}

/** Where tiles begin along an edge: as few as cover it with the overlap, spread evenly. */
export function tileStarts(length: number, { size, overlap }: Tiling): number[] {
  if (length <= size) return [0];
  const count = Math.ceil((length - overlap) / (size - overlap));
  return Array.from({ length: count }, (_, i) => Math.round((i * (length - size)) / (count - 1)));
}

/**
 * Computes an image in tiles, row by row, and joins them.
 *
 * @param cells height and width of the whole
 * @param tiling undefined for a single tile
 * @param scale values of a result for each cell, along an edge
 * @param compute one tile, [B,C,scale · height,scale · width], from its number and how many there are
 */
export async function inTiles(
  { height, width }: Pick<Area, "height" | "width">,
  tiling: Tiling | undefined,
  scale: number,
  compute: (area: Area, tile: number, tiles: number) => Promise<Tensor>,
): Promise<Tensor> {
  const whole = { size: Math.max(height, width), overlap: 0 };
  const tops = tileStarts(height, tiling ?? whole);
  const lefts = tileStarts(width, tiling ?? whole);
  const tiles = tops.length * lefts.length;
  const size = (tiling ?? whole).size;
  const edges = { height: Math.min(size, height), width: Math.min(size, width) };
  using joined = new Seam(2);
  for (const [row, top] of tops.entries()) {
    using strip = new Seam(3);
    for (const [column, left] of lefts.entries()) {
      const tile = row * lefts.length + column;
      await strip.add(await compute({ top, left, ...edges }, tile, tiles), scale * left);
    }
    await joined.add(await strip.end(), scale * top);
  }
  return await joined.end();
}

/** A step callback that says which tile a step belongs to, where there are several. */
export function onTile(onStep: RunOptions["onStep"], tile: number, tiles: number): RunOptions["onStep"] {
  return onStep && tiles > 1 ? (progress) => onStep({ ...progress, tile, tiles }) : onStep;
}

/** Parts that are joined one after the other along an axis, and fade into each other where they overlap. */
class Seam implements Disposable {
  readonly #axis: number;
  readonly #finished: Tensor[] = [];
  /** The part that the next one may still overlap, and where it begins. */
  #last: Tensor | undefined;
  #start = 0;

  constructor(axis: number) {
    this.#axis = axis;
  }

  /**
   * @param part becomes the seam's
   * @param start where it begins, not before the start of the part before it
   */
  async add(part: Tensor, start: number): Promise<void> {
    using scope = new Scope();
    const last = this.#last && scope.add(this.#last);
    this.#last = part;
    if (last) {
      const axis = this.#axis;
      const until = start - this.#start;
      const [length, added] = [last.shape[axis]!, part.shape[axis]!];
      this.#finished.push(await last.slice(axis, 0, until));
      if (until < length) {
        const before = scope.add(await last.slice(axis, until, length));
        const over = scope.add(await scope.add(part).slice(axis, 0, length - until));
        const rest = scope.add(await part.slice(axis, length - until, added));
        const faded = scope.add(await fade(before, over, axis));
        this.#last = undefined;
        this.#last = await Tensor.cat([faded, rest], axis);
      }
    }
    this.#start = start;
  }

  /** All parts as one tensor. */
  async end(): Promise<Tensor> {
    return await Tensor.cat([...this.#finished, this.#last!], this.#axis);
  }

  [Symbol.dispose](): void {
    for (const part of this.#finished) part.dispose();
    this.#last?.dispose();
  }
}

/** From one tensor to another of its shape, linearly along an axis. */
async function fade(from: Tensor, to: Tensor, axis: number): Promise<Tensor> {
  using scope = new Scope();
  const length = to.shape[axis]!;
  const shares = Float32Array.from({ length }, (_, i) => (i + 0.5) / length);
  const shape = to.shape.map((_, i) => (i === axis ? length : 1));
  const ramp = scope.add(await scope.add(Tensor.from(shares, shape)).to({ device: to.device, dtype: to.dtype }));
  const change = scope.add(await to.sub(from));
  const part = scope.add(await change.mul(ramp));
  return await from.add(part);
}
