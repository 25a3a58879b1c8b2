// How the training steps that train.mjs measures are reported.

import { GIB } from "../stats.mjs";

export const title = ({ variant, settings: { size, batch, precision } }) =>
  `training, ${variant}, ${size}×${size}, batch ${batch}, ${precision}`;

export const rows = () => [
  { label: "step (median)", unit: "s", digits: 2, pick: ({ medianStepSeconds }) => medianStepSeconds },
  { label: "peak memory", unit: "GiB", digits: 2, pick: ({ peakBytes }) => peakBytes / GIB },
];
