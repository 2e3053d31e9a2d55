# Touchstone's images, by stage (docs/deploy.md):
#
#   docker build --tag touchstone:serve .                  serving on CPUs
#   docker build --target gpu   --tag touchstone:gpu .     serving on GPUs
#   docker build --target train --tag touchstone:train .   rounds of training
#   docker build --target ray   --tag touchstone:ray .     a node of a Ray cluster
#
# The server's environment is /opt/touchstone, the candidates' is /opt/candidates: what the server imports, no candidate
# can. Both are root's and are run by another user. What is in them stands in deploy/image/*.txt, by hash.

ARG BASE=docker.io/library/debian:bookworm-20251229-slim

FROM ${BASE} AS base
ARG DEBIAN_FRONTEND=noninteractive
ENV PATH=/opt/touchstone/bin:$PATH PYTHONUNBUFFERED=1
# tini: the first process of a container has to collect orphans, and the server is not made for that.
# Debian's packages are not pinned: it keeps one version of each, so a pin fails on the day of the next fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get upgrade --yes \
    && apt-get install --yes --no-install-recommends ca-certificates python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/touchstone touchstone \
    && install --directory --owner touchstone --group touchstone --mode 0700 /var/lib/touchstone \
    && install --directory /etc/touchstone

# The environments, and the wheel of this tree. The secret `pip` is a pip.conf, for those with an index of their own.
FROM base AS tools
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY deploy/image/build.txt deploy/image/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --requirement deploy/image/build.txt \
    && python3 -m venv --without-pip /opt/touchstone

FROM tools AS candidates
# Packages that candidates may import, as pip names them: --build-arg CANDIDATE_PACKAGES="numpy==2.4.6 pandas".
ARG CANDIDATE_PACKAGES=""
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv --without-pip /opt/candidates \
    && for package in $CANDIDATE_PACKAGES; do \
        /opt/build/bin/pip --python /opt/candidates/bin/python install "$package" || exit 1; \
    done

FROM tools AS wheel
COPY . .
RUN /opt/build/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /wheel .

FROM tools AS serve-environment
COPY deploy/image/serve.txt deploy/image/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/build/bin/pip --python /opt/touchstone/bin/python install --require-hashes --requirement deploy/image/serve.txt
COPY --from=wheel /wheel /wheel
RUN /opt/build/bin/pip --python /opt/touchstone/bin/python install --no-deps /wheel/*.whl

FROM tools AS gpu-environment
COPY deploy/image/gpu.txt deploy/image/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/build/bin/pip --python /opt/touchstone/bin/python install --require-hashes --requirement deploy/image/gpu.txt
COPY --from=wheel /wheel /wheel
RUN /opt/build/bin/pip --python /opt/touchstone/bin/python install --no-deps /wheel/*.whl

FROM tools AS train-environment
COPY deploy/image/train.txt deploy/image/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/build/bin/pip --python /opt/touchstone/bin/python install --require-hashes --requirement deploy/image/train.txt
COPY --from=wheel /wheel /wheel
RUN /opt/build/bin/pip --python /opt/touchstone/bin/python install --no-deps /wheel/*.whl

FROM tools AS ray-environment
COPY deploy/image/ray.txt deploy/image/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/build/bin/pip --python /opt/touchstone/bin/python install --require-hashes --requirement deploy/image/ray.txt
COPY --from=wheel /wheel /wheel
RUN /opt/build/bin/pip --python /opt/touchstone/bin/python install --no-deps /wheel/*.whl

# All of an image but the environment.
FROM base AS runtime
COPY --from=candidates /opt/candidates /opt/candidates
ARG VERSION=0+unknown REVISION=unknown
LABEL org.opencontainers.image.title="Touchstone" \
      org.opencontainers.image.description="Serves code models and gives back the completion that proves itself" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The configuration is ./touchstone.toml where one is mounted; what is set here is over it, so it is little.
ENV TOUCHSTONE_STATE_DIR=/var/lib/touchstone \
    TOUCHSTONE_SANDBOX__PYTHON=/opt/candidates/bin/python \
    TOUCHSTONE_SERVER__HOST=0.0.0.0
WORKDIR /etc/touchstone
USER 10001:10001
VOLUME /var/lib/touchstone
STOPSIGNAL SIGTERM
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-I", "-c", "import os, http.client as h; c = h.HTTPConnection('127.0.0.1', int(os.environ.get('TOUCHSTONE_SERVER__PORT', 8000)), 4); c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["tini", "--", "touchstone"]
CMD ["serve"]

FROM runtime AS train
COPY --from=train-environment /opt/touchstone /opt/touchstone
HEALTHCHECK NONE
CMD ["train", "watch", "--idle-only"]

FROM runtime AS gpu
USER 0:0
# The compiler is Triton's, which writes kernels at run time. CUDA's libraries are in the environment; the driver is the host's.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev python3-dev \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
COPY --from=gpu-environment /opt/touchstone /opt/touchstone
# CTranslate2 looks for the libcublas of CUDA 12 by its name alone; vLLM finds its own of CUDA 13.
ENV LD_LIBRARY_PATH=/opt/touchstone/lib/python3.11/site-packages/nvidia/cublas/lib \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001

FROM runtime AS ray
USER 0:0
# KubeRay looks after a node by wget, and starts it by bash.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
COPY --from=ray-environment /opt/touchstone /opt/touchstone
ENV RAY_USAGE_STATS_ENABLED=0
USER 10001:10001
HEALTHCHECK NONE

FROM runtime AS serve
COPY --from=serve-environment /opt/touchstone /opt/touchstone
