import { EXTENT } from "./scene.js";
import type { Rgb } from "./vocabulary.js";

/** A square of pixels to paint on, addressed in the scene's units. */
export class Canvas {
  /** Interleaved 8-bit RGB, rows from top to bottom. */
  readonly data: Uint8Array;
  /** Pixels per unit. */
  readonly scale: number;

  /** @param size width and height in pixels */
  constructor(readonly size: number) {
    this.data = new Uint8Array(size * size * 3);
    this.scale = size / EXTENT;
  }

  /** Fills everything with one colour. */
  fill([red, green, blue]: Rgb): void {
    for (let i = 0; i < this.data.length; i += 3) {
      this.data[i] = red;
      this.data[i + 1] = green;
      this.data[i + 2] = blue;
    }
  }

  /**
   * Blends a colour into every pixel of a rectangle.
   *
   * @param opacity for a pixel's centre, in units: 0 leaves the pixel, 1 or more paints over it
   * @param colour one for all, or a function of the pixel
   */
  paint(
    { left, top, right, bottom }: { left: number; top: number; right: number; bottom: number },
    opacity: (x: number, y: number) => number,
    colour: Rgb | ((x: number, y: number) => Rgb),
  ): void {
    const pixel = (units: number) => Math.min(this.size, Math.max(0, Math.round(units * this.scale)));
    const [firstX, endX, firstY, endY] = [pixel(left), pixel(right), pixel(top), pixel(bottom)];
    for (let row = firstY; row < endY; row++) {
      const y = (row + 0.5) / this.scale;
      for (let column = firstX; column < endX; column++) {
        const x = (column + 0.5) / this.scale;
        const alpha = opacity(x, y);
        if (alpha <= 0) continue;
        this.#blend(
          (row * this.size + column) * 3,
          Math.min(1, alpha),
          typeof colour === "function" ? colour(x, y) : colour,
        );
      }
    }
  }

  /** Blends a colour into all pixels. */
  paintAll(opacity: (x: number, y: number) => number, colour: Rgb | ((x: number, y: number) => Rgb)): void {
    this.paint({ left: 0, top: 0, right: EXTENT, bottom: EXTENT }, opacity, colour);
  }

  disc(x: number, y: number, radius: number, colour: Rgb): void {
    const reach = radius + 1 / this.scale;
    this.paint(
      { left: x - reach, top: y - reach, right: x + reach, bottom: y + reach },
      (px, py) => this.coverage(Math.sqrt((px - x) ** 2 + (py - y) ** 2) - radius),
      colour,
    );
  }

  /** How much of a pixel lies inside of an outline that is this far from its centre; negative distances are inside. */
  coverage(distance: number): number {
    return 0.5 - distance * this.scale;
  }

  #blend(at: number, alpha: number, colour: Rgb): void {
    const { data } = this;
    for (let channel = 0; channel < 3; channel++) {
      const before = data[at + channel]!;
      data[at + channel] = before + alpha * (colour[channel]! - before) + 0.5;
    }
  }
}

/** Interpolates between two colours: 0 is the first, 1 the second. */
export function mix(from: Rgb, to: Rgb, share: number): Rgb {
  return [
    from[0] + share * (to[0] - from[0]),
    from[1] + share * (to[1] - from[1]),
    from[2] + share * (to[2] - from[2]),
  ];
}

/** A colour in coloured light, 1 being white light. */
export function inLight(colour: Rgb, light: Rgb): Rgb {
  return [colour[0] * light[0], colour[1] * light[1], colour[2] * light[2]];
}
