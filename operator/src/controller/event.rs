//! The Event that tells of a change in a status.

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta},
};

use super::{status::shortened, write::MANAGER};

/// The Event of an object whose condition that is now, as `pod` reports it.
///
/// # Guarantees
/// The API server takes it, however long the names and the message are.
pub(super) fn event(
    condition: &Condition,
    object: ObjectReference,
    pod: &str,
    now: Timestamp,
) -> Event {
    let holds = condition.status == "True";
    Event {
        metadata: ObjectMeta {
            namespace: Some(home(&object).to_owned()),
            name: Some(name(object.name.as_deref().unwrap_or_default(), now)),
            ..ObjectMeta::default()
        },
        type_: Some(if holds { "Normal" } else { "Warning" }.to_owned()),
        reason: Some(condition.reason.clone()),
        note: Some(shortened(condition.message.clone(), LONGEST_NOTE)),
        action: Some("Report".to_owned()),
        event_time: Some(MicroTime(now)),
        reporting_controller: Some(MANAGER.to_owned()),
        reporting_instance: Some(shortened(pod.to_owned(), LONGEST_INSTANCE)),
        regarding: Some(object),
        ..Event::default()
    }
}

/// The namespace of the events of that object.
pub(super) fn home(object: &ObjectReference) -> &str {
    object.namespace.as_deref().unwrap_or("default")
}

/// The name of an object, as far as there is room for it, and the time: no two Events have one name.
fn name(object: &str, now: Timestamp) -> String {
    let time = format!(".{:x}", now.as_nanosecond());
    let object = shortened(object.to_owned(), LONGEST_NAME - time.len());
    // What is between two dots ends with a letter or a digit.
    object.trim_end_matches(['.', '-']).to_owned() + &time
}

/// The longest name of an object.
const LONGEST_NAME: usize = 253;

/// The API server takes 1,024 bytes.
const LONGEST_NOTE: usize = 1024;

/// The longest name of who reports.
const LONGEST_INSTANCE: usize = 128;

#[cfg(test)]
mod tests {
    use hallpass_core::name::ObjectName;

    use super::*;
    use crate::issuer::fixture::now;

    fn of(name: &str) -> Event {
        let condition = Condition {
            type_: "Ready".to_owned(),
            status: "False".to_owned(),
            reason: "Invalid".to_owned(),
            message: "ü".repeat(4000),
            observed_generation: None,
            last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()),
        };
        let object = ObjectReference {
            name: Some(name.to_owned()),
            namespace: Some("shop".to_owned()),
            ..ObjectReference::default()
        };
        event(&condition, object, &"p".repeat(253), now())
    }

    #[test]
    fn has_a_name_whatever_the_name_of_its_object() {
        let time = format!(".{:x}", now().as_nanosecond());
        let cut = "a".repeat(235);
        for (object, begin) in [
            ("orders", "orders"),
            (&"a".repeat(253), &"a".repeat(236)),
            (&format!("{cut}-{cut}")[..253], &cut),
            (&format!("{cut}.{cut}")[..253], &cut),
        ] {
            let event = of(object);
            let name = event.metadata.name.unwrap();
            assert_eq!(name, format!("{begin}{time}"));
            assert!(ObjectName::parse(&name).is_ok(), "{name}");
            assert_eq!(event.regarding.unwrap().name.unwrap(), object);
        }
    }

    #[test]
    fn says_no_more_than_the_api_server_takes() {
        let event = of("orders");
        assert_eq!(event.note.unwrap().len(), 1024);
        assert_eq!(event.reporting_instance.unwrap().len(), 128);
    }
}
