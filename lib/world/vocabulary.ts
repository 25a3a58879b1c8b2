/** Red, green and blue, 0 to 255. */
export type Rgb = readonly [number, number, number];

/** The colours of objects: strong, and far from each other. */
export const OBJECT_COLOURS = {
  red: [222, 38, 38],
  orange: [255, 136, 0],
  yellow: [255, 222, 20],
  green: [22, 146, 54],
  blue: [26, 82, 224],
  purple: [138, 52, 206],
  pink: [255, 96, 178],
  white: [255, 255, 255],
} as const satisfies Record<string, Rgb>;

/** The colours of backgrounds: soft, so that every object stands out from every one of them. */
export const BACKGROUND_COLOURS = {
  mint: [158, 214, 178],
  aqua: [134, 200, 226],
  lavender: [184, 172, 224],
  peach: [240, 182, 150],
  sand: [214, 196, 148],
  grey: [160, 166, 174],
  brown: [150, 116, 88],
} as const satisfies Record<string, Rgb>;

export const SHAPES = ["circle", "square", "triangle", "star", "heart", "ring"] as const;
export const SIZES = ["small", "medium", "large"] as const;
/** The cells of a 3×3 grid, row by row. */
export const CELLS = [
  "top left",
  "top middle",
  "top right",
  "middle left",
  "middle",
  "middle right",
  "bottom left",
  "bottom middle",
  "bottom right",
] as const;
export const BACKGROUND_KINDS = ["plain", "gradient", "stripes", "dots", "checks"] as const;
/** Styles that the world's data set knows. */
export const STYLES = ["none", "grey", "inverted", "pixelated"] as const;

export type Colour = keyof typeof OBJECT_COLOURS;
export type BackgroundColour = keyof typeof BACKGROUND_COLOURS;
export type Shape = (typeof SHAPES)[number];
export type Size = (typeof SIZES)[number];
export type Cell = (typeof CELLS)[number];
/** Sepia is not part of the data set: it is for fine-tuning. */
export type Style = (typeof STYLES)[number] | "sepia";

export const COLOUR_NAMES = Object.keys(OBJECT_COLOURS) as Colour[];
export const BACKGROUND_NAMES = Object.keys(BACKGROUND_COLOURS) as BackgroundColour[];
