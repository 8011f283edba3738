# The image listens on all addresses, IPv4 and IPv6, so it wants a secret: INTERNAL_SECRET.
#
#   docker build -t tikkun .
#   docker run -p 8080:8080 -v tikkun-data:/data -e INTERNAL_SECRET=… tikkun
#
# SIGTERM drains (as SIGINT, SIGQUIT and SIGHUP do). Give it longer to stop than `service.drain_timeout` (30 s) and its actors (10 s) take:
# docker stop --time 45.
#
# Spans for an OpenTelemetry collector: --build-arg FEATURES=opentelemetry.

FROM rust:1.95-slim-bookworm AS build
ARG FEATURES=
WORKDIR /build
# The dependencies alone first: they stay cached until the lockfile changes. What Cargo.toml names beside the
# program is not built here, but has to be there.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/conformance benches/deletion benches/distance benches/page benches/peers \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs README.md tests/main.rs tests/conformance/main.rs tests/store_crash.rs tests/telemetry.rs \
        benches/deletion/bench_s3.rs benches/distance/bench_line.rs benches/page/bench_page.rs \
        benches/peers/bench_noop.rs \
    && cargo build --release --locked --features "$FEATURES" \
    && rm -r src
COPY README.md ./
COPY config ./config
COPY python ./python
COPY src ./src
# Older than what was just built for the dependencies' sake, they would be left as they are.
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --features "$FEATURES"

FROM debian:bookworm-slim
RUN groupadd --gid 10001 tikkun \
    && useradd --uid 10001 --gid tikkun --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin tikkun \
    && mkdir /data \
    && chown tikkun:tikkun /data
# Whom to trust when the storage is reached over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/target/release/tikkun /usr/local/bin/tikkun
USER 10001:10001
ENV TIKKUN_SERVICE__DATA=/data \
    TIKKUN_HTTP__BIND=:: \
    TIKKUN_HTTP__PORT=8080
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["tikkun", "health"]
ENTRYPOINT ["tikkun"]
CMD ["serve"]
