#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs a build into a temporary directory, builds examples/embed against it and runs both programs on a model;
# checks that the shared library exports nothing but CodecLLM's own names.
#   tools/check_install.sh [BUILD_DIR [MODEL_DIR]]
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
build="${1:-$root/build/release}"
model="${2:-$root/models/codecllm-stories}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

fail() { echo "check_install: $*" >&2; exit 1; }

cmake --install "$build" --prefix "$work/prefix" >"$work/install.log" || { cat "$work/install.log"; fail "cmake --install"; }
library="$(find "$work/prefix" -name 'libcodecllm.so' | head -n 1)"
[ -n "$library" ] || fail "no libcodecllm.so was installed"

# A name is ours if it is codecllm_something, a member of namespace codecllm, or the type information of one.
nm -D --defined-only "$library" | awk '{print $NF}' | sed 's/@.*//' >"$work/names"
[ -s "$work/names" ] || fail "libcodecllm.so exports nothing"
grep -vE '^(codecllm_|_ZT[IVST]N8codecllm|_ZN[KVRO]*8codecllm)' "$work/names" >"$work/foreign" || true
if [ -s "$work/foreign" ]; then
  echo "foreign symbols in $library:"
  head -n 20 "$work/foreign" | c++filt
  fail "$(wc -l <"$work/foreign") exported symbols are not CodecLLM's"
fi

if grep -rnE '#include *["<](fmt|nlohmann|CLI|unicode|gtest)' "$work/prefix/include"; then
  fail "an installed header includes a third-party header"
fi

generator=()
command -v ninja >/dev/null && generator=(-G Ninja)
if ! { cmake -S "$root/examples/embed" -B "$work/embed" ${generator[@]+"${generator[@]}"} \
         -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$work/prefix" &&
       cmake --build "$work/embed"; } >"$work/embed.log" 2>&1; then
  cat "$work/embed.log"
  fail "examples/embed does not build against the installed package"
fi
for program in embed embed_c; do
  arguments=("$model")
  [ "$program" = embed ] && arguments+=("$work/quantized")
  output="$("$work/embed/$program" "${arguments[@]}")" || fail "$program failed on $model"
  [ -n "$output" ] || fail "$program printed nothing"
  printf '%s: %s\n' "$program" "$output"
done
echo "check_install: $(wc -l <"$work/names") exported symbols, all CodecLLM's; both programs ran"
