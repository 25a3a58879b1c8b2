// Letters of single strokes, drawn for this project: sharp draws text only where fonts are installed, but lines everywhere.

/** The baseline is at y = 16, small letters begin at 6, tall ones at 0, and some reach down to 21. */
const BASELINE = 16;
const EM = 22;
const SPACE = 6;
const BETWEEN = 3.2;
const STROKE = 1.9;

/** Width and path of each letter. */
const STROKES: Readonly<Record<string, readonly [width: number, path: string]>> = {
  a: [8, "M8 6V16M8 11A4 5 0 1 1 0 11A4 5 0 1 1 8 11"],
  b: [8, "M0 0V16M0 11A4 5 0 1 1 8 11A4 5 0 1 1 0 11"],
  c: [7, "M7 7.3A4.3 5 0 1 0 7 14.7"],
  d: [8, "M8 0V16M8 11A4 5 0 1 1 0 11A4 5 0 1 1 8 11"],
  e: [8, "M0 10.8H8A4 5 0 1 0 6.9 14.4"],
  f: [5, "M5.6 .4C3.2-.3 2 .9 2 3.5V16M-.6 6H4.8"],
  g: [8, "M8 6V17C8 22 2.2 22 .6 19.4M8 11A4 5 0 1 1 0 11A4 5 0 1 1 8 11"],
  h: [7.4, "M0 0V16M0 10C0 7.5 1.8 6 4 6C6.4 6 7.4 7.6 7.4 10V16"],
  i: [0, "M0 6V16M0 1.6H.01"],
  j: [2, "M2 6V18C2 20.4 1 21-.8 20.8M2 1.6H2.01"],
  k: [7, "M0 0V16M6.6 6L0 12.2M2.6 9.8L7 16"],
  l: [1.6, "M0 0V13.4C0 15.2 .5 16 2 16"],
  m: [
    12.6,
    "M0 6V16M0 10C0 7.5 1.5 6 3.4 6C5.5 6 6.3 7.6 6.3 10V16M6.3 10C6.3 7.5 7.8 6 9.7 6C11.8 6 12.6 7.6 12.6 10V16",
  ],
  n: [7.4, "M0 6V16M0 10C0 7.5 1.8 6 4 6C6.4 6 7.4 7.6 7.4 10V16"],
  o: [8.4, "M0 11A4.2 5 0 1 1 8.4 11A4.2 5 0 1 1 0 11"],
  p: [8, "M0 6V21M0 11A4 5 0 1 1 8 11A4 5 0 1 1 0 11"],
  q: [8, "M8 6V21M8 11A4 5 0 1 1 0 11A4 5 0 1 1 8 11"],
  r: [4, "M0 6V16M0 10.4C0 7.4 1.8 5.8 4.4 6.2"],
  s: [
    6.4,
    "M6 7.6C5.3 6.5 4.5 6 3.2 6C1.5 6 .4 7 .4 8.4C.4 11.8 6.4 10.2 6.4 13.4C6.4 15 5.2 16 3.3 16C1.7 16 .6 15.4 0 14.2",
  ],
  t: [5, "M2 2V13C2 15.6 3 16.3 5.2 15.7M-.6 6H4.8"],
  u: [7.4, "M0 6V12C0 14.4 1 16 3.4 16C5.6 16 7.4 14.5 7.4 12M7.4 6V16"],
  v: [7.6, "M0 6L3.8 16L7.6 6"],
  w: [12, "M0 6L3 16L6 7L9 16L12 6"],
  x: [6.8, "M0 6L6.8 16M6.8 6L0 16"],
  y: [7.6, "M0 6L3.9 15.6M7.6 6L3 18.4C2.3 20.4 1.4 21 0 20.8"],
  z: [6.6, "M0 6H6.6L0 16H6.6"],
  0: [8, "M0 8.8A4 7.2 0 1 1 8 8.8A4 7.2 0 1 1 0 8.8"],
  1: [8, "M1 4.6L5 1.6V16"],
  2: [8, "M.3 5.2C.3 3 2 1.6 4 1.6C6.2 1.6 7.7 3 7.7 5.2C7.7 8 3.6 11.2 .2 16H8"],
  3: [
    8,
    "M.6 3.4C1.4 2.1 2.6 1.6 4 1.6C6.2 1.6 7.6 2.9 7.6 4.9C7.6 7 6 8.2 3.2 8.2C6.4 8.2 8 9.6 8 12C8 14.4 6.4 16 4 16C2 16 .8 15.2 0 13.8",
  ],
  4: [8, "M6 16V1.6L-.2 11.8H8.4"],
  5: [8, "M7.2 1.6H1.5L.8 8C1.7 7.1 2.8 6.7 4 6.7C6.5 6.7 8 8.5 8 11.3C8 14.2 6.4 16 3.8 16C2 16 .8 15.3 0 14"],
  6: [8, "M6.9 2.3C3 .3 0 5 0 11C0 14.2 1.6 16 4 16C6.4 16 8 14.2 8 11.5C8 9 6.4 7.3 4.2 7.3C2.2 7.3 .6 8.7 0 10.8"],
  7: [8, "M0 1.6H8L2.8 16"],
  8: [8, "M4 8.3A3.5 3.35 0 1 1 4 1.6A3.5 3.35 0 1 1 4 8.3A4 3.85 0 1 0 4 16A4 3.85 0 1 0 4 8.3"],
  9: [
    8,
    "M1.1 15.3C5 17.3 8 12.6 8 6.6C8 3.4 6.4 1.6 4 1.6C1.6 1.6 0 3.4 0 6.1C0 8.6 1.6 10.3 3.8 10.3C5.8 10.3 7.4 8.9 8 6.8",
  ],
  ".": [0, "M0 15.9H.01"],
  ",": [0.8, "M.8 15.4L-.2 18.4"],
  ":": [0, "M0 8H.01M0 15.9H.01"],
  "-": [4.6, "M0 10.8H4.6"],
  "+": [6, "M0 10.8H6M3 7.8V13.8"],
  "%": [
    12,
    "M9.6 1.6L2.4 16M0 5A2.3 3.2 0 1 1 4.6 5A2.3 3.2 0 1 1 0 5M7.4 12.6A2.3 3.2 0 1 1 12 12.6A2.3 3.2 0 1 1 7.4 12.6",
  ],
};

