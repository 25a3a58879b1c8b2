import { useRef } from "preact/hooks";
import type { Run } from "../history.js";
import { download, withSettings } from "../image-files.js";
import { result, running, shown, source, takeFile } from "../state.js";
import { Compare } from "./compare.js";
import { RunProgress } from "./run-progress.js";
import { useUrl } from "./use-url.js";

/** What is being made, or was made. */
export function Stage() {
  if (running.value) return <RunProgress running={running.value} />;
  if (result.value) return <Result run={result.value} />;
  return <p class="hint empty">{source.value ? "Say what to change, and press Edit." : "Nothing yet."}</p>;
}

function Result({ run }: { run: Run }) {
  const figure = useRef<HTMLElement>(null);
  const image = run.images[shown.value]!;
  const url = useUrl(image);
  const before = useUrl(run.source);
  const { prompt, seed } = run.settings;
  const name = `edit-${seed}${run.images.length > 1 ? `-${shown.value + 1}` : ""}.png`;
  return (
    <>
      <figure ref={figure}>
        {url && (before ? <Compare before={before} after={url} /> : <img class="whole" src={url} alt={prompt} />)}
        <figcaption>
          {prompt} <span class="hint">seed {seed}</span>
        </figcaption>
      </figure>
      {run.images.length > 1 && (
        <fieldset class="proposals" aria-label="Proposals">
          {run.images.map((each, i) => (
            <Proposal key={i} image={each} number={i} />
          ))}
        </fieldset>
      )}
      <div class="buttons">
        <button type="button" onClick={async () => download(await withSettings(image, run.settings), name)}>
          Download
        </button>
        <button type="button" onClick={() => void takeFile(image, name)}>
          Edit this one
        </button>
        <button type="button" onClick={() => void figure.current?.requestFullscreen()}>
          Full screen
        </button>
      </div>
    </>
  );
}

function Proposal({ image, number }: { image: Blob; number: number }) {
  const url = useUrl(image);
  return (
    <button
      type="button"
      aria-pressed={shown.value === number}
      aria-label={`Proposal ${number + 1}`}
      onClick={() => {
        shown.value = number;
      }}
    >
      {url && <img src={url} alt="" />}
    </button>
  );
}
