#!/usr/bin/env bash
# Every method beside sliminfer on a real model, at equal FLOPs with a draft's included: one command for GPUs.
#
#   benchmarks/rivals.sh MODEL DRAFT OUT [PROCESSES]
#
# MODEL and DRAFT are named as for `sliminfer eval`; PROCESSES share the GPUs of this machine (default: one a GPU; a
# 1.5B model and its draft take a dozen an H100). Finished examples are kept: the same command goes on where it stopped.
# Times come from processes that share a GPU; for TTFT run with one process a GPU. On one H100 the whole takes some hours.
set -euo pipefail
model=$1 draft=$2 out=$3
cd "$(dirname "$0")/.."
processes=${4:-$(nvidia-smi --list-gpus | wc -l)}
mkdir -p "$out"
suites=needle,multikey,multikey16,ruler/niah_multikey_2,ruler/niah_multivalue,ruler/qa_1,ruler/qa_2,ruler/vt
ours=sliminfer,adaptive,sliminfer-draft,self-draft
rivals=specprefill,bm25,claa,asl,fastkv,lazyllm,gemfilter,keydiff,streaming
ask=(torchrun --nproc_per_node "$processes" -m sliminfer eval --model "$model" --draft "$draft" --suite "$suites")

for length in 4096 8192 16384 32768; do
  examples=$((length <= 8192 ? 20 : 10))
  # As published, and with the queries of the question: of the two each method counts with the better.
  "${ask[@]}" --context $length --examples $examples --match-flops 2,2.75,3.5 --methods "$ours,$rivals" \
    --json "$out/rivals_$length.json"
  "${ask[@]}" --context $length --examples $examples --match-flops 2,2.75,3.5 \
    --methods specprefill,claa,asl,fastkv,lazyllm,gemfilter --query-window question \
    --json "$out/rivals_question_$length.json"
done
torchrun --nproc_per_node "$processes" benchmarks/answer_overlap.py --model "$model" --draft "$draft" --suite "$suites" \
  --context 4096,16384 --examples 5 --match-flops 2,2.75 --methods "$ours,$rivals" --json "$out/answer_overlap.json"
python benchmarks/large_models.py --json "$out/large_models.json" --page docs/comparison.md
