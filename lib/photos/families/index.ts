import { BORDER } from "./border.js";
import { COLOUR } from "./colour.js";
import { DETAIL } from "./detail.js";
import type { Family } from "./family.js";
import { LIGHT } from "./light.js";
import { PLACE } from "./place.js";
import { WEATHER } from "./weather.js";

const ALL = { ...COLOUR, ...LIGHT, ...DETAIL, ...WEATHER, ...PLACE, ...BORDER };

/** A family of one edit. */
export type SingleFamily = keyof typeof ALL;
/** Each family by its name. */
export const FAMILIES: Readonly<Record<SingleFamily, Family>> = ALL;
export const SINGLE_FAMILIES = Object.keys(ALL) as SingleFamily[];

/** The families of edits of photographs that `makePhotoDataset` knows; `combination` is of two others. */
export const PHOTO_FAMILIES = [...SINGLE_FAMILIES, "combination"] as const;
/** The name of a family of edits of photographs, one of {@link PHOTO_FAMILIES}. */
export type PhotoFamily = SingleFamily | "combination";
