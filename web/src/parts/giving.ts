import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { takeFile } from "../state.js";

/** Whether a file is held over the page. */
export const dragging = signal(false);

export function takeFirst(files: Iterable<File> | null | undefined): void {
  const [first] = files ?? [];
  if (first) void takeFile(first, first.name);
}

/** Takes images that are dropped anywhere on the page, or pasted. */
export function useGivenImages(): void {
  useEffect(() => {
    const listeners = new AbortController();
    const on = <K extends "dragover" | "dragleave" | "drop" | "paste">(
      name: K,
      listener: (event: DocumentEventMap[K]) => void,
    ) => document.addEventListener(name, listener, { signal: listeners.signal });
    on("dragover", (event) => {
      event.preventDefault();
      dragging.value = true;
    });
    on("dragleave", () => {
      dragging.value = false;
    });
    on("drop", (event) => {
      event.preventDefault();
      dragging.value = false;
      takeFirst(event.dataTransfer?.files);
    });
    on("paste", ({ clipboardData }) =>
      takeFirst([...(clipboardData?.files ?? [])].filter(({ type }) => type.startsWith("image/"))),
    );
    return () => listeners.abort();
  }, []);
}
