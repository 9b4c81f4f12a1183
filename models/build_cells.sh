#!/usr/bin/env bash
# Train and export a bank of models of cells, axons and membranes, for benchmarks, from the
# repository's root:
#   bash models/build_cells.sh DATA_FOLDER CHECKPOINT_FOLDER
# The models land in models/built/cells, which git ignores: these weights are not shipped, since the
# licences of the data under membrane_vnc (non-commercial, share alike) and cell_cornea_alizarine
# (research with citation) do not allow it freely, and half a bank is none.
#
# Membranes of a pixel's width part the cells of the cornea: objects hang together by faces alone.
# Of each domain two models: "std", and "few", trained for 150 steps on a quarter of the images.
# DATA_FOLDER holds one folder a domain, CHECKPOINT_FOLDER receives checkpoints and metrics.
# Needs `pip install 'onnx-cte[train]'`; PYTHON names another interpreter than `python`.
set -euo pipefail
data=${1:?the folder of the domains} checkpoints=${2:?a folder for the checkpoints}
python=${PYTHON:-python}

build() { # NAME DOMAIN SIGMOID STEPS OPTION...
    local name=$1 domain=$2 sigmoid=$3 steps=$4
    shift 4
    "$python" tools/train_unet.py "$data/$domain" "$checkpoints/$name" \
        --steps "$steps" --seed 0 --threads 1 --objects --connectivity face "$@"
    "$python" tools/export_torch.py "$checkpoints/$name/checkpoint.pt" \
        "models/built/cells/$name" --sigmoid "$sigmoid"
}

both() { # DOMAIN SIGMOID OPTION...
    local domain=$1 sigmoid=$2
    shift 2
    build "${domain}_std" "$domain" "$sigmoid" 350 "$@"
    build "${domain}_few" "$domain" "$sigmoid" 150 --share 0.25 "$@"
}

# Beside them networks that saw several domains: all four, and all but one.
mixed() { # NAME DOMAIN SIGMOID [--boundary labels] --also DOMAIN...
    local name=$1 domain=$2 sigmoid=$3
    shift 3
    build "$name" "$domain" "$sigmoid" 500 "$@"
}

both membrane_vnc zoo --boundary labels
both cell_phase_t98g graph
both cell_cornea_alizarine zoo --boundary labels
both axon_sem graph

phase="$data/cell_phase_t98g"
cornea="$data/cell_cornea_alizarine=labels" axon="$data/axon_sem"
mixed all membrane_vnc zoo --boundary labels --also "$phase" --also "$cornea" --also "$axon"
mixed no_membrane_vnc cell_phase_t98g zoo --also "$cornea" --also "$axon"
mixed no_cell_phase_t98g membrane_vnc zoo --boundary labels --also "$cornea" --also "$axon"
mixed no_cell_cornea_alizarine membrane_vnc zoo --boundary labels --also "$phase" --also "$axon"
mixed no_axon_sem membrane_vnc zoo --boundary labels --also "$phase" --also "$cornea"
