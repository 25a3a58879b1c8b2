import { useEffect } from "preact/hooks";
import { loadHistory } from "../history.js";
import { announced, cancel, connect, keyNeeded, limits, problem, running, start } from "../state.js";
import { connectJobs } from "../training.js";
import { Controls } from "./controls.js";
import { useGivenImages } from "./giving.js";
import { HistoryList } from "./history-list.js";
import { ImageInput } from "./image-input.js";
import { KeyForm } from "./key-form.js";
import { Stage } from "./stage.js";
import { ThemeSelect } from "./theme-select.js";
import { Training } from "./training.js";

/** The page. */
export function App() {
  useGivenImages();
  useEffect(() => {
    void connect().then(() => (limits.value?.jobs ? connectJobs() : undefined));
    void loadHistory();
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape" && running.value) cancel();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void start();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);

  return (
    <>
      <header>
        <h1>instruct-pix2pix</h1>
        <ThemeSelect />
      </header>
      <main>
        {keyNeeded.value ? (
          <KeyForm />
        ) : (
          <form
            class="panel"
            aria-label="Request"
            onSubmit={(event) => {
              event.preventDefault();
              void start();
            }}
          >
            <ImageInput />
            <Controls />
          </form>
        )}
        <section class="panel" aria-label="Result">
          <p class="problem" role="alert">
            {problem.value}
          </p>
          <Stage />
        </section>
      </main>
      <Training />
      <HistoryList />
      <p class="unseen" role="status">
        {announced.value}
      </p>
    </>
  );
}
