#!/usr/bin/env bash
# Train the demo model for a number of minutes, measure it on held-out tasks and pack the run.
#
#   benchmarks/train_demo.sh OUT MINUTES CORPUS [options of `demo_model train`]
#
# OUT receives the weights in shards of at most 16 MB and rest.tar.gz with everything else (configuration,
# tokenizer, log, evaluation, progress): few files, so that a run can be brought back from a machine that
# returns only those. `--resume` takes such a folder, so one call goes on where the last one ended, or the folder
# of a shipped model; `demo_model export --run OUT --to FOLDER` makes a model folder of it.
set -euo pipefail
out=$1 minutes=$2 corpus=$3
shift 3
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=true

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

pack() {
  mkdir -p "$out"
  rm -f "$out"/*.safetensors
  cp "$work"/run/model/*.safetensors "$out/"
  tar -czf "$out/rest.tar.gz" -C "$work/run" --exclude='*.safetensors' .
  chmod a+r "$out"/*
}

# Every two minutes what is there is packed, so that a call that is cut short is not lost.
mkdir -p "$work/run"
(
  while sleep 120; do
    if [ -f "$work/run/state.json" ]; then pack; fi
  done
) &
packer=$!
status=0
"$python" -m sliminfer.demo_model train --corpus "$corpus" --out "$work/run" --minutes "$minutes" "$@" || status=$?
kill "$packer"
wait "$packer" 2>/dev/null || true
if [ -f "$work/run/state.json" ]; then pack; fi
ls -l "$out"
exit "$status"
