"""DepictQA's own words, from a user's checkout of it."""
