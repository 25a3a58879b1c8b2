import { useEffect, useRef, useState } from "preact/hooks";
import type { Source } from "../image-files.js";
import {
  addStroke,
  canRedo,
  canUndo,
  clearMask,
  hasMask,
  maskStrokes,
  paintStrokes,
  redoStroke,
  type Stroke,
  undoStroke,
} from "../mask.js";

const COLOUR = "rgb(255 60 120)";
/** Of the image's longer side that an arrow key moves the brush by. */
const MOVE = 1 / 40;

/** The image with what is painted anew: a brush and an eraser, each of its own size. */
export function MaskEditor({ source: { width, height, name }, url }: { source: Source; url: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [stroke, setStroke] = useState<Stroke>();
  const [erases, setErases] = useState(false);
  /** In hundredths of the image's longer side. */
  const [sizes, setSizes] = useState({ brush: 15, eraser: 15 });
  /** The brush that the keyboard moves. */
  const [cursor, setCursor] = useState<{ x: number; y: number }>();
  const longest = Math.max(width, height);
  const tool = erases ? "eraser" : "brush";
  const brush = (sizes[tool] * longest) / 100;

  useEffect(() => {
    const context = canvas.current!.getContext("2d")!;
    context.clearRect(0, 0, width, height);
    paintStrokes(context, stroke ? [...maskStrokes.value, stroke] : maskStrokes.value, COLOUR);
    if (!cursor) return;
    context.lineWidth = Math.max(1, longest / 150);
    context.strokeStyle = "black";
    context.beginPath();
    context.arc(cursor.x, cursor.y, brush / 2, 0, 2 * Math.PI);
    context.stroke();
  }, [stroke, maskStrokes.value, cursor, brush, width, height, longest]);

  const pointOf = (event: PointerEvent) => {
    const box = canvas.current!.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * width,
      y: ((event.clientY - box.top) / box.height) * height,
    };
  };
  const end = () => {
    if (stroke) addStroke(stroke);
    setStroke(undefined);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      return event.shiftKey ? redoStroke() : undoStroke();
    }
    const at = cursor ?? { x: width / 2, y: height / 2 };
    const by = longest * MOVE;
    const moves: Record<string, [number, number]> = {
      ...{ ArrowLeft: [-by, 0], ArrowRight: [by, 0] },
      ...{ ArrowUp: [0, -by], ArrowDown: [0, by] },
    };
    const move = moves[event.key];
    if (move) {
      const within = (value: number, most: number) => Math.min(most, Math.max(0, value));
      setCursor({ x: within(at.x + move[0], width), y: within(at.y + move[1], height) });
    } else if (event.key === " ") addStroke({ points: [at], width: brush, erases });
    else return;
    event.preventDefault();
  };

  return (
    <>
      <div class="painting">
        <img class="source" src={url} alt={`to change: ${name}`} />
        {/* biome-ignore lint/a11y/noInteractiveElementToNoninteractiveRole: this one is painted on, by keys too */}
        <canvas
          ref={canvas}
          width={width}
          height={height}
          tabIndex={0}
          role="application"
          aria-label="Mask: the arrow keys move the brush, space paints, control and Z undoes"
          onPointerDown={(event) => {
            event.currentTarget.setPointerCapture(event.pointerId);
            setCursor(undefined);
            setStroke({ points: [pointOf(event)], width: brush, erases });
          }}
          onPointerMove={(event) => {
            if (stroke) setStroke({ ...stroke, points: [...stroke.points, pointOf(event)] });
          }}
          onPointerUp={end}
          onPointerCancel={end}
          onKeyDown={onKeyDown}
          onBlur={() => setCursor(undefined)}
        />
      </div>
      <fieldset class="buttons" aria-label="Mask">
        <button type="button" aria-pressed={!erases} onClick={() => setErases(false)}>
          Brush
        </button>
        <button type="button" aria-pressed={erases} onClick={() => setErases(true)}>
          Eraser
        </button>
        <label class="inline">
          size{" "}
          <input
            type="range"
            min={1}
            max={50}
            value={sizes[tool]}
            aria-label={`Size of the ${tool}`}
            onInput={(event) => setSizes({ ...sizes, [tool]: event.currentTarget.valueAsNumber })}
          />
        </label>
        <button type="button" disabled={!canUndo.value} onClick={undoStroke}>
          Undo
        </button>
        <button type="button" disabled={!canRedo.value} onClick={redoStroke}>
          Redo
        </button>
        <button type="button" disabled={!canUndo.value} onClick={clearMask}>
          Clear
        </button>
      </fieldset>
      <p class="hint">
        {hasMask.value ? "Only what is painted changes." : "Paint what should change, or nothing for all."}
      </p>
    </>
  );
}
