import { declareOptions, type OptionValues } from "../../options/declaration.js";

const PROCESSES = "Processes";
const HOSTS = "Several hosts";
const ACCELERATE = "Of accelerate, without effect here";

/** The options of `ip2p launch`, those of `accelerate launch` under the same names. */
export const launchOptions = declareOptions({
  num_processes: {
    type: "integer",
    min: 1,
    max: 1023,
    group: PROCESSES,
    help: "processes on all hosts together; by default one on each host, or one for each GPU that --gpu_ids names",
  },
  num_cpu_threads_per_process: {
    type: "integer",
    min: 1,
    max: 1024,
    group: PROCESSES,
    help: "threads of a process's CPU operators; by default the cores of this host divided by its processes",
  },
  enable_cpu_affinity: {
    type: "boolean",
    default: true,
    group: PROCESSES,
    help: "give every process a group of cores of its own, where Linux and `taskset` allow it; not for several trainings on one host, which would share the same groups",
  },
  multi_gpu: {
    type: "boolean",
    group: PROCESSES,
    help: "without --num_processes, start one process for each GPU of a host",
  },
  gpu_ids: {
    type: "string",
    value: "LIST",
    group: PROCESSES,
    help: 'the GPUs of this host to use, as "0,1"; becomes CUDA_VISIBLE_DEVICES',
  },
  max_restarts: {
    type: "integer",
    min: 0,
    default: 0,
    group: PROCESSES,
    help: "how many times all processes of this host are started anew, from the last checkpoint, after one has failed",
  },
  mixed_precision: {
    type: "string",
    choices: ["no", "fp16", "bf16"],
    group: PROCESSES,
    help: "passed on to `ip2p train`, unless it is given there",
  },
  config_file: {
    type: "string",
    value: "FILE",
    group: PROCESSES,
    help: "a file of `accelerate config`; by default accelerate's own, if there is one",
  },
  log_dir: {
    type: "string",
    value: "DIR",
    group: PROCESSES,
    help: "a folder that gets the output of every process as a file of its own, too",
  },
  num_machines: { type: "integer", min: 1, default: 1, group: HOSTS, help: "hosts" },
  machine_rank: { type: "integer", min: 0, default: 0, group: HOSTS, help: "this host, from 0" },
  main_process_ip: { type: "string", value: "ADDRESS", group: HOSTS, help: "address of host 0" },
  main_process_port: {
    type: "integer",
    min: 0,
    max: 65535,
    group: HOSTS,
    help: "port of rank 0; by default 29500 with several hosts, and any free one with a single host, as 0 says",
  },
  cpu: { type: "boolean", group: ACCELERATE, help: "training on the CPU is chosen by `--device`" },
  monitor_interval: { type: "number", min: 0, group: ACCELERATE, help: "processes are watched without pause" },
  same_network: { type: "boolean", group: ACCELERATE, help: "hosts are always in one network" },
  rdzv_backend: {
    type: "string",
    group: ACCELERATE,
    choices: ["static", "c10d"],
    help: "the processes meet at rank 0",
  },
  rdzv_conf: { type: "string", group: ACCELERATE, help: "settings of the above" },
  tee: { type: "string", group: ACCELERATE, help: "output is always shown, and kept with --log_dir" },
});

export type LaunchValues = OptionValues<typeof launchOptions>;
