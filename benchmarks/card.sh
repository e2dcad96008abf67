#!/usr/bin/env bash
# What needs a graphics card, in one run: the speed of picking and of its parts, and trainings side by side.
# Usage: ETPICK_BENCHMARK_DATA=… benchmarks/card.sh FOLDER MINUTES, logs and models going to FOLDER.
set -u
cd "$(dirname "$0")/.."
out=$1 minutes=$2
export PYTHONPATH=src:${PYTHONPATH:-} PYTHONUNBUFFERED=1
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
python3 benchmarks/phantom.py --steps 200 --validations 1 --seeds 9 >"$out/short.log" 2>&1 || tail -20 "$out/short.log"
timeout 60 python3 benchmarks/speed.py runs/phantom-fast-9 --ways cuda paper-cuda >"$out/speed.log" 2>&1
grep -E '^(cuda|paper-cuda) |Error' "$out/speed.log"
timeout 60 python3 benchmarks/in_flight.py runs/phantom-fast-9 >"$out/in-flight.log" 2>&1
tail -12 "$out/in-flight.log"
timeout 120 python3 benchmarks/card_networks.py runs/phantom-fast-9 >"$out/networks.log" 2>&1
export OMP_NUM_THREADS=2
train() {
    python3 benchmarks/phantom.py --minutes "$minutes" --validations 6 "$@" >"$out/seed-${!#}.log" 2>&1
    cp -r "runs/phantom-fast-${!#}" "$out/"
}
for seed in 0 1 2; do train --batch 8 --seeds $seed & done
train --batch 14 --set patch_vx=40 --seeds 3 &
wait
for seed in 0 1 2 3; do
    echo "seed $seed"
    sed -n '/"runs"/,$p' "$out/seed-$seed.log" | grep -E 'Error|"(steps|minutes|localisation_f1|precision|recall|distance_vx|mean_class_f1|average_precision|right_class|calibration_error)"'
done
