/** The Hugging Face hub: finding and downloading files of its repositories. */
export type { DownloadProgress } from "./progress.js";
export type { Repository } from "./repository.js";
export { obtainSnapshot, RESOLVE_OPTIONS, type ResolveOptions, resolvePretrained } from "./resolve.js";
export { HubUploader, type HubUploaderOptions, type UploadFile, type UploadProgress } from "./upload.js";
