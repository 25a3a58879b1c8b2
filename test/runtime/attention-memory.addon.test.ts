import { describe, expect, test } from "vitest";
import { measureInChild } from "./child.js";

/** Bytes: what the process used at most beyond what it had before, and how large one matrix of scores would be. */
interface Peak {
  peak: number;
  scores: number;
}

const peakOf = (work: string, attention: string) => measureInChild<Peak>("attention-memory.mjs", [work, attention]);

// The peak of a process is known where there is /proc.
describe.runIf(process.platform === "linux")("attention never materialises the scores", () => {
  test.each([
    ["decode", "the autoencoder's, over 9216 tokens"],
    ["unet", "the UNet's, over 2304 tokens with 8 heads"],
  ])("%s: %s, while the math backend does", async (work) => {
    const auto = await peakOf(work, "auto");
    expect(auto.peak).toBeLessThan(auto.scores / 4);
    const math = await peakOf(work, "math");
    expect(math.peak).toBeGreaterThan(math.scores);
  });

  test("train: nor does it keep them for the backward pass", async () => {
    const { peak, scores } = await peakOf("train", "auto");
    // Beside what six layers of attention keep there is all the rest; their scores alone would be six times this.
    expect(peak).toBeLessThan(scores);
  });
});
