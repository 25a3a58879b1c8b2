import sharp from "sharp";

/** Writes a square image with smooth areas, edges and a little texture, the same every time. */
export async function drawPicture(path, size) {
  const data = Buffer.alloc(size * size * 3);
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      const [u, v] = [x / size, y / size];
      const inDisc = (u - 0.6) ** 2 + (v - 0.4) ** 2 < 0.05;
      const texture = 12 * Math.sin(x * 1.7) * Math.cos(y * 2.3);
      const colour = inDisc ? [240, 180, 40] : v > 0.7 ? [60, 130 + 60 * u, 50] : [90 + 80 * v, 140 + 60 * v, 220];
      for (let c = 0; c < 3; c++)
        data[(y * size + x) * 3 + c] = Math.max(0, Math.min(255, Math.round(colour[c] + texture)));
    }
  await sharp(data, { raw: { width: size, height: size, channels: 3 } })
    .png()
    .toFile(path);
}
