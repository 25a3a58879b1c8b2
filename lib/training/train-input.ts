// Written by scripts/write-docs.mjs from the declarations in options.ts. Edit those, then run it.
// biome-ignore-all format: it is written by a program

import type { FactorOfStep } from "../options/declaration.js";

/** The options of `train`: those of `ip2p train` in camelCase, with the same defaults. */
export interface TrainInput {
  /**
   * The model to start from: a text-to-image model, or an InstructPix2Pix model to continue from; a folder as
   * diffusers saves it, the id of a repository on the Hugging Face hub, or one safetensors file in the original
   * layout.
   */
  pretrainedModelNameOrPath: string;
  /**
   * For a model in one file: a folder or repository in diffusers' format whose configurations, tokenizer and
   * scheduler are used; by default those of the published models, which for Stable Diffusion 2 predict the
   * velocity.
   */
  config?: string | undefined;
  /** Branch, tag or commit of the model's repository. */
  revision?: string | undefined;
  /** Read *.NAME.safetensors, e.g. fp16. */
  variant?: string | undefined;
  /** Another revision for the UNet's weights; by default the model's own. */
  nonEmaRevision?: string | undefined;
  /** SDXL: another autoencoder, such as one that computes in float16; by default the model's own. */
  pretrainedVaeModelNameOrPath?: string | undefined;
  /** SDXL: the type that the autoencoder computes in; that of SDXL 1.0 gives NaN in fp16. Default "fp32". */
  vaePrecision?: "fp32" | "fp16" | "bf16" | undefined;
  /** A data set on the Hugging Face hub, or a folder laid out like one. */
  datasetName?: string | undefined;
  /** The configuration of the data set. */
  datasetConfigName?: string | undefined;
  /** A folder of images with metadata.jsonl, .csv or .parquet, of parquet files, or of WebDataset's tar shards. */
  trainDataDir?: string | undefined;
  /**
   * Tar shards of a WebDataset, on the disk or at http(s) addresses: several with :: between them, {000..123} for
   * numbers; shards are read in whole, in another order each epoch.
   */
  trainShards?: string | undefined;
  /**
   * Gigabytes of unpacked shards that are kept in cacheDir; what was not used for longest goes first and is read
   * again when it is needed. A number of at least 0. Default 20.
   */
  shardCache?: number | undefined;
  /** The column of the images to edit. Default "input_image". */
  originalImageColumn?: string | undefined;
  /** The column of the edited images. Default "edited_image". */
  editedImageColumn?: string | undefined;
  /** The column of the instructions. Default "edit_prompt". */
  editPromptColumn?: string | undefined;
  /** Train on this many rows only, chosen at random. A whole number of at least 1. */
  maxTrainSamples?: number | undefined;
  /** Where downloads and prepared data are kept. */
  cacheDir?: string | undefined;
  /** Images are resized to squares of this edge, in pixels. A whole number of at least 1. Default 256. */
  resolution?: number | undefined;
  /**
   * Keep images' proportions: each pair is resized to the nearest of several sizes with about as many pixels as the
   * resolution's square, what stands out is cut off in the middle, and batches are of one size; sizes come from the
   * edited images (NovelAI 2022). Default false.
   */
  aspectRatioBuckets?: boolean | undefined;
  /**
   * The sides of aspect-ratio buckets are multiples of this number of pixels. A whole number from 1 to 4096.
   * Default 64.
   */
  bucketStep?: number | undefined;
  /** Crop at the centre instead of at random; without effect, since images are resized first. Default false. */
  centerCrop?: boolean | undefined;
  /** Flip half of the pairs horizontally. Default false. */
  randomFlip?: boolean | undefined;
  /** Images decoded in parallel during training; 0 means 1. A whole number of at least 0. Default 0. */
  dataloaderNumWorkers?: number | undefined;
  /** Stop at a broken row instead of skipping it. Default false. */
  strict?: boolean | undefined;
  /** Where the model, checkpoints and logs go. Default "instruct-pix2pix-model". */
  outputDir?: string | undefined;
  /** Seed of all random numbers; by default random, and reported. A whole number from 0 to 18446744073709551615. */
  seed?: number | bigint | undefined;
  /**
   * With several processes, each draws its own noise, timesteps and dropped conditioning; without it, and with
   * --compat diffusers, all draw the same, as in the reference. Default true.
   */
  seedPerProcess?: boolean | undefined;
  /**
   * Train the text encoder along with the UNet, of Stable Diffusion XL both, for words that they do not know yet.
   * Default false.
   */
  trainTextEncoder?: boolean | undefined;
  /** Pairs in one micro-step. A whole number of at least 1. Default 16. */
  trainBatchSize?: number | undefined;
  /** Passes over the data. A whole number of at least 1. Default 100. */
  numTrainEpochs?: number | undefined;
  /** Optimizer steps; overrides numTrainEpochs. A whole number of at least 1. */
  maxTrainSteps?: number | undefined;
  /** Gradient accumulation: micro-steps per optimizer step. A whole number of at least 1. Default 1. */
  gradientAccumulationSteps?: number | undefined;
  /**
   * Conditioning dropout for classifier-free guidance: probability of dropping the text, the image, or both (each);
   * by default none. A number from 0 to 1.
   */
  conditioningDropoutProb?: number | undefined;
  /**
   * Which timesteps to train on more often: those with little noise, with much (where the instruction decides), or
   * a range. Default "none".
   */
  timestepBiasStrategy?: "none" | "earlier" | "later" | "range" | undefined;
  /** How many times as often as other timesteps. Default 1. */
  timestepBiasMultiplier?: number | undefined;
  /** The fraction of timesteps that counts as earlier or later. A number from 0 to 1. Default 0.25. */
  timestepBiasPortion?: number | undefined;
  /** The first timestep of the range. A whole number of at least 0. Default 0. */
  timestepBiasBegin?: number | undefined;
  /** The end of the range, exclusive. A whole number of at least 1. Default 1000. */
  timestepBiasEnd?: number | undefined;
  /**
   * Train nothing, but load the models, read every row and whatever else the run needs, and say what is wrong.
   * Default false.
   */
  check?: boolean | undefined;
  /**
   * Reproduce diffusers' script draw by draw, its quirks included, to compare losses and weights; float32 only,
   * with the draws that it makes on the CPU, where it also computes unless a device is named.
   */
  compat?: "diffusers" | undefined;
  /** Where to compute. Default "auto". */
  device?: string | undefined;
  /** Threads of CPU operators; by default one per physical core. A whole number from 1 to 1024. */
  numThreads?: number | undefined;
  /**
   * Of old launchers: this process among those of its host, for which the environment's LOCAL_RANK counts first;
   * RANK and WORLD_SIZE have to be there. Default -1.
   */
  localRank?: number | undefined;
  /**
   * With several processes, how long one may give no sign of life before the others end. A whole number from 1 to
   * 86400. Default 120.
   */
  distributedTimeout?: number | undefined;
  /** SDXL: the top of the crop that the UNet is told of. Default 0. */
  cropsCoordsTopLeftH?: number | undefined;
  /** SDXL: the left of the crop that the UNet is told of. Default 0. */
  cropsCoordsTopLeftW?: number | undefined;
  /**
   * Train a LoRA: narrow factors that are added to the weights of some layers, which stay as they are (Hu et al.
   * 2021, arXiv 2106.09685). Default false.
   */
  lora?: boolean | undefined;
  /** The width of the factors. A whole number from 1 to 4096. Default 4. */
  rank?: number | undefined;
  /** What is added counts alpha / rank; by default as much as the rank. A number from 0 to 65536. */
  loraAlpha?: number | undefined;
  /** Probability of leaving out each input of the factors in training. A number from 0 to 0.99. Default 0. */
  loraDropout?: number | undefined;
  /**
   * The layers that get factors, by the ends of their names: by default to_k,to_q,to_v,to_out.0, which are those of
   * attention, and in a text encoder that is trained q_proj,k_proj,v_proj,out_proj; all-linear stands for every
   * matrix.
   */
  loraTargets?: string | undefined;
  /**
   * The names in the file: those of diffusers and peft, or those of kohya's scripts and A1111. Default "diffusers".
   */
  loraFormat?: "diffusers" | "kohya" | undefined;
  /** After warm-up. A number of at least 0. Default 0.0001. */
  learningRate?: number | undefined;
  /** Multiply the learning rate by accumulation steps and batch size. Default false. */
  scaleLr?: boolean | undefined;
  /**
   * Schedule of the learning rate. A function gives the factor for every step itself, so that no other option
   * shapes it. Default "constant".
   */
  lrScheduler?: "linear" | "cosine" | "cosine_with_restarts" | "polynomial" | "constant" | "constant_with_warmup" | "piecewise_constant" | FactorOfStep | undefined;
  /** Steps of linear warm-up. A whole number of at least 0. Default 500. */
  lrWarmupSteps?: number | undefined;
  /**
   * Rules of piecewise_constant: "1:10,0.1:20,0.01" is a factor of 1 up to step 10, 0.1 up to step 20, then 0.01.
   */
  lrStepRules?: string | undefined;
  /** How often cosine_with_restarts comes down. A whole number of at least 1. Default 1. */
  lrNumCycles?: number | undefined;
  /** Exponent of polynomial. A number of at least 0. Default 1. */
  lrPower?: number | undefined;
  /**
   * Adamw; lion_8bit, whose only moment takes one byte per weight, for a learning rate of a third to a tenth and a
   * beta2 of 0.99 (Chen et al. 2023, arXiv 2302.06675); prodigy, which finds the learning rate itself, for a
   * learning rate of 1 (Mishchenko & Defazio 2023, arXiv 2306.06101). Default "adamw".
   */
  optimizer?: "adamw" | "lion_8bit" | "prodigy" | undefined;
  /** Keep Adam's moments in 8 bits. Default false. */
  use8bitAdam?: boolean | undefined;
  /** Decay of the first moment. A number from 0 to 1. Default 0.9. */
  adamBeta1?: number | undefined;
  /** Decay of the second moment. A number from 0 to 1. Default 0.999. */
  adamBeta2?: number | undefined;
  /** Decoupled weight decay. A number of at least 0. Default 0.01. */
  adamWeightDecay?: number | undefined;
  /** Added to the root of the second moment. A number of at least 0. Default 1e-8. */
  adamEpsilon?: number | undefined;
  /** Gradients are clipped to this norm. A number of at least 0. Default 1. */
  maxGradNorm?: number | undefined;
  /** Keep an exponential moving average (EMA) of the weights, and save it as the model. Default false. */
  useEma?: boolean | undefined;
  /**
   * Keep averages of the weights in the host's memory instead of the GPU's; on the CPU they are there anyway.
   * Default false.
   */
  offloadEma?: boolean | undefined;
  /**
   * Weigh the losses of timesteps by Min-SNR-γ with this γ, for which 5 is recommended (Hang et al. 2023, arXiv
   * 2303.09556); also for models that predict the velocity. A number of at least 0.
   */
  snrGamma?: number | undefined;
  /**
   * What the UNet predicts: the noise, or the velocity (Salimans & Ho 2022, arXiv 2202.00512); by default what the
   * base model does, which otherwise has to learn anew.
   */
  predictionType?: "epsilon" | "v_prediction" | undefined;
  /**
   * Rescale the noise schedule so that nothing of the image is left at the last timestep (Lin et al. 2023, arXiv
   * 2305.08891); for models that predict the velocity. Default false.
   */
  zeroTerminalSnr?: boolean | undefined;
  /**
   * Add noise that is the same for all of a channel's pixels, times this number, so that the brightness of whole
   * images is learned: 0.05 to 0.1 (Guttenberg 2023, Diffusion with Offset Noise). A number of at least 0. Default
   * 0.
   */
  noiseOffset?: number | undefined;
  /**
   * Add more noise to the input than is to be predicted, times this number, as the errors of earlier steps do when
   * images are made: 0.1 (Ning et al. 2023, arXiv 2301.11706). A number of at least 0. Default 0.
   */
  inputPerturbation?: number | undefined;
  /**
   * What is minimised: squared errors, or pseudo-Huber losses, which spoilt images move less (Khrapov et al. 2024,
   * arXiv 2403.16728). Default "l2".
   */
  lossType?: "l2" | "huber" | "smooth_l1" | undefined;
  /**
   * The error from which on a pseudo-Huber loss grows no longer quadratically; with a schedule at the last
   * timestep. A number from 0.000001 to 1000. Default 0.1.
   */
  huberC?: number | undefined;
  /**
   * How that error depends on the timestep: not at all, falling exponentially, or by the noise's share. Default
   * "snr".
   */
  huberSchedule?: "constant" | "exponential" | "snr" | undefined;
  /**
   * Also keep two averages of the weights, and snapshots of them, from which `ip2p ema` makes an average of any
   * width when the run is over (Karras et al. 2023, arXiv 2312.02696, section 3); 8 more bytes of memory per
   * weight. Default false.
   */
  postHocEma?: boolean | undefined;
  /**
   * Steps between those snapshots, each of which takes the disk of two models in float32; by default
   * checkpointingSteps. A whole number of at least 1.
   */
  postHocEmaSteps?: number | undefined;
  /**
   * Probability of dropping the text alone; with the two below in place of conditioningDropoutProb. A number from 0
   * to 1.
   */
  textDropoutProb?: number | undefined;
  /**
   * Probability of dropping the image alone (Brooks et al. 2023, arXiv 2211.09800, section 3.2.1). A number from 0
   * to 1.
   */
  imageDropoutProb?: number | undefined;
  /** Probability of dropping text and image. A number from 0 to 1. */
  bothDropoutProb?: number | undefined;
  /** Mixed precision: compute in half precision with float32 weights. Default "no". */
  mixedPrecision?: "no" | "fp16" | "bf16" | undefined;
  /**
   * Type of the trained weights of linear and convolutional layers, and so of their gradients: bf16 has no float32
   * copy and takes half the memory (Zamirai et al. 2020, arXiv 2010.06192); on the CPU only. Default "fp32".
   */
  weightsDtype?: "fp32" | "bf16" | undefined;
  /**
   * How updates are rounded into bf16 weights: stochastic keeps small ones on average (Gupta et al. 2015, arXiv
   * 1502.02551), from the seed; compensated keeps all of them in two more bytes per weight, as float32 weights
   * would (Kahan summation as in Kalamkar et al. 2020, arXiv 2005.04680). Default "stochastic".
   */
  weightsRounding?: "stochastic" | "compensated" | undefined;
  /** Recompute activations in the backward pass instead of keeping them: less memory, more time. Default false. */
  gradientCheckpointing?: boolean | undefined;
  /**
   * Update each parameter within the backward pass, as soon as its gradient is there, and free the gradient, so
   * that there are never all of them (Lv et al. 2023, arXiv 2306.09782); gradients are then clipped one parameter
   * at a time. Default false.
   */
  releaseGradients?: boolean | undefined;
  /**
   * With mixed precision, keep shadow weights in half precision instead of casting the weights in every pass:
   * identical results, less time, two more bytes of memory per weight; not on processors that compute in float32
   * anyway. Default false.
   */
  shadowWeights?: boolean | undefined;
  /**
   * With several processes, each keeps its part of the optimizer's moments and of the EMA weights only (ZeRO stage
   * 1): the same results and checkpoints in less memory, for one more exchange of the weights in every step.
   * Default false.
   */
  shardOptimizer?: boolean | undefined;
  /**
   * With several processes, the type in which float32 gradients are averaged: bf16 moves half as many bytes, and
   * rounds. Default "fp32".
   */
  reduceDtype?: "fp32" | "bf16" | undefined;
  /** Encode images and instructions once, into a file, instead of in every epoch. Default false. */
  cacheLatents?: boolean | undefined;
  /** Let CUDA round float32 matrix products to TF32. Default false. */
  allowTf32?: boolean | undefined;
  /** Use deterministic algorithms on CUDA; the CPU is always deterministic. Default false. */
  deterministic?: boolean | undefined;
  /** Accepted for old command lines; attention is always memory-efficient. Default false. */
  enableXformersMemoryEfficientAttention?: boolean | undefined;
  /** Save a checkpoint every so many steps. A whole number of at least 1. Default 500. */
  checkpointingSteps?: number | undefined;
  /** How many checkpoints of this run to keep. A whole number of at least 1. */
  checkpointsTotalLimit?: number | undefined;
  /**
   * Resume from a checkpoint, also one of diffusers' script; latest is the newest valid one of the run that wrote
   * last into the output folder, if any.
   */
  resumeFromCheckpoint?: string | undefined;
  /** Resume although options that affect the results differ. Default false. */
  allowChangedOptions?: boolean | undefined;
  /** Its instruction. */
  validationPrompt?: string | undefined;
  /** Edits to make of it. A whole number of at least 1. Default 4. */
  numValidationImages?: number | undefined;
  /** An image to edit for validation, read before training begins. */
  valImageUrl?: string | undefined;
  /** Validate after every so many epochs, and at the end. A whole number of at least 1. Default 1. */
  validationEpochs?: number | undefined;
  /** SDXL: an image to edit for validation, read before training begins. */
  valImageUrlOrPath?: string | undefined;
  /** SDXL: validate after every so many steps, and at the end. A whole number of at least 1. Default 100. */
  validationSteps?: number | undefined;
  /** Where TensorBoard files go, below the output folder. Default "logs". */
  loggingDir?: string | undefined;
  /** Trackers; metrics.jsonl is always written. Default "tensorboard". */
  reportTo?: string | undefined;
  /**
   * Write how long the parts of so many steps and their operators take, after the first two, to profile.json in the
   * output folder, as a trace for chrome://tracing and ui.perfetto.dev. A whole number from 1 to 100.
   */
  profile?: number | undefined;
  /** Upload the model when it is trained. Default false. */
  pushToHub?: boolean | undefined;
  /**
   * Access token, visible to other users in the process list: prefer hubTokenFile; default from HF_TOKEN or the
   * hub's command line.
   */
  hubToken?: string | undefined;
  /** A file with the access token, which should be readable by its owner only. */
  hubTokenFile?: string | undefined;
  /** Repository to upload to; by default named after the output folder. */
  hubModelId?: string | undefined;
}
