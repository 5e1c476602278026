"""The trainable part of MMIFN: GFF, LFF, AFM and every ablation variant, by configuration."""
