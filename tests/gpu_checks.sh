#!/usr/bin/env bash
# Everything that takes a GPU, in under ten minutes and without a network: the bits, the speed, the image tables.
#
#   tests/gpu_checks.sh [FOLDER]
#
# Needs a Python with emunum's dependencies, those of its tests, and CuPy; emunum itself need not be installed.
# EMUNUM_DATA names the folder with mnist (and cifar10). Results go to FOLDER (gpu_checks); what went wrong
# stands in the last lines, and the exit status says so. BACKEND=cpu rehearses all of it without a GPU.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-gpu_checks}
backend=${BACKEND:-cuda}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$root" || exit 1

# The folders under the names that an installation gives them.
links=$(mktemp -d)
trap 'rm -rf "$links"' EXIT
for folder in cli data paper; do ln -s "$root/$folder" "$links/emunum_$folder"; done
export PYTHONPATH=$root:$links${PYTHONPATH:+:$PYTHONPATH}
emunum=(python3 -m emunum)

failed=()
step() { # step NAME SECONDS COMMAND...: run it, keep what it prints, go on whatever happens
    local name=$1 seconds=$2
    shift 2
    echo "== $name"
    if ! timeout "$seconds" "$@" > "$out/$name.txt" 2> "$out/$name.err"; then
        failed+=("$name")
        tail -n 5 "$out/$name.err"
    fi
    tail -n 15 "$out/$name.txt"
}

step doctor 60 "${emunum[@]}" doctor
step kernels 200 python3 -m pytest -q -p no:cacheprovider --backend "$backend" \
    tests/kernels/test_cuda.py tests/kernels/test_philox.py tests/kernels/test_matmul.py

# Digests: a run on the CPU, then the same on the GPU, compared by `emunum verify`.
run() { # run NAME OPTIONS...
    local name=$1
    shift
    step "cpu-$name" 60 "${emunum[@]}" run "$@" --backend cpu --output "$out/runs" --name "$name" --quiet
    step "same-$name" 60 "${emunum[@]}" verify "$out/runs/$name" --backend "$backend"
}
run diabetes --dataset diabetes --model mlp --format e4m3 --rounding stochastic --epochs 2
for policy in mixed full; do
    for rounding in nearest stochastic; do
        run "cnn-$policy-$rounding" --dataset digits --model cnn --format e4m3 --policy "$policy" \
            --rounding "$rounding" --train-samples 256 --epochs 1
    done
done
run cnn-int8 --dataset digits --model cnn --policy int8 --train-samples 256 --epochs 1
if [[ -d ${EMUNUM_DATA:-}/cifar10 ]]; then
    run resnet20 --dataset cifar10 --model resnet20 --format e4m3 --policy mixed --train-samples 100 --epochs 1
fi
head -n 2 paper/records/regression.jsonl > "$out/regression.jsonl"
step same-records 60 "${emunum[@]}" verify "$out/regression.jsonl" --backend "$backend"

step bench 120 "${emunum[@]}" bench --backend "$backend" --repeats 3
step bench-train 90 "${emunum[@]}" bench train --backend "$backend" --steps 3

# Rows of the image table at ten epochs, as many as there is time for: each is a record that names its device.
if [[ -d ${EMUNUM_DATA:-}/mnist ]]; then
    for row in mixed-e4m3 int8 mixed-float16 mixed-bfloat16 mixed-e5m2 mixed-e4m3-stochastic full-e4m3-stochastic; do
        ((SECONDS < 540)) || break
        step "images-$row" $((600 - SECONDS)) "${emunum[@]}" reproduce images --rerun "$row" --epochs 10 \
            --backend "$backend" --append --records "$out/images.jsonl" --output "$out/runs"
    done
fi

if ((${#failed[@]})); then
    echo "FAILED: ${failed[*]}; see $out" >&2
    exit 1
fi
echo "all the same; results are in $out"
