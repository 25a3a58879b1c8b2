import type { ImageSize } from "../../images/pixels.js";
import type { DatasetReport } from "./report.js";

/** Sizes that are listed. */
const LISTED = 20;

/** Counts images by their sizes. */
export class Sizes {
  readonly #images = new Map<string, number>();
  #smallest: ImageSize | undefined;
  #largest: ImageSize | undefined;

  add({ width, height }: ImageSize): void {
    const key = `${width}×${height}`;
    this.#images.set(key, (this.#images.get(key) ?? 0) + 1);
    const merge = (known: ImageSize | undefined, choose: (a: number, b: number) => number): ImageSize => ({
      width: choose(known?.width ?? width, width),
      height: choose(known?.height ?? height, height),
    });
    this.#smallest = merge(this.#smallest, Math.min);
    this.#largest = merge(this.#largest, Math.max);
  }

  report(): Pick<DatasetReport, "sizes" | "smallest" | "largest"> {
    const sizes = [...this.#images]
      .sort(([, a], [, b]) => b - a)
      .slice(0, LISTED)
      .map(([key, images]) => {
        const [width, height] = key.split("×").map(Number) as [number, number];
        return { width, height, images };
      });
    return { sizes, smallest: this.#smallest, largest: this.#largest };
  }
}
