"""Names of files and folders in the folder of a run."""

CLIP = "street.mp4"
PICTURES = "pictures"
FIGURES = "figures.json"
GPU_ACCOUNTS = "gpu"
