#!/usr/bin/env bash
# Decoding on one GPU, in under ten minutes: tests of graphs, milliseconds a token over the roofline, end to end.
#
#   benchmarks/decode_gpu.sh OUT
#
# Needs what benchmarks/gpu.sh needs. Each part has its own time limit and writes its own JSON into OUT, so a part that
# fails costs only itself.
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
part tests 80 "$python" -m pytest tests/engine/test_graphs.py tests/kernels/test_kept_attention.py \
  tests/kernels/test_choose_blocks.py tests/kernels/test_gpu.py::test_attention_over_what_a_row_names \
  tests/kernels/test_gpu.py::test_the_choice_among_many_blocks -q -p no:cacheprovider --durations=3
part small 60 "$python" -m benchmarks.decode_roofline --shape qwen2.5-1.5b --tokens 8192 --json "$out/decode_1_5b.json"
part large 120 "$python" -m benchmarks.decode_roofline --tokens 8192,32768 --json "$out/decode_8b.json"
part long 90 "$python" -m benchmarks.decode_roofline --tokens 131072 --variants full,balanced,stock --new-tokens 36 \
  --json "$out/decode_8b_128k.json"
part end_to_end 70 "$python" -m sliminfer bench --shape llama-3.1-8b --lengths 32768 --preset balanced --rounds 2 \
  --new-tokens 512 --json "$out/end_to_end.json"
part cache 60 "$python" benchmarks/cache.py --shape meta-llama/Llama-3.1-8B-Instruct --tokens 32768 --steps 60 \
  --json "$out/cache.json"
# Last, as it may never come back: transformers compiles a static cache anew at each length.
part static 110 "$python" -m benchmarks.decode_roofline --tokens 8192 --variants "stock,stock static" --new-tokens 36 \
  --json "$out/decode_static.json"
exit "$failed"
