"""What every room stands on: errors, files, artefacts, workers, and which code ran."""
