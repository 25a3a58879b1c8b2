#!/usr/bin/env bash
# Builds and checks the addon on a machine that has PyTorch, CMake, ninja and a C++ compiler but nothing from npm, on its
# CUDA device or, without one, on the CPU. See docs/gpu.md.
#
#   scripts/gpu-check.sh pack [--with-node] [--with-diffusers]   on a machine that is set up: puts what the other
#                                                                lacks into .gpu/
#   scripts/gpu-check.sh [build] [test] [bench] [--full]         on the other: unpacks that and runs the named steps,
#                                                                or all, then prints the figures
#
# libtorch is LIBTORCH if that is set, else the torch of python3. --full also uses a model of Stable Diffusion 1.5 size.
set -euo pipefail
cd "$(dirname "$0")/.."
bundle=.gpu

pack() {
  [ -f dist/index.js ] || { echo "gpu-check: dist/ is missing; run \`npm run setup\` first" >&2; exit 1; }
  mkdir -p "$bundle"
  # The runtime for this platform, and the headers that the addon is compiled with.
  node -e '
    const { existsSync } = require("node:fs");
    const { packages } = JSON.parse(require("node:fs").readFileSync("package-lock.json", "utf8"));
    const needed = Object.entries(packages).filter(([path, { dev, devOptional }]) => path && !dev && !devOptional);
    const headers = ["node_modules/node-addon-api", "node_modules/node-api-headers"];
    console.log([...needed.map(([path]) => path), ...headers, "dist"].filter((path) => existsSync(path)).join("\n"));
  ' | tar -cJf "$bundle/bundle.tar.xz" --exclude='*.map' --exclude='*.d.ts' -T -
  for option in "$@"; do
    case "$option" in
      --with-node) xz -T0 -c "$(readlink -f "$(command -v node)")" > "$bundle/node.xz" ;;
      --with-diffusers) python3 -m pip download -q --no-deps -d "$bundle" diffusers importlib_metadata zipp ;;
      *) usage ;;
    esac
  done
  du -h "$bundle"/*
}

# Node.js, the packages and diffusers, from .gpu/ where the machine lacks them.
unpack() {
  if ! command -v node > /dev/null; then
    [ -f "$bundle/node.xz" ] || { echo "gpu-check: there is no node; pack with --with-node" >&2; exit 1; }
    if [ ! -x "$bundle/bin/node" ]; then
      mkdir -p "$bundle/bin"
      xz -dc "$bundle/node.xz" > "$bundle/bin/node"
      chmod +x "$bundle/bin/node"
    fi
    PATH="$PWD/$bundle/bin:$PATH"
  fi
  if [ ! -d node_modules ] && [ -f "$bundle/bundle.tar.xz" ]; then tar -xJf "$bundle/bundle.tar.xz"; fi
  for wheel in "$bundle"/*.whl; do
    [ -f "$wheel" ] || continue
    [ -d "$bundle/python" ] || python3 -m zipfile -e "$wheel" "$bundle/python.partial"
  done
  if [ -d "$bundle/python.partial" ]; then mv "$bundle/python.partial" "$bundle/python"; fi
  if [ -d "$bundle/python" ]; then
    export PYTHONPATH="$PWD/$bundle/python${PYTHONPATH:+:$PYTHONPATH}" IP2P_BENCH_PYTHON="${IP2P_BENCH_PYTHON:-python3}"
  fi
  [ -n "${LIBTORCH:-}" ] || export LIBTORCH_USE_PYTORCH=1
}

build() {
  echo "== build"
  cmake -G Ninja -S . -B build -DCMAKE_BUILD_TYPE=Release > build-configure.log || { cat build-configure.log; exit 1; }
  grep "CUDA library" build-configure.log
  cmake --build build
}

check() {
  echo "== tests"
  [ -z "$full" ] || export IP2P_GPU_FULL=1
  : > "$bundle/figures.jsonl"
  # Parity tests use float32 throughout: no TF32 in matrix products or convolutions.
  NVIDIA_TF32_OVERRIDE=0 IP2P_GPU_REPORT="$PWD/$bundle/figures.jsonl" \
    node --test --test-concurrency=1 --test-reporter=spec test/gpu/ || status=$?
}

# Compares with diffusers if a Python has it. With both sides' defaults: convolutions may use TF32.
bench() {
  echo "== benches"
  device=$(node -e 'import("./dist/device.js").then(({ resolveDevice }) => console.log(resolveDevice("auto").split(":")[0]))')
  local edit=(--model test/fixtures/ip2p-tiny/model --size 64 --steps 4 --dtype float32)
  local train=(--model test/fixtures/ip2p-tiny/model --size 64 --steps 3 --batch 2 --variants plain --precision no)
  if [ -n "$full" ] && [ "$device" = cuda ]; then
    edit=(--size 512 --steps 20 --rounds 3 --dtype bfloat16 --peers eager,compile)
    train=(--size 256 --steps 12 --batch 4 --variants plain,cached --precision bf16)
  elif [ -n "$full" ]; then
    edit=(--size 256 --steps 3 --dtype bfloat16)
    train=(--size 256 --steps 3 --batch 2 --variants plain --precision bf16)
  fi
  node bench/bench.mjs --device "$device" "${edit[@]}" --output "$bundle/bench-edit.json" > "$bundle/bench-edit.md" ||
    status=$?
  node bench/train.mjs --device "$device" "${train[@]}" --output "$bundle/bench-train.json" > "$bundle/bench-train.md" ||
    status=$?
}

figures() {
  echo "== figures"
  if [ -s "$bundle/figures.jsonl" ]; then node test/gpu/table.mjs "$bundle/figures.jsonl"; fi
  for table in "$bundle"/bench-*.md; do
    [ -s "$table" ] || continue
    echo
    cat "$table"
  done
}

usage() {
  sed -n '2,11p' "$0" >&2
  exit 2
}

if [ "${1:-}" = pack ]; then
  shift
  pack "$@"
  exit
fi
full=
parts=()
for word in "$@"; do
  case "$word" in
    --full) full=1 ;;
    build | bench) parts+=("$word") ;;
    test) parts+=(check) ;;
    *) usage ;;
  esac
done
[ ${#parts[@]} -gt 0 ] || parts=(build check bench)
status=0
mkdir -p "$bundle"
unpack
for part in "${parts[@]}"; do "$part"; done
figures
exit "$status"
