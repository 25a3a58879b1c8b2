import { imageGrid, RgbImage } from "../../images/index.js";

/** Pixels of the longer side of a small image. */
const SIDE = 128;
/** Pairs in a row of the sheet. */
const COLUMNS = 4;
const BACKGROUND = [235, 235, 235] as const;

/** Small images of some rows: each pair side by side, the image before on the left. */
export class ContactSheet {
  readonly #chosen: ReadonlySet<number>;
  readonly #pairs = new Map<number, RgbImage>();

  /** Chooses rows that are evenly spread. */
  constructor(rows: number, pairs: number) {
    const count = Math.min(rows, pairs);
    this.#chosen = new Set(Array.from({ length: count }, (_, i) => Math.floor((i * rows) / count)));
  }

  async add(row: number, original: RgbImage, edited: RgbImage): Promise<void> {
    if (!this.#chosen.has(row)) return;
    const small = await Promise.all([original, edited].map(thumbnail));
    this.#pairs.set(row, imageGrid(small, { gap: 2, background: BACKGROUND }));
  }

  /** @returns the rows on it; undefined if there is none, and then nothing is written */
  async save(path: string): Promise<number[] | undefined> {
    const rows = [...this.#pairs.keys()].sort((a, b) => a - b);
    if (rows.length === 0) return undefined;
    const pairs = rows.map((row) => this.#pairs.get(row)!);
    const sheet = imageGrid(pairs, { columns: COLUMNS, gap: 14, background: BACKGROUND });
    await sheet.save(path);
    return rows;
  }
}

async function thumbnail(image: RgbImage): Promise<RgbImage> {
  const small = image.toSharp().resize(SIDE, SIDE, { fit: "inside", withoutEnlargement: true });
  return RgbImage.fromSharp(small);
}
