import type { Progress } from "../api.js";
import { cancel, type Running } from "../state.js";
import { useUrl } from "./use-url.js";

/** How far a request is, and what its first image looks like so far. */
export function RunProgress({ running: { progress, preview } }: { running: Running }) {
  const url = useUrl(preview);
  const done = progress?.state === "running" ? progress.step / progress.total_steps : undefined;
  return (
    <>
      <div class="preview">{url && <img class="whole" src={url} alt="so far" />}</div>
      <div class="field">
        <p>{sayProgress(progress)}</p>
        {done === undefined ? <progress aria-label="Progress" /> : <progress value={done} aria-label="Progress" />}
      </div>
      <div class="buttons">
        <button type="button" onClick={cancel}>
          Stop
        </button>
      </div>
    </>
  );
}

function sayProgress(progress: Progress | undefined): string {
  if (!progress) return "Sending";
  const left = progress.seconds_left >= 1 ? `, about ${Math.ceil(progress.seconds_left)} s left` : "";
  if (progress.state === "waiting") return `Waiting, ${progress.position} before this one${left}`;
  return `Step ${progress.step} of ${progress.total_steps}${left}`;
}
