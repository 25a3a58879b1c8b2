import { forget, forgetAll, history, type Run } from "../history.js";
import { restore } from "../state.js";
import { useUrl } from "./use-url.js";

/** What was made before, in this browser. */
export function HistoryList() {
  if (history.value.length === 0) return null;
  return (
    <section class="panel history" aria-labelledby="history">
      <div class="buttons">
        <h2 id="history">History</h2>
        <button type="button" onClick={() => confirm("Forget all of them?") && void forgetAll()}>
          Forget all
        </button>
        <span class="hint">kept in this browser only</span>
      </div>
      <ul>
        {history.value.map((run) => (
          <Past key={run.id} run={run} />
        ))}
      </ul>
    </section>
  );
}

function Past({ run }: { run: Run }) {
  const url = useUrl(run.images[0]);
  const { prompt } = run.settings;
  return (
    <li>
      <button type="button" class="thumbnail" onClick={() => void restore(run)} title={prompt}>
        {url && <img src={url} alt={prompt} />}
      </button>
      <button type="button" class="small" aria-label={`Forget: ${prompt}`} onClick={() => void forget(run)}>
        ×
      </button>
    </li>
  );
}
