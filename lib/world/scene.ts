import type { Random } from "./random.js";
import { REACH } from "./shapes.js";
import {
  BACKGROUND_KINDS,
  BACKGROUND_NAMES,
  type BackgroundColour,
  CELLS,
  type Cell,
  COLOUR_NAMES,
  type Colour,
  SHAPES,
  type Shape,
  SIZES,
  type Size,
  type Style,
} from "./vocabulary.js";

/** The content of an image of the world, as plain JSON. An image is 64 units wide and high. */
export interface Scene {
  background: Background;
  /** No two of the same shape and colour, none touching another; at most {@link MAX_OBJECTS}. */
  objects: SceneObject[];
  time: "day" | "night";
  weather: "clear" | "snow";
  style: Style;
}

export type Background =
  | { kind: "plain" | "stripes" | "dots" | "checks"; colour: BackgroundColour }
  | { kind: "gradient"; colour: BackgroundColour; to: BackgroundColour };

export interface SceneObject {
  shape: Shape;
  colour: Colour;
  size: Size;
  place: Place;
}

export interface Place {
  cell: Cell;
  /** How far to the right of the cell's centre, −2 to 2. */
  dx: number;
  /** How far below it, −2 to 2. */
  dy: number;
}

/** The width and height of every scene. */
export const EXTENT = 64;
/** A random scene has one less, so that one can be added. */
export const MAX_OBJECTS = 4;

const RADII: Record<Size, number> = { small: 6.5, medium: 9, large: 12 };
/** Centres of the columns, and of the rows. A large object fits even at the edge. */
const CENTRES = [12, 32, 52] as const;
const JITTER = 2;
/** Between two objects. */
const GAP = 1;

export function radiusOf(object: SceneObject): number {
  return RADII[object.size];
}

export function centreOf({ place }: SceneObject): { x: number; y: number } {
  const cell = CELLS.indexOf(place.cell);
  return { x: CENTRES[cell % 3]! + place.dx, y: CENTRES[Math.floor(cell / 3)]! + place.dy };
}

/** Whether an object can be added: in a free cell, not touching others, and of a distinct shape and colour. */
export function fits(object: SceneObject, others: readonly SceneObject[]): boolean {
  return others.every((other) => {
    if (other.shape === object.shape && other.colour === object.colour) return false;
    return other.place.cell !== object.place.cell && areApart(object, other);
  });
}

/** Separated by a line between their bounding boxes, or by circles around them. */
function areApart(one: SceneObject, other: SceneObject): boolean {
  const [a, b] = [centreOf(one), centreOf(other)];
  const [dx, dy] = [Math.abs(a.x - b.x), Math.abs(a.y - b.y)];
  const corners = radiusOf(one) * REACH[one.shape] + radiusOf(other) * REACH[other.shape];
  return Math.max(dx, dy) >= radiusOf(one) + radiusOf(other) + GAP || Math.hypot(dx, dy) >= corners + GAP;
}

/** A scene of one to three objects, by day or night, in clear weather or snow; now and then with inverted colours. */
export function randomScene(random: Random): Scene {
  const objects: SceneObject[] = [];
  const count = 1 + random.int(MAX_OBJECTS - 1);
  while (objects.length < count) {
    const object = randomObject(random);
    if (fits(object, objects)) objects.push(object);
  }
  return {
    background: randomBackground(random),
    objects,
    time: random.chance(1 / 3) ? "night" : "day",
    weather: random.chance(1 / 3) ? "snow" : "clear",
    style: random.chance(1 / 25) ? "inverted" : "none",
  };
}

function randomObject(random: Random): SceneObject {
  const cell = random.int(CELLS.length);
  return {
    shape: random.pick(SHAPES),
    colour: random.pick(COLOUR_NAMES),
    size: random.pick(SIZES),
    place: {
      cell: CELLS[cell]!,
      dx: jitter(random, cell % 3),
      dy: jitter(random, Math.floor(cell / 3)),
    },
  };
}

/** In quarters; at the edges only inwards. */
function jitter(random: Random, line: number): number {
  const offset = (random.int(8 * JITTER + 1) - 4 * JITTER) / 4;
  return line === 1 ? offset : line === 0 ? Math.abs(offset) : -Math.abs(offset) || 0;
}

function randomBackground(random: Random): Background {
  const [colour, to] = random.shuffle(BACKGROUND_NAMES) as [BackgroundColour, BackgroundColour];
  const kind = random.chance(0.4) ? "plain" : random.pick(BACKGROUND_KINDS);
  return kind === "gradient" ? { kind, colour, to } : { kind, colour };
}
