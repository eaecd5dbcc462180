#!/usr/bin/env bash
# Everything that only a GPU can tell, in under ten minutes: GPU tests, kernel times, TTFT and decode figures.
#
#   benchmarks/gpu.sh OUT
#
# Needs torch with CUDA, triton, transformers, numpy, psutil, typer, rich and pytest; no network, no gradio.
# Each part has its own time limit and writes its own JSON into OUT, so a part that fails costs only itself.
set -uo pipefail
out=$1
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
mkdir -p "$out"
failed=0

part() { # name, seconds, command...
  local name=$1 limit=$2
  shift 2
  echo "== $name ($(date +%T))"
  if ! timeout "$limit" "$@" >"$out/$name.log" 2>&1; then
    failed=1
    echo "-- $name failed or ran out of its $limit s"
  fi
  tail -n 40 "$out/$name.log"
}

nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
part tests 90 "$python" -m pytest -m gpu tests/kernels tests/cache tests/test_attention.py -q -p no:cacheprovider --durations=3
part cache 70 "$python" benchmarks/cache.py --shape meta-llama/Llama-3.1-8B-Instruct --tokens 32768 --steps 60 \
  --json "$out/cache.json"
# Decoding is bound by the host's launches, 30 ms a token and more: 512 tokens of three variants take two minutes.
part end_to_end 170 "$python" -m sliminfer bench --shape llama-3.1-8b --lengths 32768 --preset paper --rounds 1 \
  --new-tokens 512 --against hf --json "$out/end_to_end.json"
part ttft 80 "$python" -m sliminfer bench --shape llama-3.1-8b --lengths 8192,32768 --preset paper,aggressive \
  --rounds 3 --against hf --json "$out/ttft.json"
part ttft_128k 90 "$python" -m sliminfer bench --shape llama-3.1-8b --lengths 131072 --preset paper,aggressive \
  --rounds 1 --against hf --json "$out/ttft_128k.json"
part kernels 80 "$python" benchmarks/kernel_times.py --tokens 32768 --json "$out/kernels.json"
rm -f "$out"/{ttft_128k,end_to_end,cache}.log  # their tables are in the JSON; few files come back
exit "$failed"
