//! The operator's program.

use std::process::ExitCode;

use hallpass_operator::{
    app,
    config::Config,
    telemetry::log::{self, Chain},
};
use tracing::error;

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
