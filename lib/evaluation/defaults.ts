/** The CLIP that the InstructPix2Pix paper measures with. */
export const PAPER_CLIP = "openai/clip-vit-large-patch14";

/** The paper's image guidance scales. */
export const PAPER_SCALES: readonly number[] = [1, 1.2, 1.4, 1.6, 1.8, 2, 2.2];
