#!/usr/bin/env bash
# Train and export a bank of models of mitochondria in electron microscopy, for benchmarks, from the
# repository's root:
#   bash models/build_mitochondria.sh DATA_FOLDER CHECKPOINT_FOLDER
# The models land in models/built/mitochondria, which git ignores: the licences of the data (mito_vnc
# is non-commercial, share alike; mito_hela is GPL-3.0) do not allow shipping these weights freely.
#
# Of each domain three models: "std", "few", trained for 150 steps on a quarter of the images, and
# "thin", with half the channels and no dropout; and one that saw both domains.
# DATA_FOLDER holds one folder a domain, CHECKPOINT_FOLDER receives checkpoints and metrics.
# Needs `pip install 'onnx-cte[train]'`; PYTHON names another interpreter than `python`.
set -euo pipefail
data=${1:?the folder of the domains} checkpoints=${2:?a folder for the checkpoints}
python=${PYTHON:-python}

build() { # NAME DOMAIN SIGMOID OPTION...
    local name=$1 domain=$2 sigmoid=$3
    shift 3
    "$python" tools/train_unet.py "$data/$domain" "$checkpoints/$name" --seed 0 --threads 1 "$@"
    "$python" tools/export_torch.py "$checkpoints/$name/checkpoint.pt" \
        "models/built/mitochondria/$name" --sigmoid "$sigmoid"
}

for domain in mito_vnc mito_hela; do
    build "${domain}_std" "$domain" zoo --steps 500
    build "${domain}_few" "$domain" graph --steps 150 --share 0.25
    build "${domain}_thin" "$domain" zoo --steps 300 --features 8 16 32 48 --dropout 0
done
build both mito_vnc graph --steps 500 --also "$data/mito_hela"
