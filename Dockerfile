# The image of Ottla: one static file system with the program, run by a user that is not root; the root may be read-only.
#
#   docker build -t ottla:0.1.0 .

FROM rust:1.95-bookworm AS build
ENV RUSTUP_TOOLCHAIN=1.95
WORKDIR /ottla
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/ottla/target \
    cargo build --profile dist --locked -p ottla && e2e/cluster/image-root target/dist/ottla ottla /image

FROM scratch
COPY --from=build /image /
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/ottla"]
