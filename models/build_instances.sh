#!/usr/bin/env bash
# Train and export the models of models/nuclei_instances, one after another, from the repository's
# root:
#   bash models/build_instances.sh DATA_FOLDER CHECKPOINT_FOLDER
# DATA_FOLDER holds one folder a domain, CHECKPOINT_FOLDER receives checkpoints and metrics.
# Needs `pip install 'onnx-cte[train]'`; PYTHON names another interpreter than `python`.
set -euo pipefail
data=${1:?the folder of the domains} checkpoints=${2:?a folder for the checkpoints}
python=${PYTHON:-python}

build() { # NAME DOMAIN SIGMOID THREADS (another number of them gives other weights of like quality)
    "$python" tools/train_unet.py "$data/$2" "$checkpoints/$1" --steps 600 --seed 0 --objects \
        --threads "$4"
    "$python" tools/export_torch.py "$checkpoints/$1/checkpoint.pt" "models/nuclei_instances/$1" \
        --sigmoid "$3" --index models/index.csv
}

build fibro nuc_dsb_fibro zoo 2
build large360 nuc_dsb_large360 graph 2
build u2os_dense nuc_dsb_u2os_dense zoo 1
build clustered nuc_dsb_clustered graph 1
build cfos_wue1 nuc_cfos_wue1 graph 1
build stain_lilac nuc_dsb_stain_lilac zoo 1
