# The server in an image of its own: one static binary, root certificates, a user without rights. BuildKit is needed:
#
#   docker build -t hale .
#
# With --build-arg BINARY=IMAGE the binary is taken from /hale of that image instead of being compiled.
ARG BINARY=compile

FROM rust:1-bookworm AS tools
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libcap2-bin musl-tools \
    && rm -rf /var/lib/apt/lists/*

FROM tools AS compile
WORKDIR /src
COPY . .
# musl: a static binary whose name resolution needs no files of the C library, unlike glibc's.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    target="$(uname -m)-unknown-linux-musl" \
    && rustup target add "$target" \
    && CC=musl-gcc cargo build --release --locked --target "$target" --bin hale \
    && strip -o /hale "target/$target/release/hale"

FROM ${BINARY} AS binary

FROM tools AS files
COPY --from=binary /hale /out/usr/local/bin/hale
# Permitted, not effective: the server raises it while it binds ports below 1024. With "+ep" the file could not be executed
# at all where a container has all of its capabilities dropped.
RUN chmod 0755 /out/usr/local/bin/hale \
    && setcap cap_net_bind_service=p /out/usr/local/bin/hale \
    && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ca-certificates.crt \
    && echo 'hale:x:65532:65532:Hale:/var/lib/hale:/usr/sbin/nologin' > /out/etc/passwd \
    && echo 'hale:x:65532:' > /out/etc/group \
    && install -d -m 0755 /out/etc/hale/zones /out/etc/hale/keys \
    && install -d -m 0700 -o 65532 -g 65532 /out/var/lib/hale

FROM scratch
COPY --from=files /out/ /
USER 65532:65532
WORKDIR /etc/hale
# The one place that is written: the rest may be read-only (--read-only).
VOLUME ["/var/lib/hale"]
EXPOSE 53/udp 53/tcp
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["/usr/local/bin/hale", "healthcheck", "--server", "unix:/var/lib/hale/hale.sock"]
ENTRYPOINT ["/usr/local/bin/hale"]
CMD ["serve", "--state", "/var/lib/hale"]
