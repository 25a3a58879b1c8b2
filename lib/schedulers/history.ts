import type { Tensor } from "../core/tensor.js";

/** The last few tensors of a run, newest first; owns them and disposes the oldest. */
export class History {
  private kept: Tensor[] = [];

  constructor(public capacity: number) {}

  get tensors(): readonly Tensor[] {
    return this.kept;
  }

  /** Takes over a tensor as the newest. */
  push(tensor: Tensor): void {
    this.kept.unshift(tensor);
    while (this.kept.length > this.capacity) this.kept.pop()!.dispose();
  }

  clear(): void {
    while (this.kept.length > 0) this.kept.pop()!.dispose();
  }
}
