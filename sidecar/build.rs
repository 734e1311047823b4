//! Links the program as it is shipped (static, position-independent) with packed relocations: 180 kB
//! less to read and keep in every pod. The dynamic one for tests is linked as usual.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Only a build script's own environment tells; no program reads it.
    #[expect(
        clippy::disallowed_methods,
        reason = "how Cargo talks to a build script"
    )]
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if features.split(',').any(|feature| feature == "crt-static") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
