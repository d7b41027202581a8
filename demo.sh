#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds the codecllm command and shows it on the model in models/codecllm-stories.
#   ./demo.sh [--keep DIR]     DIR keeps the quantized models
set -eu
cd "$(dirname "$0")"
. tools/setup.sh
setup_packages build
mkdir -p build/logs
echo "building codecllm: some minutes the first time (log: build/logs/demo-build.log)"
if ! { cmake --preset release -DCODECLLM_TESTS=OFF -DCODECLLM_BENCH=OFF &&
       cmake --build --preset release --target codecllm_cli -j "$(nproc)"; } >build/logs/demo-build.log 2>&1; then
  grep -E -A 12 '^FAILED|error:|CMake Error' build/logs/demo-build.log | head -n 60
  echo "demo.sh: the build failed, see build/logs/demo-build.log" >&2
  exit 1
fi
echo "built build/release/codecllm in $SECONDS s"
exec python3 tools/demo.py "$@"
