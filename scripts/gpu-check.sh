#!/usr/bin/env bash
# Builds the addon and checks it on a machine that has PyTorch, CMake, ninja and a C++ compiler, and nothing from npm: on
# its CUDA device, or on the CPU where there is none. See docs/gpu.md.
#
#   scripts/gpu-check.sh pack [--with-node]   on a machine that is set up: puts what the other lacks into .gpu/
#   scripts/gpu-check.sh [--full]             on the other: unpacks that, builds, runs test/gpu/, prints a table
#
# libtorch is LIBTORCH if that is set, else the torch of python3. --full times a model of Stable Diffusion 1.5 size as well.
set -euo pipefail
cd "$(dirname "$0")/.."
bundle=.gpu

pack() {
  [ -f dist/index.js ] || { echo "gpu-check: dist/ is missing; run \`npm run setup\` first" >&2; exit 1; }
  mkdir -p "$bundle"
  # What runs, for this platform, and the headers that the addon is compiled with.
  node -e '
    const { existsSync } = require("node:fs");
    const { packages } = JSON.parse(require("node:fs").readFileSync("package-lock.json", "utf8"));
    const needed = Object.entries(packages).filter(([path, { dev, devOptional }]) => path && !dev && !devOptional);
    const headers = ["node_modules/node-addon-api", "node_modules/node-api-headers"];
    console.log([...needed.map(([path]) => path), ...headers, "dist"].filter((path) => existsSync(path)).join("\n"));
  ' | tar -cJf "$bundle/bundle.tar.xz" --exclude='*.map' --exclude='*.d.ts' -T -
  if [ "${1:-}" = "--with-node" ]; then xz -T0 -c "$(readlink -f "$(command -v node)")" > "$bundle/node.xz"; fi
  du -h "$bundle"/*
}

run() {
  if ! command -v node > /dev/null; then
    [ -f "$bundle/node.xz" ] || { echo "gpu-check: there is no node; pack with --with-node" >&2; exit 1; }
    mkdir -p "$bundle/bin"
    xz -dc "$bundle/node.xz" > "$bundle/bin/node"
    chmod +x "$bundle/bin/node"
    PATH="$PWD/$bundle/bin:$PATH"
  fi
  if [ ! -d node_modules ] && [ -f "$bundle/bundle.tar.xz" ]; then tar -xJf "$bundle/bundle.tar.xz"; fi
  [ -n "${LIBTORCH:-}" ] || export LIBTORCH_USE_PYTORCH=1
  # Parity is with float32 throughout: no rounding to TF32, in matrix products or convolutions.
  export NVIDIA_TF32_OVERRIDE=0

  echo "== build"
  cmake -G Ninja -S . -B build -DCMAKE_BUILD_TYPE=Release > build-configure.log || { cat build-configure.log; exit 1; }
  cmake --build build
  echo "== tests"
  report=$(mktemp)
  trap 'rm -f "$report"' EXIT
  [ "${1:-}" != "--full" ] || export IP2P_GPU_FULL=1
  status=0
  IP2P_GPU_REPORT="$report" node --test --test-concurrency=1 --test-reporter=spec test/gpu/ || status=$?
  echo "== figures"
  node test/gpu/table.mjs "$report"
  exit "$status"
}

case "${1:-run}" in
  pack) shift; pack "$@" ;;
  run) shift || true; run "$@" ;;
  --full) run "$@" ;;
  *) sed -n '2,9p' "$0"; exit 2 ;;
esac
