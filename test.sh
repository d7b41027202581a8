#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds and runs all tests. The last line is "N passed, N failed"; exit 1 if one failed.
#   ./test.sh [STAGE...]     stages: release asan fuzz tsan aarch64 (default: all of them, in this order)
#   release  g++, every test, the layer check, the installed package
#   asan     clang, warnings as errors, address and undefined-behaviour sanitizers: every test but those of whole models,
#            with smaller tiles in the AVX-512 products (addresses without lines: preset asan-ubsan has them)
#   fuzz     the fuzz targets of the same build, FUZZ_SECONDS (default 10) each
#   tsan     thread sanitizer: thread pool, kernels, model, generation
#   aarch64  cross build of base, format, codec and kernels; their tests under qemu
# Full logs are in build/logs.
set -u
cd "$(dirname "$0")" || exit 2
. tools/setup.sh

stages=("$@")
[ ${#stages[@]} -eq 0 ] && stages=(release asan fuzz tsan aarch64)
for stage in "${stages[@]}"; do
  case "$stage" in
    release | asan | fuzz | tsan | aarch64) ;;
    *) echo "test.sh: no stage '$stage'; there are: release asan fuzz tsan aarch64" >&2; exit 2 ;;
  esac
done

logs="$PWD/build/logs"
jobs="$(nproc)"
passed=0
failed=0
mkdir -p "$logs"

say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

finish() {
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
  exit
}

# build STAGE PRESET [CMAKE ARGUMENTS]: a failure counts as one failed test.
build() {
  local stage="$1" preset="$2" log="$logs/$1-build.log" start=$SECONDS
  shift 2
  say "$stage: building"
  if cmake --preset "$preset" "$@" >"$log" 2>&1 && cmake --build --preset "$preset" -j "$jobs" >>"$log" 2>&1; then
    say "$stage: built in $((SECONDS - start)) s"
    return 0
  fi
  failed=$((failed + 1))
  say "$stage: BUILD FAILED, see $log"
  grep -n -m 20 -A 12 -E '^FAILED|error:|CMake Error' "$log" | head -n 80
  tail -n 5 "$log"
  return 1
}

# run_tests STAGE PRESET [PREFIX COMMAND]: ctest, with every gtest case counted.
run_tests() {
  local stage="$1" preset="$2" start=$SECONDS results="$logs/$1-results" summary counts
  shift 2
  rm -rf "$results" "$logs/$stage-junit.xml"
  mkdir -p "$results"
  GTEST_OUTPUT="xml:$results/" UBSAN_OPTIONS=print_stacktrace=1 "$@" ctest --test-dir "build/$preset" -j "$jobs" \
    --timeout 600 --no-tests=error --test-output-size-passed 1000000 --test-output-size-failed 1000000 \
    --output-junit "$logs/$stage-junit.xml" >"$logs/$stage-test.log" 2>&1
  summary="$(python3 tools/test_summary.py "$logs/$stage-junit.xml" "$results")"
  counts="$(tail -n 1 <<<"$summary")"
  head -n -1 <<<"$summary"
  read -r p f s <<<"$counts"
  passed=$((passed + p))
  failed=$((failed + f))
  say "$stage: $p passed, $f failed$([ "$s" -gt 0 ] && echo ", $s skipped") in $((SECONDS - start)) s"
}

# Each target is one test; as many at once as there are CPUs.
run_fuzzers() {
  local start=$SECONDS seconds="${FUZZ_SECONDS:-10}" work="$PWD/build/fuzz/corpus" target name good=0 bad=0
  local -a names=()
  for target in build/fuzz/fuzz/fuzz_*; do
    [ -f "$target" ] && [ -x "$target" ] || continue
    name="$(basename "$target")"
    names+=("$name")
    mkdir -p "$work/$name"
    rm -f "$work/$name.good"
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    (
      seeds="fuzz/corpus/${name#fuzz_}"
      [ -d "$seeds" ] || seeds=""
      timeout $((seconds + 60)) "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$logs/$name-" "$work/$name" $seeds >"$logs/$name.log" 2>&1 && touch "$work/$name.good"
    ) &
  done
  wait
  for name in "${names[@]}"; do
    if [ -e "$work/$name.good" ]; then
      good=$((good + 1))
    else
      bad=$((bad + 1))
      echo "--- $name failed, see $logs/$name.log:"
      grep -v '^#[0-9]' "$logs/$name.log" | tail -n 60 | sed 's/^/    /'
    fi
  done
  if [ ${#names[@]} -eq 0 ]; then
    bad=1
    echo "--- no fuzz target was built"
  fi
  passed=$((passed + good))
  failed=$((failed + bad))
  say "fuzz: $good passed, $bad failed in $((SECONDS - start)) s"
}

run_stage() {
  case "$1" in
    release) build release release -DCODECLLM_TESTS=ON -DCODECLLM_BENCH=OFF && run_tests release release ;;
    asan) build asan fuzz -DCODECLLM_BENCH=OFF && run_tests asan fuzz ;;
    fuzz) build fuzz fuzz -DCODECLLM_BENCH=OFF && run_fuzzers ;;
    tsan)
      # Some kernels place mappings where this sanitizer keeps its shadow, unless told not to randomize.
      local -a fixed=()
      setarch "$(uname -m)" -R true 2>/dev/null && fixed=(setarch "$(uname -m)" -R)
      # Minutes of numbers; other tests run the same products on as many threads.
      build tsan tsan &&
        GTEST_FILTER='-*ProductsAreWhatTheFormulaGives*:*EveryShape*:*EveryCode*:*IntegerProducts*:Matrix.*:Utf8.*' \
          run_tests tsan tsan ${fixed[@]+"${fixed[@]}"}
      ;;
    aarch64) build aarch64 aarch64 && run_tests aarch64 aarch64 ;;
  esac
}

if ! setup_packages build tests; then
  failed=1
  finish
fi
for stage in "${stages[@]}"; do run_stage "$stage"; done
finish
