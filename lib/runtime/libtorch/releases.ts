import { InstructPix2PixError } from "../../core/errors.js";
import { LIBTORCH_VERSION } from "../version.js";
import type { LibtorchVariant } from "./find.js";

/** A Python wheel with a part of libtorch, pinned by its hash. */
export interface PinnedWheel {
  /** The file's name, which also names the platforms it is for. */
  file: string;
  /** The requirement that makes pip choose exactly this file. */
  requirement: string;
  sha256: string;
  /** Size of the download in bytes, to check the disk and to stop far larger downloads; approximate where marked `~`. */
  size: number;
}

/** Upper bound for the size of a wheel's download, with a margin for approximate sizes. */
export function largestSize({ size }: PinnedWheel): number {
  return Math.ceil(size * 1.25) + MB;
}

/** A way to assemble a variant from wheels. */
export interface LibtorchRecipe {
  variant: LibtorchVariant;
  wheels: readonly PinnedWheel[];
  /** Whether to leave out the files of libtorch's CUDA half. */
  cpuHalfOnly: boolean;
  /** The folder of the first wheel on the official index, if it is there. */
  indexFolder?: string;
  /** Unpacked size in bytes, to check the disk. */
  unpackedSize: number;
}

/** The pinned files of a platform. */
export interface LibtorchRelease {
  platform: string;
  /** The address of the official index of wheels. A mirror repeats its folders. */
  index: string;
  /** For each variant the preferred recipe first. */
  recipes: readonly LibtorchRecipe[];
}

const OFFICIAL_INDEX = "https://download.pytorch.org/whl";

const MB = 1_000_000;

const cpuWheel: PinnedWheel = {
  file: `torch-${LIBTORCH_VERSION}+cpu-cp311-cp311-manylinux_2_28_x86_64.whl`,
  requirement: `torch==${LIBTORCH_VERSION}+cpu`,
  sha256: "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
  size: 200 * MB, // ~
};

// Three equals signs compare the text, so that pip does not take a build with a local version such as +cpu instead.
const cudaWheel: PinnedWheel = {
  file: `torch-${LIBTORCH_VERSION}-cp311-cp311-manylinux_2_28_x86_64.whl`,
  requirement: `torch===${LIBTORCH_VERSION}`,
  sha256: "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7",
  size: 526_574_961,
};

/** Wheels given as lines of sha256, approximate megabytes, file name. */
function wheels(table: string): PinnedWheel[] {
  return table
    .trim()
    .split("\n")
    .map((line) => {
      const [sha256, megabytes, file] = line.trim().split(" ") as [string, string, string];
      const [name, version] = file.split("-") as [string, string];
      return { file, requirement: `${name.replaceAll("_", "-")}==${version}`, sha256, size: Number(megabytes) * MB };
    });
}

/** What libtorch's CPU half is linked to in a CUDA wheel. */
const cudaBasics = wheels(`
  4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8 11 nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl
  7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548 3 nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
`);

/** Further dependencies of its CUDA half, and headers (the compiler's crt, cccl) to build this package's CUDA library. */
const cudaLibraries = wheels(`
  e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649 4 nvidia_cuda_cccl-13.0.85-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
  2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4 1 nvidia_cuda_crt-13.0.88-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
  37936a16db8fe4ac1f065c2139360608a543a09275cb1a1af612e08cfa065436 430 nvidia_cublas-13.1.1.3-py3-none-manylinux_2_27_x86_64.whl
  ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575 90 nvidia_cuda_nvrtc-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl
  0c45dd8eeb50b603f07995b1b300c62ffe6a1980482b82b3bcf94a4ca9d49304 450 nvidia_cudnn_cu13-9.20.0.48-py3-none-manylinux_2_27_x86_64.whl
  6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3 215 nvidia_cufft-12.0.0.61-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
  08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44 2 nvidia_cufile-1.15.1.6-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
  1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc 60 nvidia_curand-10.4.0.35-py3-none-manylinux_2_27_x86_64.whl
  0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112 200 nvidia_cusolver-12.0.4.66-py3-none-manylinux_2_27_x86_64.whl
  2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b 150 nvidia_cusparse-12.6.3.3-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
  786ce87568c303fadb5afcc7102d454cd3040d75f6f8626f5db460d1871f4dd0 170 nvidia_cusparselt_cu13-0.8.1-py3-none-manylinux2014_x86_64.whl
  edd81538446786ec3b73972543e53bb43bcaf0bfc8ef76cb679fcc390ffe136d 200 nvidia_nccl_cu13-2.29.7-py3-none-manylinux_2_18_x86_64.whl
  280d7cb9649704145f074b8dbde500de04ce02d0872e066e20a83c17bcaa93eb 41 nvidia_nvjitlink-13.5.37-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl
  290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80 60 nvidia_nvshmem_cu13-3.4.5-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl
  4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4 1 nvidia_nvtx-13.0.85-py3-none-manylinux1_x86_64.manylinux_2_5_x86_64.whl
`);

