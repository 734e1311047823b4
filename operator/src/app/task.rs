//! Tasks that somebody awaits: one that ends unexpectedly ends the process.

use std::{collections::HashMap, error::Error, future};

use tokio::task::{Id, JoinError, JoinSet};

/// How a task ended.
pub(super) type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// A task that should have gone on.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// It returned.
    #[error("the task {0} ended")]
    Ended(&'static str),
    /// It gave up.
    #[error("the task {task} failed")]
    Failed {
        /// Its name.
        task: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It panicked.
    #[error("the task {task} panicked")]
    Panicked {
        /// Its name.
        task: &'static str,
        /// Where.
        #[source]
        source: JoinError,
    },
}

/// A set of named tasks. Dropped, it ends them.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    set: JoinSet<Outcome>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// Starts one.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Outcome> + Send + 'static,
    ) {
        let handle = self.set.spawn(task);
        self.names.insert(handle.id(), name);
    }

    /// Waits for the first one that ends, for tasks that are to run for ever.
    pub(super) async fn first_end(&mut self) -> TaskError {
        match self.next().await {
            Some((name, result)) => result.err().unwrap_or(TaskError::Ended(name)),
            None => future::pending().await,
        }
    }

    /// Waits for all of them to end, for tasks that were told to.
    pub(super) async fn all_end(&mut self) -> Result<(), TaskError> {
        while let Some((_, result)) = self.next().await {
            result?;
        }
        Ok(())
    }

    /// What runs.
    #[cfg(test)]
    pub(super) fn names(&self) -> std::collections::BTreeSet<&'static str> {
        self.names.values().copied().collect()
    }

    async fn next(&mut self) -> Option<(&'static str, Result<(), TaskError>)> {
        let ended = self.set.join_next_with_id().await?;
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let task = self.names.remove(&id).unwrap_or("unnamed");
        let result = match ended {
            Ok((_, outcome)) => outcome.map_err(|source| TaskError::Failed { task, source }),
            Err(source) => Err(TaskError::Panicked { task, source }),
        };
        Some((task, result))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn the_first_task_that_ends_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("steady", future::pending());
        tasks.spawn("short", async { Ok(()) });
        let ended = tasks.first_end().await;
        assert!(matches!(ended, TaskError::Ended("short")), "{ended:?}");
    }

    #[tokio::test]
    async fn a_failure_keeps_its_cause() {
        let mut tasks = Tasks::default();
        tasks.spawn("watch", async { Err("the watch ended".into()) });
        let ended = tasks.first_end().await;
        assert_eq!(ended.source().unwrap().to_string(), "the watch ended");
        assert!(
            matches!(ended, TaskError::Failed { task: "watch", .. }),
            "{ended:?}"
        );
    }

    #[tokio::test]
    async fn a_panic_ends_what_waits_for_it() {
        let mut tasks = Tasks::default();
        tasks.spawn("steady", future::pending());
        tasks.spawn("broken", async { panic!("planted") });
        let ended = timeout(Duration::from_secs(60), tasks.first_end()).await;
        let ended = ended.expect("somebody is told");
        assert!(
            matches!(ended, TaskError::Panicked { task: "broken", .. }),
            "{ended:?}"
        );
    }

    #[tokio::test]
    async fn tasks_that_were_told_to_end_may_end() {
        let mut tasks = Tasks::default();
        tasks.spawn("api", async { Ok(()) });
        tasks.spawn("lease", async { Ok(()) });
        assert!(tasks.all_end().await.is_ok());
    }
}
