import { SingleBar } from "cli-progress";

/** A progress bar of edits on a terminal; nothing elsewhere. Updates may carry a `note`. */
export function progressBar(total) {
  const { stderr } = process;
  if (!stderr.isTTY) return { update() {}, stop() {} };
  const bar = new SingleBar({
    ...{ format: "editing {bar} {value}/{total} | {note} | {eta_formatted} left", stream: stderr },
    ...{ barCompleteChar: "█", barIncompleteChar: "░", hideCursor: true, clearOnComplete: true, etaBuffer: 50 },
  });
  bar.start(total, 0, { note: "…" });
  return bar;
}
