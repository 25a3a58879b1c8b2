/** Options of diffusers, its scripts and transformers that have another name here. Names that differ only in their spelling need no line. */
export const RENAMED: Readonly<Record<string, string>> = {
  callback: "onStep",
  callback_on_step_end: "onStep",
  device_map: "device",
  original_config: "config",
  original_config_file: "config",
  steps: "numInferenceSteps",
  torch_dtype: "dtype",
  train_data_dir: "from",
};

const ALWAYS_SAFETENSORS = "weights are only read from safetensors";
const LOADED_WITH_MODEL = "it is loaded with the model";
const EVERY_STEP = "onStep is called after every step, with all tensors";
const RESUMES = "downloads are resumed by themselves";

/** Options of diffusers and transformers that nothing here corresponds to, and why they can be left out. */
export const NOT_NEEDED: Readonly<Record<string, string>> = {
  callback_on_step_end_tensor_inputs: EVERY_STEP,
  callback_steps: EVERY_STEP,
  feature_extractor: LOADED_WITH_MODEL,
  force_download: RESUMES,
  low_cpu_mem_usage: "weights are always read straight into their place",
  requires_safety_checker: "a safety checker is used where there is one",
  resume_download: RESUMES,
  return_dict: "results are always objects",
  safety_checker: LOADED_WITH_MODEL,
  trust_remote_code: "no code is ever loaded",
  use_safetensors: ALWAYS_SAFETENSORS,
};
