import { InstructPix2PixError } from "../core/errors.js";
import { RgbImage } from "../images/rgb-image.js";
import { drawBackground } from "./background.js";
import { Canvas, inLight, mix } from "./canvas.js";
import { centreOf, EXTENT, radiusOf, type Scene, type SceneObject } from "./scene.js";
import { DISTANCES } from "./shapes.js";
import { drawFlakes, drawGround, drawNightSky, LIGHT } from "./sky.js";
import { applyStyle } from "./style.js";
import { OBJECT_COLOURS } from "./vocabulary.js";

const RIM = 1.1;
const SHADOW = { right: 0.7, down: 1.5, opacity: 0.3, softness: 1.6 } as const;

/**
 * Draws a scene.
 *
 * @param size width and height in pixels, default 64
 * @throws `ERR_INVALID_ARGUMENT` unless the size is a whole number in 1..4096
 */
export async function drawScene(scene: Scene, size = EXTENT): Promise<RgbImage> {
  if (!Number.isInteger(size) || size < 1 || size > 4096)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `size must be a whole number in 1..4096, not ${size}`);
  return new RgbImage(size, size, drawPixels(scene, size));
}

/** The pixels of a scene: size · size · 3 bytes, RGB. */
export function drawPixels(scene: Scene, size: number): Uint8Array {
  const canvas = new Canvas(size);
  drawBackground(canvas, scene);
  if (scene.time === "night") drawNightSky(canvas, scene.weather);
  if (scene.weather === "snow") drawGround(canvas, scene.time);
  for (const object of scene.objects) drawObject(canvas, object, scene.time);
  if (scene.weather === "snow") drawFlakes(canvas, scene.time);
  applyStyle(canvas, scene.style);
  return canvas.data;
}

/** A shape with a shadow, a darker rim and light from the upper left. */
function drawObject(canvas: Canvas, object: SceneObject, time: Scene["time"]): void {
  const radius = radiusOf(object);
  const { x, y } = centreOf(object);
  const distance = DISTANCES[object.shape];
  const toOutline = (px: number, py: number) => radius * distance((px - x) / radius, (py - y) / radius);

  const reach = 1.1 * radius + 1 / canvas.scale;
  const box = { left: x - reach, top: y - reach, right: x + reach, bottom: y + reach };
  const { right, down, opacity, softness } = SHADOW;
  canvas.paint(
    { ...box, right: box.right + right + softness, bottom: box.bottom + down + softness },
    (px, py) => opacity * Math.min(1, 0.5 - toOutline(px - right, py - down) / softness),
    [0, 0, 0],
  );

  const colour = inLight(OBJECT_COLOURS[object.colour], LIGHT[time].object);
  const rim = mix(colour, [0, 0, 0], 0.35);
  let depth = 0;
  canvas.paint(
    box,
    (px, py) => {
      depth = toOutline(px, py);
      return canvas.coverage(depth);
    },
    (px, py) => {
      const lit = mix(colour, [255, 255, 255], Math.max(0, 0.16 * (1 - (px - x + py - y + radius) / radius)));
      return mix(lit, rim, Math.min(1, Math.max(0, canvas.coverage(-depth - RIM))));
    },
  );
}
