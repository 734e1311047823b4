//! The operator's program.

use std::process::ExitCode;

use hallpass_operator::{
    app,
    config::Config,
    telemetry::log::{self, Chain},
};
use tikv_jemallocator::Jemalloc;
use tracing::error;

/// A request makes and drops a hundred small things, on threads that change, beside watches that make and
/// drop large ones: the C library's allocator spends a fifth of a request on that and gives little back.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match start(Config::from_process()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            error!(error = %Chain(cause.as_ref()), "operator failed");
            ExitCode::FAILURE
        }
    }
}

async fn start(config: Config) -> anyhow::Result<()> {
    log::start(config.log_level)?;
    app::run(config).await?;
    Ok(())
}
