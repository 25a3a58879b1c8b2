import type { Plane } from "../pixels.js";

/** Points along each side of a pixel at which a shape is looked at. */
const SAMPLES = 4;

/** A shape: its bounding box in pixels, and its opacity (0..1) at a point. */
export interface LayerShape {
  left: number;
  top: number;
  right: number;
  bottom: number;
  opacity(x: number, y: number): number;
}

/**
 * A layer of shapes that lie over an image, as opacities in 0..1: where several meet, they cover as one behind the other.
 * Each pixel has the mean over its area, so that shapes smaller than a pixel fade instead of vanishing.
 */
export function drawLayer(width: number, height: number, shapes: Iterable<LayerShape>): Plane {
  const data = new Float32Array(width * height);
  for (const { left, top, right, bottom, opacity } of shapes)
    for (let y = Math.max(0, Math.floor(top)); y < Math.min(height, Math.ceil(bottom)); y++)
      for (let x = Math.max(0, Math.floor(left)); x < Math.min(width, Math.ceil(right)); x++) {
        let sum = 0;
        for (let v = 0; v < SAMPLES; v++)
          for (let u = 0; u < SAMPLES; u++) sum += opacity(x + (u + 0.5) / SAMPLES, y + (v + 0.5) / SAMPLES);
        const covered = sum / SAMPLES ** 2;
        data[y * width + x] = 1 - (1 - data[y * width + x]!) * (1 - covered);
      }
  return { width, height, data };
}
