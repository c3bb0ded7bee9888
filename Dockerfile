# syntax=docker/dockerfile:1
# The server in a small image: `docker build -t hale .`

FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libcap2-bin && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# Port 53 by a capability of the file, so that the process needs no root.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin hale \
    && install -D -m 0755 target/release/hale /out/usr/local/bin/hale \
    && strip /out/usr/local/bin/hale \
    && setcap cap_net_bind_service=+ep /out/usr/local/bin/hale \
    && install -d -m 0755 /out/etc/hale/zones

# glibc, root certificates (checks over HTTPS verify) and a user without rights (65532); no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/ /
COPY --from=build --chown=65532:65532 --chmod=0700 /out/etc/hale/zones /var/lib/hale
USER 65532:65532
WORKDIR /etc/hale
VOLUME ["/var/lib/hale"]
EXPOSE 53/udp 53/tcp
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["/usr/local/bin/hale", "healthcheck", "--server", "unix:/var/lib/hale/hale.sock"]
ENTRYPOINT ["/usr/local/bin/hale"]
CMD ["serve", "--state", "/var/lib/hale"]
