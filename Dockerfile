# syntax=docker/dockerfile:1@sha256:87999aa3d42bdc6bea60565083ee17e86d1f3339802f543c0d03998580f9cb89
# The operator's image: one static binary on distroless, without the simulator. `make image` builds it.
#
# Each platform is built natively, by a builder of that platform: docker buildx build --platform linux/amd64,linux/arm64 .

FROM docker.io/library/rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS builder
WORKDIR /src
COPY . .
# What `faro --version` tells; there is no repository in here to ask.
ARG COMMIT=unknown
ARG SOURCE_DATE_EPOCH
# A build for each platform has its own folder below target/, and only the program leaves the cache.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    FARO_COMMIT="$COMMIT" make static && \
    make --silent prove-static && \
    install -D -m 0755 "$(make --silent print-static)" /out/faro && \
    mkdir /out/events

FROM gcr.io/distroless/static-debian12:nonroot@sha256:afa5c872c891853ca7fcf1f12c3edb23f7eeef36189728842dd51042ff57f7ab
ARG VERSION=unknown
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="faro" \
      org.opencontainers.image.description="Change data capture for Kubernetes: every change of any resource, in order, none lost" \
      org.opencontainers.image.source="https://github.com/T0MASD/faro" \
      org.opencontainers.image.licenses="Unlicense" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"
COPY --from=builder /out/faro /faro
# So that a volume that is made for it belongs to the user, too.
COPY --from=builder --chown=65532:65532 /out/events /var/faro/events
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/faro"]
CMD ["--config", "/etc/faro/config.yaml", "--metrics-address", "0.0.0.0:8080"]
