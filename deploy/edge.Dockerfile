# The device: edge-run with OpenCV without windows, on Debian's Python. docs/containers.md
# Build from the root of the repository: docker build -f deploy/edge.Dockerfile -t maskedge .
FROM debian:trixie-slim AS build
ENV DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends python3 python3-venv
COPY requirements/edge.txt /src/requirements/
RUN python3 -m venv --without-pip /opt/maskedge && python3 -m venv /opt/tools && /opt/tools/bin/pip --python /opt/maskedge/bin/python install --quiet --no-compile --require-hashes -r /src/requirements/edge.txt
COPY pyproject.toml hatch_build.py hatch_metadata.py README.md CHANGELOG.md LICENSE /src/
COPY edge /src/edge
RUN /opt/tools/bin/pip --python /opt/maskedge/bin/python install --quiet --no-compile --no-deps /src && find /opt/maskedge/lib -type d -name tests -prune -exec rm -rf {} +

FROM debian:trixie-slim
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends ca-certificates python3-minimal libpython3-stdlib && rm -rf /var/lib/apt/lists/* /var/cache/apt/* && groupadd --gid 10001 maskedge && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/maskedge --shell /usr/sbin/nologin --groups video maskedge && install -d -o maskedge -g maskedge -m 0750 /var/lib/maskedge && install -d /etc/maskedge
COPY --from=build /opt/maskedge /opt/maskedge
COPY deploy/image/edge.toml /etc/maskedge/edge.toml
COPY deploy/image/healthy.py /opt/maskedge/bin/healthy.py
ENV PATH=/opt/maskedge/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 STATE_DIRECTORY=/var/lib/maskedge
WORKDIR /var/lib/maskedge
VOLUME /var/lib/maskedge
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "/opt/maskedge/bin/healthy.py", "http://127.0.0.1:8080/healthz"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["edge-run"]
CMD ["--config", "/etc/maskedge/edge.toml", "--no-show", "--wait"]
