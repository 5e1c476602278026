#!/usr/bin/env bash
# Make the model that ships with the package anew (docs/model_card.md), about two hours on two busy cores:
#   bash env.sh bash tools/make_model.sh LARGE SMALL ROOT [MODEL.safetensors]
# LARGE: folder of the 23 CC0 photographs of 4096 px, SMALL: of the 62 of 2048 px (docs/model_card.md names them).
# The encoders come first, and stay as they are in mmifn/encoders/weights unless made anew:
#   bash env.sh python tools/adapt_encoders.py --encoder lite0_adapted --root ROOT --panoramas SMALL --versions 36 --epochs 4
# and vit_nano and vmamba_nano, which it teaches, as docs/experiments.md says.
set -euo pipefail
large="$1" small="$2" root="$3" model="${4:-mmifn/scoring/weights/offline.safetensors}"
cd "$(dirname "$0")/.."

# Scenes that share no place with those that encoders and words learnt from (docs/adaptation_scenes.txt), nor with those kept
# for measuring (docs/held_out_scenes.txt). At 4096 px, where people judged; nine of these scenes also reduced to 2048; others at 2048.
nine=charolettenbrunn_park,derelict_airfield_01,docklands_02,horn_koppe_spring,monochrome_studio_02,museumplein,signal_hill_dawn
nine+=,spiaggia_di_mondello,sunny_rose_garden
six=docklands_02,horn_koppe_spring,museumplein,signal_hill_dawn,spiaggia_di_mondello,sunny_rose_garden
five=charolettenbrunn_park,derelict_airfield_01,monochrome_studio_02,museumplein,sunny_rose_garden
cviq_small=art_studio,blaubeuren_night,georgentor,hansaplatz,pillars,pool,stone_alley,sunset_forest
oiqa_small=aft_lounge,ninomaru_teien,palermo_sidewalk,portland_landing_pad,quattro_canti,small_cave,urban_alley_01,vignaioli_night
four=docklands_02,horn_koppe_spring,museumplein,spiaggia_di_mondello
broad_small=wooden_lounge,st_fagans_interior,viale_giuseppe_garibaldi,schadowplatz,roof_garden,pink_sunrise
simulate() { python simulate_dataset.py --root "$root" "$@"; }
simulate --like CVIQ --dataset CVIQ4K --panoramas "$large" --only-scenes "$nine" --height 2048 --levels 1,4,7,9,11
simulate --like OIQA --dataset OIQA4K --panoramas "$large" --only-scenes "$five" --height 2048 --levels 1,3,5
simulate --like BROAD --dataset BROAD4K --panoramas "$large" --only-scenes "$four" --height 2048
simulate --like CVIQ --dataset CVIQ4R --panoramas "$large" --only-scenes "$nine" --height 1024 --levels 1,7
# Of 8192 px there are no sources: four scenes enlarged, which codecs treat as an 8K file, though there is no finer detail in them.
python - "$large" "$root/enlarged" "${four//,/ }" <<'PY'
import sys
from pathlib import Path
from PIL import Image
source, target, scenes = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split()
target.mkdir(parents=True, exist_ok=True)
for scene in scenes:
    Image.open(next(source.glob(f"{scene}.*"))).convert("RGB").resize((8192, 4096), Image.Resampling.LANCZOS).save(target / f"{scene}.png")
PY
simulate --like CVIQ --dataset CVIQ8K --panoramas "$root/enlarged" --only-scenes "$four" --height 4096 --levels 3,6,9
simulate --like CVIQ --dataset CVIQ2K --panoramas "$small" --only-scenes "$cviq_small" --levels 1,4,7,9,11
simulate --like OIQA --dataset OIQA2K --panoramas "$small" --only-scenes "$oiqa_small" --levels 1,3,5
simulate --like BROAD --dataset BROAD2K --panoramas "$small" --only-scenes "$broad_small"
# Distortions beyond what people judged, which no model may take for mild ones.
simulate --like EXTREME --dataset EXTREME4K --panoramas "$large" --only-scenes "$four" --height 2048
simulate --like EXTREME --dataset EXTREME2K --panoramas "$small" --only-scenes "$oiqa_small"
# Faults of cameras and stitchers: their labels are of another kind, so fusion does not learn from them, but a correction does.
authentic=aft_lounge,art_studio,blaubeuren_night,georgentor,hansaplatz,palermo_sidewalk,pink_sunrise,pool,schadowplatz,small_cave
for seed in 0 1; do
    simulate --like AUTHENTIC --dataset AUTH2K$seed --panoramas "$small" --seed $seed --only-scenes "$authentic,stone_alley,vignaioli_night"
