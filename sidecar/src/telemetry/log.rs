//! The log: each event as one line of JSON.
//!
//! There is no span in this program. Who writes events alone keeps nothing, where a registry of spans keeps
//! 32 kB in every pod.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};

use crate::surroundings::Clock;

/// Writes events of `INFO` and above, each as a whole line.
pub(super) struct Log<W> {
    clock: Clock,
    write: W,
}

impl<W: Fn(&[u8]) + Send + Sync + 'static> Log<W> {
    /// One that hands each line to `write`, its end included.
    pub(super) const fn new(clock: Clock, write: W) -> Self {
        Self { clock, write }
    }
}

impl<W: Fn(&[u8]) + Send + Sync + 'static> Subscriber for Log<W> {
    fn enabled(&self, of: &Metadata<'_>) -> bool {
        of.is_event() && *of.level() <= Level::INFO
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn event(&self, event: &Event<'_>) {
        let line = Line {
            timestamp: format!("{:.6}", self.clock.now().wall),
            level: event.metadata().level().as_str(),
            fields: Fields(event),
        };
        // Text and numbers alone: there is nothing in it that could not be written.
        if let Ok(mut line) = serde_json::to_vec(&line) {
            line.push(b'\n');
            (self.write)(&line);
        }
    }

    // None is enabled, so that none comes here.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    fields: Fields<'a>,
}

struct Fields<'a>(&'a Event<'a>);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut members = Members {
            map: to.serialize_map(None)?,
            written: Ok(()),
        };
        self.0.record(&mut members);
        members.written?;
        members.map.end()
    }
}

/// A member for each field, until one cannot be written.
struct Members<M: SerializeMap> {
    map: M,
    written: Result<(), M::Error>,
}

impl<M: SerializeMap> Members<M> {
    fn add(&mut self, field: &Field, value: impl Serialize) {
        if self.written.is_ok() {
            self.written = self.map.serialize_entry(field.name(), &value);
        }
    }
}

impl<M: SerializeMap> Visit for Members<M> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use jiff::Timestamp;
    use tracing::{debug, info, info_span, warn};

    use super::*;
    use crate::surroundings::{Boottime, Moment};

    fn logged(events: impl FnOnce()) -> Vec<String> {
        let now = || Moment {
            wall: Timestamp::from_microsecond(1_800_000_000_000_001).unwrap(),
            boot: Boottime::new(Duration::ZERO),
        };
        let clock = Clock::new(now, |_| Box::pin(std::future::pending()));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = Log::new(clock, {
            let lines = Arc::clone(&lines);
            move |line: &[u8]| lines.lock().unwrap().push(line.to_vec())
        });
        tracing::subscriber::with_default(log, events);
        let lines = lines.lock().unwrap();
        let text = lines.iter().map(|line| String::from_utf8(line.clone()));
        text.map(Result::unwrap).collect()
    }

    #[test]
    fn each_event_is_one_line_of_json() {
        let lines = logged(|| {
            let (error, none) = (fmt::Error, None::<String>);
            info!(token.name = "vault", tokens = 3_usize, none, "taken over");
            warn!(error = %error, name = ?"a\n\"b\"", seconds = -0.5, "gone");
        });
        assert_eq!(
            lines,
            [
                r#"{"timestamp":"2027-01-15T08:00:00.000001Z","level":"INFO","fields":{"message":"taken over","token.name":"vault","tokens":3}}"#,
                r#"{"timestamp":"2027-01-15T08:00:00.000001Z","level":"WARN","fields":{"message":"gone","error":"an error occurred when formatting an argument","name":"\"a\\n\\\"b\\\"\"","seconds":-0.5}}"#,
            ]
            .map(|line| format!("{line}\n"))
        );
    }

    #[test]
    fn says_nothing_of_what_goes_on_below_information_and_knows_no_spans() {
        let lines = logged(|| {
            debug!("detail");
            let _within = info_span!("span").entered();
            info!("told");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(r#""fields":{"message":"told"}"#));
    }
}
