import { describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import type { RgbPixels } from "./pixels.js";
import { isSide, MAX_SIDE } from "./resize.js";

/** Options of {@link imageGrid}. */
export interface GridOptions {
  /** Images per row; default all in one. */
  columns?: number;
  /** Pixels between images; default 0. */
  gap?: number;
  /** Background colour (red, green, blue, 0 to 255); default white. */
  background?: readonly [number, number, number];
}

const OPTIONS = optionNames<GridOptions>()({ columns: true, gap: true, background: true });

/** The arguments of diffusers' `make_image_grid`. */
export interface ImageGridLayout {
  /** Rows of the grid; rows times columns must be the number of images. */
  rows: number;
  /** Columns of the grid. */
  cols: number;
  /** Side in pixels that every image is first resized to, as a square and bicubically. Default: no resizing. */
  resize?: number | null | undefined;
}

/** Lays images out in rows; every cell is as large as the largest image, and smaller ones are centred. */
export function gridPixels(pictures: readonly RgbPixels[], options: GridOptions = {}): RgbPixels {
  const { columns = pictures.length, gap = 0, background = [255, 255, 255] } = checkOptions(options, OPTIONS);
  if (pictures.length === 0) throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "a grid needs at least one image");
  if (!Number.isInteger(columns) || columns < 1)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `columns is a whole number of at least 1, not ${columns}`);
  if (!Number.isInteger(gap) || gap < 0)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `gap is a whole number of at least 0, not ${gap}`);

  const cell = {
    width: Math.max(...pictures.map((picture) => picture.width)),
    height: Math.max(...pictures.map((picture) => picture.height)),
  };
  const across = Math.min(columns, pictures.length);
  const down = Math.ceil(pictures.length / columns);
  const width = across * (cell.width + gap) - gap;
  const height = down * (cell.height + gap) - gap;
  const data = new Uint8Array(width * height * 3);
  const [red, green, blue] = background;
  if (red === green && green === blue) data.fill(red);
  else for (let i = 0; i < data.length; i += 3) data.set(background, i);

  const grid = { width, height, data };
  pictures.forEach((picture, i) => {
    const left = (i % columns) * (cell.width + gap) + Math.floor((cell.width - picture.width) / 2);
    const top = Math.floor(i / columns) * (cell.height + gap) + Math.floor((cell.height - picture.height) / 2);
    paste(grid, picture, left, top);
  });
  return grid;
}

/** Checks a layout for a number of images. @throws `ERR_INVALID_ARGUMENT` */
export function checkLayout(count: number, { rows, cols, resize }: ImageGridLayout): void {
  for (const [name, value] of Object.entries({ rows, cols }))
    if (!Number.isInteger(value) || value < 1)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `${name} is a whole number of at least 1, not ${describe(value)}`,
      );
  if (resize !== undefined && resize !== null && !isSide(resize))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `resize is a whole number from 1 to ${MAX_SIDE}, not ${describe(resize)}`,
    );
  if (rows * cols !== count)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `a grid of ${rows} rows and ${cols} cols takes ${rows * cols} images, not ${count}`,
    );
}

/**
 * Lays images out in cells of the first one's size, on black: smaller ones lie at the top left of their cells, larger ones
 * reach into the cells to the right and below, whose images cover them.
 */
export function layoutPixels(
  pictures: readonly RgbPixels[],
  { rows, cols }: Pick<ImageGridLayout, "rows" | "cols">,
): RgbPixels {
  const cell = pictures[0]!;
  const [width, height] = [cols * cell.width, rows * cell.height];
  const grid = { width, height, data: new Uint8Array(width * height * 3) };
  pictures.forEach((picture, i) => {
    paste(grid, picture, (i % cols) * cell.width, Math.floor(i / cols) * cell.height);
  });
  return grid;
}

/** Copies an image into a larger one; what reaches beyond the right or lower edge is cut off. */
function paste(onto: RgbPixels, picture: RgbPixels, left: number, top: number): void {
  const width = Math.min(picture.width, onto.width - left);
  const height = Math.min(picture.height, onto.height - top);
  for (let y = 0; y < height; y++) {
    const from = y * picture.width * 3;
    onto.data.set(picture.data.subarray(from, from + width * 3), ((top + y) * onto.width + left) * 3);
  }
}