// The same for linux-arm64.
const armWheel: PinnedWheel = {
  file: `torch-${LIBTORCH_VERSION}-cp311-cp311-manylinux_2_28_aarch64.whl`,
  requirement: `torch===${LIBTORCH_VERSION}`,
  sha256: "092790c696a760c729fd5722835f50b9d81fd7c8f141571f3f3cf4081a8f664c",
  size: 427_199_369,
};

const armCudaBasics = wheels(`
  796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151 10 nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_aarch64.whl
  ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55 2 nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_aarch64.manylinux_2_17_aarch64.whl
`);

// On Windows and macOS the index's own build is the one for the CPU.
const windowsWheel: PinnedWheel = {
  file: `torch-${LIBTORCH_VERSION}-cp311-cp311-win_amd64.whl`,
  requirement: `torch===${LIBTORCH_VERSION}`,
  sha256: "a0d8b11f16a48d60e2015d8213aa0390744cbebb98e58b62b3514dddc656e330",
  size: 122_015_870,
};

const macWheel: PinnedWheel = {
  file: `torch-${LIBTORCH_VERSION}-cp311-cp311-macosx_14_0_arm64.whl`,
  requirement: `torch===${LIBTORCH_VERSION}`,
  sha256: "e76f9bcecc52b8ff711239a2f7547d5353df95878ab232f0773c1d95928b92f8",
  size: 111_187_938,
};

/** The recipes of each platform. */
const recipes: Readonly<Record<string, readonly LibtorchRecipe[]>> = {
  "linux-x64-gnu": [
    { variant: "cpu", wheels: [cpuWheel], cpuHalfOnly: false, indexFolder: "cpu", unpackedSize: 560 * MB },
    // Many package mirrors carry only the CUDA wheel. Its CPU half needs two small CUDA libraries, and no driver.
    { variant: "cpu", wheels: [cudaWheel, ...cudaBasics], cpuHalfOnly: true, unpackedSize: 530 * MB },
    {
      variant: "cuda",
      wheels: [cudaWheel, ...cudaBasics, ...cudaLibraries],
      cpuHalfOnly: false,
      unpackedSize: 4_000 * MB,
    },
  ],
  "linux-arm64-gnu": [
    { variant: "cpu", wheels: [armWheel, ...armCudaBasics], cpuHalfOnly: true, unpackedSize: 390 * MB },
  ],
  "win32-x64-msvc": [{ variant: "cpu", wheels: [windowsWheel], cpuHalfOnly: false, unpackedSize: 700 * MB }],
  "darwin-arm64": [{ variant: "cpu", wheels: [macWheel], cpuHalfOnly: false, unpackedSize: 500 * MB }],
};

/** The pinned files of a platform; may be empty. */
export function releaseFor(platform: string): LibtorchRelease {
  return { platform, index: OFFICIAL_INDEX, recipes: recipes[platform] ?? [] };
}

/**
 * The recipes of a variant, in the order in which they are tried.
 *
 * @throws `ERR_LIBTORCH` where none is pinned.
 */
export function recipesOf(release: LibtorchRelease, variant: LibtorchVariant): readonly LibtorchRecipe[] {
  const found = release.recipes.filter((recipe) => recipe.variant === variant);
  if (found.length === 0)
    throw new InstructPix2PixError(
      "ERR_LIBTORCH",
      `no libtorch ${LIBTORCH_VERSION} (${variant}) is pinned for ${release.platform}; give one by --from FILE|DIR, or use an installed PyTorch by LIBTORCH_USE_PYTORCH=1`,
    );
  return found;
}

/** The pinned wheel of this file name, whichever recipe it belongs to. */
export function pinnedWheel(release: LibtorchRelease, file: string): PinnedWheel | undefined {
  return release.recipes.flatMap((recipe) => recipe.wheels).find((wheel) => wheel.file === file);
}
