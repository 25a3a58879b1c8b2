import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import type { RgbPixels } from "./pixels.js";

export interface GridOptions {
  /** Pictures per row; default all in one. */
  columns?: number;
  /** Pixels between pictures; default 0. */
  gap?: number;
  /** Background colour (red, green, blue, 0 to 255); default white. */
  background?: readonly [number, number, number];
}

const OPTIONS = optionNames<GridOptions>()({ columns: true, gap: true, background: true });

/** Lays pictures out in rows; every cell is as large as the largest picture, and smaller ones are centred. */
export function gridPixels(pictures: readonly RgbPixels[], options: GridOptions = {}): RgbPixels {
  const { columns = pictures.length, gap = 0, background = [255, 255, 255] } = checkOptions(options, OPTIONS);
  if (pictures.length === 0)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "a grid needs at least one picture");
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

  pictures.forEach((picture, i) => {
    const left = (i % columns) * (cell.width + gap) + Math.floor((cell.width - picture.width) / 2);
    const top = Math.floor(i / columns) * (cell.height + gap) + Math.floor((cell.height - picture.height) / 2);
    for (let y = 0; y < picture.height; y++) {
      const row = picture.data.subarray(y * picture.width * 3, (y + 1) * picture.width * 3);
      data.set(row, ((top + y) * width + left) * 3);
    }
  });
  return { width, height, data };
}
