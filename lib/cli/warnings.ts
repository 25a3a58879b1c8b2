/** This package's warnings; others are deprecations and experiments of Node.js, which do not concern users. */
const OURS = "InstructPix2PixWarning";

let show: ((text: string) => void) | undefined;

/**
 * Passes this package's process warnings to `write` instead of Node.js' own printing.
 *
 * @returns a function that restores the previous writer
 */
export function showWarnings(write: (text: string) => void): () => void {
  if (!show) {
    process.removeAllListeners("warning");
    process.on("warning", (warning) => {
      if (warning.name === OURS) show?.(warning.message);
    });
  }
  const previous = show;
  show = write;
  return () => {
    show = previous ?? show;
  };
}
