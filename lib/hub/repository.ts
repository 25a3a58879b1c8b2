import { InstructPix2PixError } from "../core/errors.js";
import { fileNameProblem } from "./file-names.js";

/** A repository of the hub. */
export interface Repository {
  readonly type: "model" | "dataset";
  /** `owner/name`, or `name` alone for some old ones. */
  readonly id: string;
}

export const DEFAULT_REVISION = "main";

const COMMIT = /^[0-9a-f]{40}$/;

/** Whether a revision is a full commit hash, which is immutable. */
export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}

/** Whether a text can be a repository's id, by the hub's rules. */
export function isRepositoryId(text: string): boolean {
  const parts = text.split("/");
  return (
    parts.length <= 2 &&
    parts.every((part) => part.length <= 96 && /^\w(?:[\w.-]*\w)?$/.test(part)) &&
    !/--|\.\.|\.git$/.test(text)
  );
}

/** Checks a branch, tag, commit or `refs/pr/N`, which becomes part of a path in the cache. */
export function checkRevision(revision: string): string {
  const problem = fileNameProblem(revision);
  if (problem)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `revision ${JSON.stringify(revision)} ${problem}`);
  return revision;
}

/** The folder of a repository in the cache. */
export function repositoryFolder({ type, id }: Repository): string {
  return [`${type}s`, ...id.split("/")].join("--");
}

/** The address of a file, its parts encoded. */
export function fileUrl(endpoint: string, { type, id }: Repository, commit: string, file: string): string {
  const path = file.split("/").map(encodeURIComponent).join("/");
  return `${endpoint}/${type === "model" ? "" : `${type}s/`}${id}/resolve/${encodeURIComponent(commit)}/${path}`;
}

/** The web page of a repository. */
export function repositoryPage(endpoint: string, { type, id }: Repository): string {
  return `${endpoint}/${type === "model" ? "" : `${type}s/`}${id}`;
}
