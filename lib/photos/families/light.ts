import { blurPhoto } from "../filters/blur.js";
import { luma, lumaOf, mapPhoto, mapValues, meanOf, mix, ramp, unitOf } from "../pixels.js";
import { byDegree } from "../wording.js";
import { families } from "./family.js";

/** Brightness, contrast, and light that falls otherwise. v is a gamma-coded value in 0..1, Y the luma. */
export const LIGHT = families({
  /** v' = 1 − (1 − v)^g with g = 1.3, 1.75, 2.5: nothing but white becomes white. */
  brighter: {
    kind: "light",
    phrases: [
      "make {it} {more} brighter",
      "brighten {it} {by}",
      "{it} should be {more} brighter",
      "make {it} {more} lighter",
      "lighten {it} {by}",
      "turn up the brightness {by}",
      "increase the brightness {by}",
      "add more light",
    ],
    caption: "{more} brighter",
    apply: (photo, degree) => {
      const power = byDegree(degree, [1.3, 1.75, 2.5]);
      return mapValues(photo, (v) => 1 - (1 - v) ** power);
    },
  },
  /** v' = k v with k = 0.75, 0.55, 0.35. */
  darker: {
    kind: "light",
    phrases: [
      "make {it} {more} darker",
      "darken {it} {by}",
      "{it} should be {more} darker",
      "turn down the brightness {by}",
      "reduce the brightness {by}",
      "dim {it} {by}",
      "less light",
    ],
    caption: "{more} darker",
    apply: (photo, degree) => {
      const factor = byDegree(degree, [0.75, 0.55, 0.35]);
      return mapValues(photo, (v) => factor * v);
    },
  },
  /** v' = m + k (v − m) with k = 1.3, 1.7, 2.4; m is the mean of Y over the image. */
  more_contrast: {
    kind: "light",
    phrases: [
      "add {more} more contrast",
      "give {it} {more} more contrast",
      "increase the contrast {by}",
      "raise the contrast {by}",
      "boost the contrast {by}",
      "make the contrast {more} stronger",
      "more contrast",
    ],
    caption: "with {more} more contrast",
    apply: (photo, degree) => {
      const mean = meanOf(lumaOf(photo).data);
      const factor = byDegree(degree, [1.3, 1.7, 2.4]);
      return mapValues(photo, (v) => mean + factor * (v - mean));
    },
  },
  /** As more contrast, with k = 0.72, 0.5, 0.28. */
  less_contrast: {
    kind: "light",
    phrases: [
      "reduce the contrast {by}",
      "lower the contrast {by}",
      "give {it} {more} less contrast",
      "make the contrast {more} weaker",
      "decrease the contrast {by}",
      "turn down the contrast {by}",
      "less contrast",
    ],
    caption: "with {more} less contrast",
    apply: (photo, degree) => {
      const mean = meanOf(lumaOf(photo).data);
      const factor = byDegree(degree, [0.72, 0.5, 0.28]);
      return mapValues(photo, (v) => mean + factor * (v - mean));
    },
  },
  /** Black is lifted to a warm grey and white lowered: v' = a + (b − a) v with a of 0.16, 0.26, 0.36 and b of 0.95, 0.92, 0.88. */
  faded: {
    kind: "light",
    phrases: [
      "make {it} look {more} faded",
      "fade {it} {by}",
      "fade the colours {by}",
      "make {it} {very} pale",
      "give {it} a {very} matte look",
      "wash {it} out {by}",
      "make {it} look {very} washed out",
    ],
    caption: "{more} faded",
    apply: (photo, degree) => {
      const [black, white] = byDegree(degree, [
        [0.16, 0.95],
        [0.26, 0.92],
        [0.36, 0.88],
      ] as const);
      return mapPhoto(photo, (r, g, b, _, set) =>
        set(mix(black + 0.02, white, r), mix(black, white, g), mix(black - 0.01, white - 0.03, b)),
      );
    },
  },
  /** v' = v (1 − a s) with a = 0.5, 0.75, 0.97; s rises from 0 at 35 % of the way from the middle to the corners to 1 there. */
  vignette: {
    kind: "light",
    phrases: [
      "add a {very} dark vignette",
      "add a vignette",
      "give {it} a vignette",
      "darken the corners {by}",
      "darken the edges {by}",
      "make the corners {more} darker",
      "let {it} fade to black at the edges",
    ],
    caption: "with {more} darker corners",
    apply: (photo, degree) => {
      const strength = byDegree(degree, [0.5, 0.75, 0.97]);
      const { width, height } = photo;
      return mapPhoto(photo, (r, g, b, pixel, set) => {
        const x = (2 * (pixel % width) + 1) / width - 1;
        const y = (2 * Math.floor(pixel / width) + 1) / height - 1;
        const left = 1 - strength * ramp(0.35, 1, Math.hypot(x, y) / Math.SQRT2);
        set(left * r, left * g, left * b);
      });
    },
  },
  /** A blurred copy (σ = 0.035 shorter sides) is screened over: v' = 1 − (1 − v)(1 − a G(v)²) with a = 0.35, 0.65, 0.95. */
  glow: {
    kind: "detail",
    phrases: [
      "add a {very} soft glow",
      "give {it} a {very} dreamy glow",
      "make {it} {very} dreamy",
      "let {it} glow {by}",
      "add a dreamy glow",
      "make {it} look like a dream",
      "soft focus",
    ],
    caption: "with a {very} soft glow",
    apply: (photo, degree) => {
      const strength = byDegree(degree, [0.35, 0.65, 0.95]);
      const { data } = blurPhoto(photo, 0.035 * unitOf(photo));
      return mapPhoto(photo, (r, g, b, pixel, set) => {
        const lit = (v: number, channel: number) => 1 - (1 - v) * (1 - strength * data[3 * pixel + channel]! ** 2);
        set(lit(r, 0), lit(g, 1), lit(b, 2));
      });
    },
  },
  /** Moonlight: v is mixed with 60 % of Y, darkened to 0.36 v^1.25, and made blue by the gains 0.6, 0.82 and 1.5. */
  night: {
    kind: "time",
    phrases: [
      "make it night",
      "turn it into night",
      "turn day into night",
      "let night fall",
      "show it at night",
      "make it look like night",
      "make it a {very} dark night",
      "{it} at night",
      "as if it were night",
      "change the time to night",
    ],
    caption: "at night",
    degrees: false,
    apply: (photo) =>
      mapPhoto(photo, (r, g, b, _, set) => {
        const y = luma(r, g, b);
        const dark = (v: number) => 0.36 * mix(y, v, 0.4) ** 1.25;
        set(0.6 * dark(r), 0.82 * dark(g) + 0.006, 1.5 * dark(b) + 0.03);
      }),
  },
});
