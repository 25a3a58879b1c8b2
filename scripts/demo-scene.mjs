// Draws the picture that the demo edits: a late afternoon in the hills, a house, a tree and a lake. The same on every
// machine, up to what the renderer's version does to single pixels.

import sharp from "sharp";

const [width, height] = [512, 384];

/** A small generator of numbers in 0..1 (mulberry32), so that the grain and the grass are always the same. */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A ridge from side to side: two waves, closed along the bottom. */
function ridge(base, [a, wavelengthA], [b, wavelengthB], phase) {
  const points = [];
  for (let x = -8; x <= width + 8; x += 8) {
    const y = base + a * Math.sin(x / wavelengthA + phase) + b * Math.sin(x / wavelengthB + 2.3 * phase);
    points.push(`${x},${y.toFixed(1)}`);
  }
  return `M${points.join("L")}L${width + 8},${height}L-8,${height}Z`;
}

function gradient(id, stops, direction = 'x1="0" y1="0" x2="0" y2="1"') {
  const list = stops.map(([offset, color]) => `<stop offset="${offset}" stop-color="${color}"/>`).join("");
  return `<linearGradient id="${id}" ${direction}>${list}</linearGradient>`;
}

function scene() {
  const draw = random(7);
  const between = (low, high) => low + (high - low) * draw();
  const cloud = (x, y, size) =>
    Array.from({ length: 7 }, (_, i) => {
      const [dx, dy] = [(i - 3) * size * 0.42, Math.abs(i - 3) * size * 0.07 + between(-2, 2)];
      return `<ellipse cx="${x + dx}" cy="${y + dy}" rx="${size * between(0.35, 0.6)}" ry="${size * between(0.12, 0.24)}"/>`;
    }).join("");
  const leaves = Array.from({ length: 190 }, () => {
    const [angle, distance] = [between(0, 2 * Math.PI), Math.sqrt(draw()) * 42];
    const [x, y] = [404 + 1.05 * distance * Math.cos(angle), 196 + distance * Math.sin(angle)];
    const light = Math.round(24 + 0.24 * (236 - y) - 0.1 * (x - 404) + between(-5, 5));
    return `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${between(4, 9).toFixed(1)}" fill="hsl(${between(84, 112).toFixed(0)},42%,${Math.max(16, Math.min(48, light))}%)"/>`;
  }).join("");
  const grass = Array.from({ length: 420 }, () => {
    const [x, y] = [between(0, width), between(292, height)];
    const tall = 3 + (9 * (y - 292)) / 92;
    return `<path d="M${x.toFixed(1)},${y.toFixed(1)}q${between(-2, 2).toFixed(1)},${(-tall / 2).toFixed(1)} ${between(-3, 3).toFixed(1)},${(-tall).toFixed(1)}" stroke="hsl(${between(75, 105).toFixed(0)},42%,${between(24, 46).toFixed(0)}%)"/>`;
  }).join("");

  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">
  <defs>
    ${gradient("sky", [
      [0, "#3f76b8"],
      [0.55, "#a9c9e4"],
      [0.8, "#f6dcb0"],
      [1, "#f9c98a"],
    ])}
    ${gradient("far", [
      [0, "#8ba3bd"],
      [1, "#a5b6c2"],
    ])}
    ${gradient("middle", [
      [0, "#5f8471"],
      [1, "#87a07a"],
    ])}
    ${gradient("near", [
      [0, "#6f9a4b"],
      [1, "#3f6a2c"],
    ])}
    ${gradient("lake", [
      [0, "#d9c9a4"],
      [0.4, "#7fa3c0"],
      [1, "#3c6b93"],
    ])}
    ${gradient(
      "wall",
      [
        [0, "#f4e6cf"],
        [1, "#c9b08d"],
      ],
      'x1="0" y1="0" x2="1" y2="0"',
    )}
    ${gradient(
      "roof",
      [
        [0, "#b4523a"],
        [1, "#7d3023"],
      ],
      'x1="0" y1="0" x2="1" y2="1"',
    )}
    <radialGradient id="glow"><stop offset="0" stop-color="#fff6d8"/><stop offset="0.18" stop-color="#ffeab0" stop-opacity="0.95"/><stop offset="1" stop-color="#ffd98a" stop-opacity="0"/></radialGradient>
    <radialGradient id="corners" cx="0.5" cy="0.5" r="0.75"><stop offset="0.6" stop-opacity="0"/><stop offset="1" stop-opacity="0.34"/></radialGradient>
    <filter id="soft"><feGaussianBlur stdDeviation="5"/></filter>
    <filter id="haze"><feGaussianBlur stdDeviation="1.6"/></filter>
  </defs>
  <rect width="100%" height="100%" fill="url(#sky)"/>
  <circle cx="118" cy="132" r="96" fill="url(#glow)"/>
  <circle cx="118" cy="132" r="19" fill="#fffbe9"/>
  <g fill="#ffffff" fill-opacity="0.82" filter="url(#soft)">${cloud(300, 66, 70)}${cloud(440, 108, 46)}${cloud(196, 40, 38)}</g>
  <path d="${ridge(196, [26, 74], [9, 23], 0.6)}" fill="url(#far)" filter="url(#haze)"/>
  <path d="${ridge(228, [15, 58], [6, 17], 2.1)}" fill="url(#middle)"/>
  <path d="M0,262C90,250 190,254 262,264C330,273 420,262 512,256L512,318C380,300 150,322 0,300Z" fill="url(#lake)"/>
  <g stroke="#fff4cf" stroke-opacity="0.55" stroke-width="1.4">${Array.from({ length: 16 }, (_, i) => {
    const half = between(6, 30) * (1 - i / 22);
    return `<path d="M${118 - half},${262 + 2.6 * i}h${2 * half}"/>`;
  }).join("")}</g>
  <path d="${ridge(300, [8, 90], [3, 21], 1.1)}" fill="url(#near)"/>
  <g fill="none" stroke-width="1.2" stroke-linecap="round">${grass}</g>
  <ellipse cx="292" cy="318" rx="74" ry="7" fill="#1d3514" fill-opacity="0.4"/>
  <rect x="238" y="238" width="104" height="78" fill="url(#wall)"/>
  <path d="M224,242L290,190L356,242Z" fill="url(#roof)"/>
  <rect x="316" y="196" width="14" height="30" fill="#8d5a45"/>
  <g fill="#31485c" stroke="#fdf6e6" stroke-width="3"><rect x="252" y="254" width="22" height="24"/><rect x="308" y="254" width="22" height="24"/></g>
  <path d="M252,278L274,254M308,278L330,254" stroke="#8fb2cc" stroke-width="2"/>
  <rect x="282" y="272" width="18" height="44" fill="#6b4128"/>
  <path d="M284,316C280,340 250,356 216,384L268,384C288,358 300,338 300,316Z" fill="#cbb48b"/>
  <path d="M398,316C402,280 398,260 400,226L408,226C408,260 410,280 416,316Z" fill="#5a4030"/>
  <ellipse cx="412" cy="318" rx="50" ry="6" fill="#1d3514" fill-opacity="0.4"/>
  ${leaves}
  <rect width="100%" height="100%" fill="url(#corners)"/>
</svg>`;
}

/** Film grain: the same for all three colours, stronger in the middle tones. */
function addGrain(pixels) {
  const draw = random(1970);
  for (let i = 0; i < pixels.length; i += 3) {
    const light = (pixels[i] + pixels[i + 1] + pixels[i + 2]) / 765;
    const grain = (draw() + draw() + draw() - 1.5) * 15 * Math.sqrt(light * (1 - light));
    for (let c = 0; c < 3; c++) pixels[i + c] = Math.max(0, Math.min(255, Math.round(pixels[i + c] + grain)));
  }
  return pixels;
}

/**
 * The scene as 8-bit RGB, drawn at twice the size and reduced.
 *
 * @returns {Promise<{ width: number, height: number, data: Uint8Array }>}
 */
export async function drawScene() {
  const size = { width: width / 2, height: height / 2 };
  const { data } = await sharp(Buffer.from(scene()))
    .removeAlpha()
    .resize(size)
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { ...size, data: addGrain(new Uint8Array(data)) };
}
