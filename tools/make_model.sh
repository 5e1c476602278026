#!/usr/bin/env bash
# Make the model that ships with the package anew (docs/model_card.md), about an hour and a half on two cores:
#   bash env.sh bash tools/make_model.sh PANORAMAS ROOT [MODEL.safetensors]
# The encoders come first, and stay as they are in mmifn/encoders/weights unless made anew:
#   bash env.sh python tools/adapt_encoders.py --encoder lite0_adapted --root ROOT --panoramas PANORAMAS --versions 36 --epochs 4
set -euo pipefail
panoramas="$1" root="$2" model="${3:-mmifn/scoring/weights/offline.safetensors}"
cd "$(dirname "$0")/.."

# Two databases of the designs, and pairs of distortions and other kinds on all their scenes; no scene of any of them, nor
# of their places, was ever seen by the encoders or by the calibration of the measured words.
simulate() { python simulate_dataset.py --root "$root" --panoramas "$panoramas" "$@"; }
simulate --like OIQA --scenes 16 --seed 0 --exclude-scenes docs/calibration_scenes.txt
{ cat docs/calibration_scenes.txt; ls "$root/datasets/OIQA/references" | sed 's/\.[^.]*$//'; } > "$root/taken.txt"
simulate --like CVIQ --scenes 16 --seed 1 --exclude-scenes "$root/taken.txt"
simulate --like BROAD --scenes 33 --seed 2 --exclude-scenes docs/adaptation_scenes.txt

for dataset in OIQA CVIQ BROAD; do
    for stage in generate_text.py "viewport_encoder.py --no-png" global_feature_extractor.py; do
        python $stage --root "$root" --dataset $dataset --preset offline
    done
done
python text_encoder.py --root "$root" --preset offline
python tools/merge_databases.py --root "$root" --datasets OIQA CVIQ BROAD --into ALL

# Ten splits by place give scores of places never trained on; the model is that of the first split.
training=(--root "$root" --config compact --device cpu)
python evaluate.py "${training[@]}" --datasets ALL --without-full-reference --without-statistics
python gff_module.py "${training[@]}" --dataset ALL
python lff_module.py "${training[@]}" --dataset ALL
python train.py "${training[@]}" --dataset ALL --test-dataset none
python tools/export_model.py "$root/checkpoints/mmifn_best.pth" --calibration "$root/results/predictions.csv" --out "$model"
python benchmarks/model.py --root "$root" --checkpoint "$model"
