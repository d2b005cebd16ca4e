# The server of a fleet: edge-fleet. docs/containers.md
# Build from the root of the repository: docker build -f deploy/fleet.Dockerfile -t maskedge-fleet .
FROM debian:trixie-slim AS build
ENV DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends python3 python3-venv
COPY requirements/fleet.txt /src/requirements/
RUN python3 -m venv --without-pip /opt/maskedge && python3 -m venv /opt/tools && /opt/tools/bin/pip --python /opt/maskedge/bin/python install --quiet --no-compile --require-hashes -r /src/requirements/fleet.txt
COPY pyproject.toml hatch_build.py hatch_metadata.py README.md CHANGELOG.md LICENSE /src/
COPY edge /src/edge
COPY fleet /src/fleet
RUN /opt/tools/bin/pip --python /opt/maskedge/bin/python install --quiet --no-compile --no-deps /src /src/fleet && find /opt/maskedge/lib -type d -name tests -prune -exec rm -rf {} +

FROM debian:trixie-slim
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends ca-certificates python3-minimal libpython3-stdlib && rm -rf /var/lib/apt/lists/* /var/cache/apt/* && groupadd --gid 10001 maskedge && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/maskedge --shell /usr/sbin/nologin maskedge && install -d -o maskedge -g maskedge -m 0750 /var/lib/maskedge
COPY --from=build /opt/maskedge /opt/maskedge
COPY deploy/image/healthy.py /opt/maskedge/bin/healthy.py
ENV PATH=/opt/maskedge/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/maskedge
VOLUME /var/lib/maskedge
USER 10001:10001
EXPOSE 8090
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "/opt/maskedge/bin/healthy.py", "http://127.0.0.1:8090/healthz"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["edge-fleet"]
CMD ["serve", "--serve", "0.0.0.0:8090"]
