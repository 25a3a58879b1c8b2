import type { Shape } from "./vocabulary.js";

/**
 * The signed distance from a point to a shape's outline, negative inside, for a shape of about radius 1 around (0, 0);
 * x points to the right and y down.
 */
export type DistanceFunction = (x: number, y: number) => number;

type Point = readonly [x: number, y: number];

/** How far the corners of shapes are rounded. */
const ROUNDING = 0.08;

function circle(radius: number): DistanceFunction {
  return (x, y) => Math.sqrt(x * x + y * y) - radius;
}

function ring(outer: number, inner: number): DistanceFunction {
  const [middle, half] = [(outer + inner) / 2, (outer - inner) / 2];
  return (x, y) => Math.abs(Math.sqrt(x * x + y * y) - middle) - half;
}

/** A polygon with rounded corners, `ROUNDING` larger than the points say. */
function polygon(points: readonly Point[]): DistanceFunction {
  const edges = points.map(([x, y], i) => {
    const [endX, endY] = points[(i + 1) % points.length]!;
    const [dx, dy] = [endX - x, endY - y];
    return { x, y, dx, dy, squared: dx * dx + dy * dy };
  });
  return (x, y) => {
    let nearest = Number.POSITIVE_INFINITY;
    let inside = false;
    for (const edge of edges) {
      const px = x - edge.x;
      const py = y - edge.y;
      const along = Math.min(1, Math.max(0, (px * edge.dx + py * edge.dy) / edge.squared));
      const offX = px - along * edge.dx;
      const offY = py - along * edge.dy;
      nearest = Math.min(nearest, offX * offX + offY * offY);
      // The edge crosses the horizontal line through the point, to the right of it.
      if (py < 0 !== py < edge.dy && px * edge.dy < py * edge.dx === edge.dy > 0) inside = !inside;
    }
    return (inside ? -Math.sqrt(nearest) : Math.sqrt(nearest)) - ROUNDING;
  };
}

function star(outer: number, inner: number, down: number): Point[] {
  return Array.from({ length: 10 }, (_, i) => {
    const [angle, radius] = [(i * Math.PI) / 5, i % 2 === 0 ? outer : inner];
    return [radius * Math.sin(angle), down - radius * Math.cos(angle)];
  });
}

function heart(scale: number): Point[] {
  return Array.from({ length: 28 }, (_, i) => {
    const t = (2 * Math.PI * i) / 28;
    const height = 13 * Math.cos(t) - 5 * Math.cos(2 * t) - 2 * Math.cos(3 * t) - Math.cos(4 * t);
    return [scale * 16 * Math.sin(t) ** 3, -scale * (height + 2.5)];
  });
}

export const DISTANCES: Record<Shape, DistanceFunction> = {
  circle: circle(0.98),
  square: polygon([
    [-0.77, -0.77],
    [0.77, -0.77],
    [0.77, 0.77],
    [-0.77, 0.77],
  ]),
  triangle: polygon([
    [0, -0.88],
    [0.92, 0.74],
    [-0.92, 0.74],
  ]),
  star: polygon(star(1, 0.48, 0.06)),
  heart: polygon(heart(0.058)),
  ring: ring(1, 0.5),
};

/** How far a shape's corners are from its centre, in radii; every shape is at most two radii wide and high. */
export const REACH: Record<Shape, number> = {
  circle: 1,
  square: 1.17,
  triangle: 1.26,
  star: 1.08,
  heart: 1.02,
  ring: 1,
};
