//! Requests as they go over the wire.

/// Writes a `POST` of a form.
pub(crate) fn form(
    request: &mut Vec<u8>,
    host: &str,
    path: &str,
    bearer: Option<&str>,
    body: &str,
) {
    let mut add = |text: &str| request.extend_from_slice(text.as_bytes());
    for part in ["POST ", path, " HTTP/1.1\r\nHost: ", host] {
        add(part);
    }
    if let Some(bearer) = bearer {
        add("\r\nAuthorization: Bearer ");
        add(bearer);
    }
    add("\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ");
    add(&body.len().to_string());
    add("\r\n\r\n");
    add(body);
}
