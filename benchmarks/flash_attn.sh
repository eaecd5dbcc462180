#!/usr/bin/env bash
# flash-attn against the attention that is chosen by default, on one GPU, in under ten minutes with its build.
#
#   benchmarks/flash_attn.sh fetch CARRIED    on a machine with a network: the source package and what it imports
#   benchmarks/flash_attn.sh OUT CARRIED      on a machine with a GPU, nvcc and ninja: build, test, compare
#
# The second needs no network. The build is of the forward kernels in bf16 for heads of 64 and 128 and for this GPU's
# generation alone (benchmarks/flash_attn_build.py).
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
carried=$2
archive=flash_attn-2.8.3.post2.tar.gz
if [ "$1" = fetch ]; then
  mkdir -p "$carried"
  curl -fsSLo "$carried/$archive" \
    "https://files.pythonhosted.org/packages/6c/b1/b77625e3d11260d2bd6a4fc249a4be9a3da97ff848e2222e810c4f0e0211/$archive"
  echo "d0f9f0b08a986cdeadbffcf5ec8b3a8f514366c68ad1853d3ab061bc83cc340b  $carried/$archive" | sha256sum -c || exit 1
  exec "$python" -m pip download --quiet --no-deps --dest "$carried" einops==0.8.1
fi

out=$1
export PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
mkdir -p "$out"
built=$(mktemp -d)
failed=0

part() { # name, seconds, command...
  local name=$1 limit=$2
  shift 2
  echo "== $name ($(date +%T))"
  if ! timeout "$limit" "$@" >"$out/$name.log" 2>&1; then
    failed=1
    echo "-- $name failed or ran out of its $limit s"
  fi
  tail -n 30 "$out/$name.log"
}

part build 330 "$python" benchmarks/flash_attn_build.py "$carried/$archive" "$built"
"$python" -m zipfile -e "$carried"/einops-*.whl "$built"
export PYTHONPATH="$built${PYTHONPATH:+:$PYTHONPATH}"
part tests 60 "$python" -m pytest -m gpu tests/engine/test_flash_attn.py -q -p no:cacheprovider
for attention in flash_attention_2 sdpa; do
  part "$attention" 90 "$python" -m sliminfer bench --shape llama-3.1-8b --lengths 8192,32768 --preset balanced \
    --rounds 3 --new-tokens 32 --attention "$attention" --json "$out/$attention.json"
done
exit "$failed"
