import { computed, signal } from "@preact/signals";

/** A stroke of the brush, in pixels of the image. */
export interface Stroke {
  points: { x: number; y: number }[];
  width: number;
  erases: boolean;
}

/** The strokes that are there, and behind them those that were undone. */
const strokes = signal<readonly Stroke[]>([]);
const count = signal(0);

export const maskStrokes = computed(() => strokes.value.slice(0, count.value));
/** Whether anything is painted. */
export const hasMask = computed(() => maskStrokes.value.some(({ erases }) => !erases));
export const canUndo = computed(() => count.value > 0);
export const canRedo = computed(() => count.value < strokes.value.length);

export function addStroke(stroke: Stroke): void {
  strokes.value = [...maskStrokes.value, stroke];
  count.value = strokes.value.length;
}

export function undoStroke(): void {
  count.value = Math.max(0, count.value - 1);
}

export function redoStroke(): void {
  count.value = Math.min(strokes.value.length, count.value + 1);
}

export function clearMask(): void {
  strokes.value = [];
  count.value = 0;
}

type Canvas2d = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/** Paints strokes in a colour; erasing makes transparent again. */
export function paintStrokes(context: Canvas2d, painted: readonly Stroke[], colour: string): void {
  context.lineCap = "round";
  context.lineJoin = "round";
  context.strokeStyle = colour;
  for (const { points, width, erases } of painted) {
    context.globalCompositeOperation = erases ? "destination-out" : "source-over";
    context.lineWidth = width;
    context.beginPath();
    const [first] = points;
    context.moveTo(first!.x, first!.y);
    for (const { x, y } of points) context.lineTo(x, y);
    // Lines without length are not painted: a dot needs a little.
    if (points.length === 1) context.lineTo(first!.x + 0.01, first!.y);
    context.stroke();
  }
  context.globalCompositeOperation = "source-over";
}

/** White where the image is painted anew. @param size of the image as it is sent */
export async function maskImage(
  source: { width: number; height: number },
  size: { width: number; height: number },
): Promise<Blob> {
  const painted = new OffscreenCanvas(size.width, size.height);
  const context = painted.getContext("2d")!;
  context.scale(size.width / source.width, size.height / source.height);
  paintStrokes(context, maskStrokes.value, "white");
  const mask = new OffscreenCanvas(size.width, size.height);
  const onBlack = mask.getContext("2d")!;
  onBlack.fillStyle = "black";
  onBlack.fillRect(0, 0, size.width, size.height);
  onBlack.drawImage(painted, 0, 0);
  return await mask.convertToBlob({ type: "image/png" });
}
