/** The C library that this process runs with. */
export interface Libc {
  /** Null on systems other than Linux, and if unknown. */
  family: "glibc" | "musl" | null;
  /** The version of glibc, e.g. `2.36`; null if unknown. */
  version: string | null;
}

/** The parts of Node's diagnostic report that tell the C library. */
interface Report {
  header?: { glibcVersionRuntime?: string };
  sharedObjects?: string[];
}

let detected: Libc | undefined;

/** Asks Node.js itself: `ldd` and `getconf` may be missing, or belong to another C library than this process's. */
export function detectLibc(): Libc {
  return (detected ??= process.platform === "linux" ? libcOf(ownReport()) : { family: null, version: null });
}

function libcOf({ header, sharedObjects = [] }: Report): Libc {
  const version = header?.glibcVersionRuntime;
  if (version) return { family: "glibc", version };
  const isMusl = sharedObjects.some((path) => /(?:^|\/)(?:ld-musl-|libc\.musl-)[^/]*$/.test(path));
  return { family: isMusl ? "musl" : null, version: null };
}

function ownReport(): Report {
  // The types of this option are those of later releases.
  const report: NodeJS.ProcessReport & { excludeNetwork?: boolean } = process.report;
  const { excludeNetwork = false } = report;
  // Otherwise the report looks up the name of every open connection's host.
  report.excludeNetwork = true;
  try {
    return report.getReport();
  } finally {
    report.excludeNetwork = excludeNetwork;
  }
}