/** The supported characters: lower-case letters, digits, some punctuation. */
export const LETTERS = ` ${Object.keys(STROKES).join("")}`;

/** The width of a line of text of this size. */
export function textWidth(text: string, size: number): number {
  const widths = [...text].map((letter) => (letter === " " ? SPACE - BETWEEN : strokesOf(letter)[0]));
  return ((widths.reduce((sum, width) => sum + width, 0) + BETWEEN * Math.max(0, text.length - 1)) * size) / EM;
}

function strokesOf(letter: string): readonly [width: number, path: string] {
  const strokes = Object.hasOwn(STROKES, letter) ? STROKES[letter] : undefined;
  if (strokes === undefined) throw new TypeError(`there is no letter "${letter}"`);
  return strokes;
}

/** How a line of text is drawn. */
export interface TextStyle {
  x: number;
  /** The height of the baseline. */
  y: number;
  /** From the tallest letter to the deepest. */
  size: number;
  colour: string;
  bold?: boolean;
  anchor?: "start" | "middle" | "end";
}

/**
 * A line of text as an SVG element.
 *
 * @param text of {@link LETTERS}
 */
export function textElement(text: string, { x, y, size, colour, bold = false, anchor = "start" }: TextStyle): string {
  const scale = size / EM;
  const start = x - textWidth(text, size) * { start: 0, middle: 0.5, end: 1 }[anchor];
  let at = 0;
  const letters: string[] = [];
  for (const letter of text) {
    if (letter === " ") {
      at += SPACE;
      continue;
    }
    const [width, path] = strokesOf(letter);
    letters.push(`<path transform="translate(${at.toFixed(2)})" d="${path}"/>`);
    at += width + BETWEEN;
  }
  const place = `translate(${start.toFixed(2)} ${(y - BASELINE * scale).toFixed(2)}) scale(${scale.toFixed(4)})`;
  return (
    `<g transform="${place}" fill="none" stroke="${colour}" stroke-width="${bold ? 1.5 * STROKE : STROKE}" ` +
    `stroke-linecap="round" stroke-linejoin="round">${letters.join("")}</g>`
  );
}
