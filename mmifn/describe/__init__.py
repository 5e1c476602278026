"""Words about quality: from DepictQA, from a vision-language model, or from measurements; and where they are kept."""
