/** Packages' own warnings; others are deprecations and experiments of Node.js, which tell a user nothing. */
const OURS = "InstructPix2PixWarning";

let show: ((text: string) => void) | undefined;

/**
 * Hands this package's process warnings to `write`, instead of Node.js printing them in its own words.
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