done
others=ninomaru_teien,portland_landing_pad,quattro_canti,urban_alley_01,pillars,sunset_forest,wooden_lounge,st_fagans_interior
others+=,viale_giuseppe_garibaldi,roof_garden,san_giuseppe_bridge,reinforced_concrete_01
simulate --like LENSES --dataset LENSES2K --panoramas "$small" --only-scenes "$others"
simulate --like AUTHENTIC --dataset AUTH4K --panoramas "$large" --only-scenes "$six" --height 2048
# Parts of the sphere, whose views have labels of their own.
parted=art_studio,blaubeuren_night,georgentor,hansaplatz,pillars,pool,stone_alley,sunset_forest,aft_lounge,ninomaru_teien
parted+=,palermo_sidewalk,portland_landing_pad,quattro_canti,small_cave,urban_alley_01,vignaioli_night,wooden_lounge
parted+=,st_fagans_interior,viale_giuseppe_garibaldi,schadowplatz,roof_garden,pink_sunrise
simulate --like REGIONAL --dataset REGIONAL2K --panoramas "$small" --only-scenes "$parted"
simulate --like REGIONAL --dataset REGIONAL4K --panoramas "$large" --only-scenes "$six" --height 2048
# And more flawless ones at both sizes, and copies that nobody made worse, which no correction may take for faulty.
simulate --like FLAWLESS --dataset FLAWLESS4K --panoramas "$large" --only-scenes "$nine" --height 2048
simulate --like FLAWLESS --dataset FLAWLESS2K --panoramas "$small" --only-scenes "$others"
simulate --like HARMLESS --dataset HARMLESS4K --panoramas "$large" --only-scenes "$nine" --height 2048
simulate --like HARMLESS --dataset HARMLESS2K --panoramas "$small" --only-scenes "$parted"

parts=(CVIQ8K CVIQ4K OIQA4K BROAD4K CVIQ4R CVIQ2K OIQA2K BROAD2K EXTREME4K EXTREME2K FLAWLESS4K FLAWLESS2K)
faulty=(AUTH2K0 AUTH2K1 LENSES2K AUTH4K REGIONAL2K REGIONAL4K HARMLESS2K HARMLESS4K)
for dataset in "${parts[@]}" "${faulty[@]}"; do
    for stage in generate_text.py "viewport_encoder.py --no-png" global_feature_extractor.py; do
        python $stage --root "$root" --dataset $dataset --preset offline
    done
done
python text_encoder.py --root "$root" --preset offline
python tools/merge_databases.py --root "$root" --datasets "${parts[@]}" --into FUSION
python tools/merge_databases.py --root "$root" --datasets "${parts[@]}" "${faulty[@]}" --into ALL

# Ten splits by place give scores of places never trained on. The model itself learns from all places but two; how many epochs
# are enough was seen on the ten splits' validation scenes (docs/model_card.md).
training=(--root "$root" --config compact --global-dropout 0.8 --late 5 --last-epoch --device cpu)
python evaluate.py "${training[@]}" --datasets FUSION --without-full-reference --without-statistics
python gff_module.py "${training[@]}" --whole --dataset FUSION
python lff_module.py "${training[@]}" --whole --dataset FUSION
python train.py "${training[@]}" --whole --dataset FUSION --test-dataset none
python tools/export_model.py "$root/checkpoints/mmifn_best.pth" --calibration "$root/results/predictions.csv" \
    --labels-count-size --out "$root/checkpoints/uncorrected.safetensors"

# The last five numbers of a view (what people mind, steps between lenses, doubled contours) are the correction's.
python tools/correct_model.py "$root/checkpoints/uncorrected.safetensors" --root "$root" --dataset ALL --out "$model"
python benchmarks/sizes.py --panoramas "$large" --scenes docs/held_out_scenes.txt --checkpoint "$model"
python benchmarks/lenses.py --panoramas "$small" --scenes docs/held_out_scenes.txt --checkpoint "$model"
