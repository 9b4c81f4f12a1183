#!/usr/bin/env bash
# Train and export the models of models/nuclei, one after another, from the repository's root:
#   bash models/build_nuclei.sh DATA_FOLDER CHECKPOINT_FOLDER
# DATA_FOLDER holds one folder a domain, CHECKPOINT_FOLDER receives checkpoints and metrics.
# Needs `pip install 'onnx-cte[train]'`; PYTHON names another interpreter than `python`.
set -euo pipefail
data=${1:?the folder of the domains} checkpoints=${2:?a folder for the checkpoints}
python=${PYTHON:-python}

build() { # NAME DOMAIN SIGMOID
    "$python" tools/train_unet.py "$data/$2" "$checkpoints/$1" --steps 700 --seed 0
    "$python" tools/export_torch.py "$checkpoints/$1/checkpoint.pt" "models/nuclei/$1" \
        --sigmoid "$3" --index models/index.csv
}

build fibro nuc_dsb_fibro zoo
build large360 nuc_dsb_large360 graph
build u2os_dense nuc_dsb_u2os_dense zoo
build brightfield nuc_dsb_brightfield graph
build stain_lilac nuc_dsb_stain_lilac zoo
build cfos_wue1 nuc_cfos_wue1 graph
