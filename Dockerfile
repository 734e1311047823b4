# syntax=docker/dockerfile:1
# Two images: `docker build --target operator` and `docker build --target sidecar`.
FROM docker.io/library/rust:1.95-bookworm AS build
# The programs carry the list of the packages that they are made of, which scanners of images read.
RUN cargo install cargo-auditable --locked --version 0.7.7
WORKDIR /src
COPY . .
RUN cargo auditable build --locked --release -p hallpass-operator
# Alone, so that no feature another crate asks for makes it fatter, and static, which halves its memory.
# NO_JITTER_ENTROPY: randomness comes from the kernel alone; aws-lc's second source keeps 128 kB in every pod.
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
 && AWS_LC_SYS_NO_JITTER_ENTROPY=1 RUSTFLAGS="-C target-feature=+crt-static" cargo auditable build --locked --profile sidecar --target "$target" -p hallpass-sidecar \
 && cp "target/$target/sidecar/hallpass-sidecar" /hallpass-sidecar

FROM gcr.io/distroless/cc-debian12:nonroot AS operator
COPY --from=build /src/target/release/hallpass-operator /hallpass-operator
USER 65532:65532
ENTRYPOINT ["/hallpass-operator"]

FROM scratch AS sidecar
COPY --from=build /hallpass-sidecar /hallpass-sidecar
# A question to the DNS that is lost is asked again after a second: glibc waits for five, and with them the whole try is over.
ENV RES_OPTIONS="timeout:1 attempts:4"
USER 65532:65532
ENTRYPOINT ["/hallpass-sidecar"]
