import { ProgressReport } from "./progress.js";
import type { UploadFile } from "./upload-file.js";

/** Progress of an upload. */
export interface UploadProgress {
  /** The file's name in the repository. */
  file: string;
  uploadedBytes: number;
  totalBytes: number;
  /** Total over all files. Files that the hub already has are counted at the end. */
  allUploadedBytes: number;
  allTotalBytes: number;
}

/** Counts the bytes sent per file. */
export function reportTo(
  listener: ((progress: UploadProgress) => void) | undefined,
  files: readonly UploadFile[],
  contents: readonly { size: number }[],
): { sent(file: string, bytes: number): void; finish(): void } {
  const report = new ProgressReport(
    listener &&
      (({ file, downloadedBytes, totalBytes, allDownloadedBytes, allTotalBytes }) =>
        listener({
          file,
          uploadedBytes: downloadedBytes,
          totalBytes,
          allUploadedBytes: allDownloadedBytes,
          allTotalBytes,
        })),
  );
  const sent = new Map(files.map(({ name }) => [name, 0]));
  for (const [i, { name }] of files.entries()) report.expect(name, contents[i]!.size);
  return {
    sent(file, bytes) {
      sent.set(file, sent.get(file)! + bytes);
      report.bytes(file, sent.get(file)!);
    },
    finish() {
      for (const { name } of files) report.done(name);
    },
  };
}
