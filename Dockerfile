# Two images from one file:
#   docker build --target operator -t midwatch-operator .
#   docker build --target worker   -t midwatch-worker .
# BASE is one place for both; pin it by digest where images are released:
#   --build-arg BASE=python:3.11-slim-bookworm@sha256:...
ARG BASE=python:3.11-slim-bookworm

# What needs a build tool stays here.
FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml setup.py MANIFEST.in constraints.txt README.md LICENSE ./
COPY ops ops
COPY rca rca
COPY coldstart coldstart
COPY serving serving
COPY manifests manifests
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /dist /src

# Installed from outside: the environment itself never holds pip or setuptools.
FROM build AS operator-packages
RUN python -m venv --without-pip /opt/midwatch \
 && wheel="$(echo /dist/midwatch-*.whl)" \
 && python -m pip --python /opt/midwatch/bin/python install --no-cache-dir \
    -c constraints.txt "${wheel}[operator]"

# EXTRAS=operator leaves torch out: the linear model of causes stands in, and reports say so.
# A wheel without CUDA is smaller: --build-arg INDEX=https://download.pytorch.org/whl/cpu
FROM build AS worker-packages
ARG EXTRAS=operator,models
ARG INDEX=
RUN python -m venv --without-pip /opt/midwatch \
 && wheel="$(echo /dist/midwatch-*.whl)" \
 && PIP_EXTRA_INDEX_URL="${INDEX}" \
    python -m pip --python /opt/midwatch/bin/python install --no-cache-dir \
    -c constraints.txt "${wheel}[${EXTRAS}]"

FROM ${BASE} AS runtime
ENV PATH=/opt/midwatch/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    HOME=/nonexistent
USER 65532:65532
WORKDIR /
ENTRYPOINT ["midwatch"]

FROM runtime AS operator
COPY --from=operator-packages /opt/midwatch /opt/midwatch
CMD ["operator", "run"]

FROM runtime AS worker
COPY --from=worker-packages /opt/midwatch /opt/midwatch
CMD ["operator", "worker"]
