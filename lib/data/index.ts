/** Training data: datasets with random access, the order of their rows, and the loader that prepares batches. */
export type { EditDataset, EditRow, StoredPicture } from "./dataset.js";
export { createLoader, type LoadedBatch, type Loader, type LoaderOptions, type SkippedRow } from "./loader.js";
export { type DatasetProgress, type OpenDatasetOptions, openDataset } from "./open-dataset.js";
export { drawnPermutations, EpochOrder, type EpochOrderState, seededPermutations } from "./permutation.js";
