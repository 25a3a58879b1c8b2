export { Album } from "./album.js";
export { makePhotoDataset, type PhotoDatasetOptions, type PhotoDatasetResult } from "./dataset.js";
export { applyEdit, differVisibly, type PhotoEdit, randomPhotoEdit } from "./edit.js";
export { type PhotoExample, photoExample } from "./example.js";
export { PHOTO_FAMILIES, type PhotoFamily } from "./families/index.js";
export { imageOf, type Photo, photoOf } from "./pixels.js";
export { findPhotos, isHeldOut, type PhotoSource, type UnusablePhoto } from "./sources.js";
export { PHOTO_WORDS } from "./words.js";
