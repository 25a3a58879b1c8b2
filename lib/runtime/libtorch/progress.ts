/** Events of an installation, for progress displays. */
export type InstallEvent =
  /** The start of a step or a notable event; one line of text. */
  | { type: "message"; text: string }
  /** `done` of `total` bytes of `file` were downloaded or unpacked; `total` is undefined while unknown. */
  | { type: "progress"; phase: "download" | "unpack"; file: string; done: number; total: number | undefined };

export type InstallListener = (event: InstallEvent) => void;

/**
 * A source that cannot serve a file now: unreachable, without the file, without pip. The next source is tried. Any
 * other failure (a wrong sha256, a full disk) ends the installation.
 */
export class SourceUnavailable extends Error {
  override readonly name = "SourceUnavailable";
}
