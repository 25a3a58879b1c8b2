import type { NativeTensor } from "./tensor.js";

/** bindings/operators.cc */
export interface OperatorsAddon {
  /**
   * An operator of the layers by its name in kernels/ops.h, for tests and benches. If the gradient of the output is
   * given, the tensors' gradients follow the output.
   */
  callOperator(
    name: string,
    tensors: readonly NativeTensor[],
    numbers: readonly number[],
    outputGradient: NativeTensor | null,
  ): Promise<NativeTensor[]>;

  /** The same, recorded as a CUDA graph and replayed. */
  replayOperator(name: string, tensors: readonly NativeTensor[], numbers: readonly number[]): Promise<NativeTensor>;
}
