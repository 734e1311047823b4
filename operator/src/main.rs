//! The operator's program.

use std::process::ExitCode;

use hallpass_operator::{
    app,
    config::Config,
    telemetry::{
        Metrics,
        log::{self, Chain, StartError},
    },
};
use tikv_jemallocator::Jemalloc;
use tracing::error;

/// A request makes and drops a hundred small things, on threads that change, beside watches that make and
/// drop large ones: the C library's allocator spends a fifth of a request on that and gives little back.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[tokio::main]
async fn main() -> Result<ExitCode, StartError> {
    let (config, metrics) = (Config::from_process(), Metrics::new());
    // Until the last line is said.
    let _logs = log::start(config.log_level, metrics.clone())?;
    match app::run(config, metrics).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(cause) => {
            error!(error = %Chain(&cause), "operator failed");
            Ok(ExitCode::FAILURE)
        }
    }
}
