# One image, one sidecar:  docker build -t svidecar .
#
# The base is chosen for its OpenSSL, which the ssl module and aiofastnet both use. With OpenSSL 3.0 (Debian 12) a full
# mTLS handshake costs 2 to 3 ms of CPU on each side, most of it in locks and look-ups of libcrypto; Debian 13 (trixie)
# has 3.5, where it costs a part of that. Both stages must have the same base: the environment is copied between them.

FROM python:3.13-slim-trixie AS build
# OPTIMIZE, in both stages: bytecode without docstrings, 1 MB less in memory. Nothing here rests on an assert.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONOPTIMIZE=2
WORKDIR /source
COPY pyproject.toml README.md ./
COPY proxy proxy
RUN ["python", "-m", "pip", "wheel", "--wheel-dir", "/wheels", "."]
RUN ["python", "-m", "venv", "--without-pip", "/opt/svidecar"]
# --no-index: nothing but the wheels. pip compiles the bytecode, since nothing can be written later.
RUN ["python", "-m", "pip", "--python", "/opt/svidecar/bin/python", "install", "--no-index", "--find-links", "/wheels", "svidecar"]

# The hot path as machine code, over the same sources. Of the copy only the code that was made is taken: sources that are
# newer than their bytecode would be compiled again at every start.
RUN ["apt-get", "update"]
RUN ["apt-get", "install", "--yes", "--no-install-recommends", "gcc", "libc6-dev"]
RUN ["python", "-m", "pip", "install", "mypy[mypyc]>=1.15"]
COPY .ci/compile .ci/compile
RUN ["bash", ".ci/compile", "/compiled"]
WORKDIR /compiled
RUN ["find", ".", "-name", "*.so", "-exec", "cp", "--parents", "{}", "/opt/svidecar/lib/python3.13/site-packages/", ";"]

FROM python:3.13-slim-trixie
LABEL org.opencontainers.image.title="svidecar" \
      org.opencontainers.image.description="A service-mesh sidecar: SPIFFE mTLS, transaction tokens on every hop, default deny" \
      org.opencontainers.image.licenses="Apache-2.0"
# The image of Python comes without the bytecode of the standard library. On a read-only file system each start, and
# each health check, would compile it anew.
RUN ["python", "-OO", "-m", "compileall", "-q", "-x", "site-packages|idlelib|tkinter|turtledemo|pydoc_data", "/usr/local/lib/python3.13"]
COPY --from=build /opt/svidecar /opt/svidecar
# SAFEPATH, NOUSERSITE: no module is ever taken from the working directory or a home.
ENV PATH=/opt/svidecar/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONOPTIMIZE=2 \
    PYTHONSAFEPATH=1 \
    PYTHONNOUSERSITE=1
# A number, so that runAsNonRoot can see that it is not 0; this one, because rules that lead a pod's traffic through its
# sidecar exempt the sidecar's own by it in other meshes too. SVID, key and configuration must be readable for it
# (in a pod: securityContext.fsGroup: 1337).
USER 1337:1337
WORKDIR /
# Inbound, metrics, health. Outbound (15001) and admin (15000) are on loopback: for the app in the same network namespace.
EXPOSE 15006 15020 15021
STOPSIGNAL SIGTERM
# Asks 127.0.0.1:15021; where health.listen is another port, add "--url". It writes nothing.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["svidecar", "wait", "--timeout", "0"]
ENTRYPOINT ["svidecar"]
CMD ["run", "--config", "/etc/svidecar/sidecar.yaml"]
