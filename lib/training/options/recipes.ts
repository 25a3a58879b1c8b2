import { declareOptions } from "../../options/declaration.js";

const GROUP = "Recipes";

/** What later papers changed in the training of diffusion models; all off by default. */
export const recipeOptions = declareOptions({
  snr_gamma: {
    type: "number",
    min: 0,
    group: GROUP,
    help: "weigh the losses of timesteps by Min-SNR-γ with this γ, for which 5 is recommended (Hang et al. 2023, arXiv 2303.09556); also for models that predict the velocity",
  },
  prediction_type: {
    type: "string",
    choices: ["epsilon", "v_prediction"],
    group: GROUP,
    help: "what the UNet predicts: the noise, or the velocity (Salimans & Ho 2022, arXiv 2202.00512); by default what the base model does, which otherwise has to learn anew",
  },
  zero_terminal_snr: {
    type: "boolean",
    group: GROUP,
    help: "rescale the noise schedule so that nothing of the image is left at the last timestep (Lin et al. 2023, arXiv 2305.08891); for models that predict the velocity",
  },
  noise_offset: {
    type: "number",
    min: 0,
    default: 0,
    group: GROUP,
    help: "add noise that is the same for all of a channel's pixels, times this number, so that the brightness of whole images is learned: 0.05 to 0.1 (Guttenberg 2023, Diffusion with Offset Noise)",
  },
  input_perturbation: {
    type: "number",
    min: 0,
    default: 0,
    group: GROUP,
    help: "add more noise to the input than is to be predicted, times this number, as the errors of earlier steps do when images are made: 0.1 (Ning et al. 2023, arXiv 2301.11706)",
  },
  loss_type: {
    type: "string",
    choices: ["l2", "huber", "smooth_l1"],
    default: "l2",
    group: GROUP,
    help: "what is minimised: squared errors, or pseudo-Huber losses, which spoilt images move less (Khrapov et al. 2024, arXiv 2403.16728)",
  },
  huber_c: {
    type: "number",
    min: 1e-6,
    max: 1e3,
    default: 0.1,
    group: GROUP,
    help: "the error from which on a pseudo-Huber loss grows no longer quadratically; with a schedule at the last timestep",
  },
  huber_schedule: {
    type: "string",
    choices: ["constant", "exponential", "snr"],
    default: "snr",
    group: GROUP,
    help: "how that error depends on the timestep: not at all, falling exponentially, or by the noise's share",
  },
  post_hoc_ema: {
    type: "boolean",
    group: GROUP,
    help: "also keep two averages of the weights, and snapshots of them, from which `ip2p ema` makes an average of any width when the run is over (Karras et al. 2023, arXiv 2312.02696, section 3); 8 more bytes of memory per weight",
  },
  post_hoc_ema_steps: {
    type: "integer",
    min: 1,
    group: GROUP,
    help: "steps between those snapshots, each of which takes the disk of two models in float32; by default checkpointing_steps",
  },
  text_dropout_prob: {
    type: "number",
    min: 0,
    max: 1,
    group: GROUP,
    help: "probability of dropping the text alone; with the two below in place of conditioning_dropout_prob",
  },
  image_dropout_prob: {
    type: "number",
    min: 0,
    max: 1,
    group: GROUP,
    help: "probability of dropping the image alone (Brooks et al. 2023, arXiv 2211.09800, section 3.2.1)",
  },
  both_dropout_prob: {
    type: "number",
    min: 0,
    max: 1,
    group: GROUP,
    help: "probability of dropping text and image",
  },
});
