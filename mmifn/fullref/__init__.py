"""Full-reference quality on the sphere: the metrics, and whole databases measured by them."""
