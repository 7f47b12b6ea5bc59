//! Why a request is refused, as the server's own `Status`.

use super::catalog::Resource;
use super::json::Json;

/// A `Status` of failure.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The HTTP code.
    pub code: u16,
    /// As in `NotFound`; empty when the server gives none.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// The entries of `details`, when there are any.
    pub(crate) details: Option<Json>,
    /// The token for an inconsistent rest that an expired list offers.
    pub(crate) next: Option<String>,
    /// The header `Retry-After`, in seconds.
    pub(crate) retry_after: Option<u32>,
    /// Whether the answer is indented: refusals from before the encoding was chosen are.
    pub(crate) indented: bool,
    /// Whether the answer is the plain text `404 page not found`.
    pub(crate) plain: bool,
}

impl Refusal {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, reason, message, details: None, next: None, retry_after: None, indented: false, plain: false }
    }

    /// No such path.
    pub(crate) fn no_page() -> Self {
        Self { plain: true, ..Self::new(404, "NotFound", "404 page not found") }
    }

    /// The group is there, the resource is not.
    pub(crate) fn no_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").with(Json::object([]))
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(404, "NotFound", message).about(resource, name)
    }

    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(resource, name)
    }

    /// The object has changed since the caller read it.
    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::new(409, "Conflict", message).about(resource, name)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn not_acceptable(message: impl Into<String>) -> Self {
        Self { indented: true, ..Self::new(406, "NotAcceptable", message) }
    }

    /// Some options of a list or watch do not go together: what, and under which field.
    pub(crate) fn invalid_options(causes: &[(&str, &str)]) -> Self {
        let texts: Vec<String> = causes.iter().map(|(field, message)| format!("{field}: Forbidden: {message}")).collect();
        let text = if let [text] = texts.as_slice() { text.clone() } else { format!("[{}]", texts.join(", ")) };
        let causes = causes.iter().map(|(field, message)| {
            Json::object([
                ("reason", Json::text("FieldValueForbidden")),
                ("message", Json::text(format!("Forbidden: {message}"))),
                ("field", Json::text(*field)),
            ])
        });
        Self::new(422, "Invalid", format!("ListOptions.meta.k8s.io \"\" is invalid: {text}")).with(Json::object([
            ("group", Json::text("meta.k8s.io")),
            ("kind", Json::text("ListOptions")),
            ("causes", Json::Array(causes.collect())),
        ]))
    }

    /// The object breaks a rule of its kind.
    pub(crate) fn invalid_object(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is invalid: {why}", resource.kind);
        let mut refusal = Self::new(422, "Invalid", message).about(resource, name);
        if let Some(details) = &mut refusal.details {
            details.set("kind", Json::text(&resource.kind));
        }
        refusal
    }

    /// The server may answer later.
    pub(crate) fn after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(crate) fn with(mut self, details: Json) -> Self {
        self.details = Some(details);
        self
    }

    fn about(self, resource: &Resource, name: &str) -> Self {
        let mut details = Json::object([("name", Json::text(name))]);
        if !resource.group.is_empty() {
            details.set("group", Json::text(&resource.group));
        }
        details.set("kind", Json::text(&resource.name));
        self.with(details)
    }

    /// The `Status`, with its keys in the order of the server.
    pub(crate) fn status(&self) -> Json {
        let mut metadata = Json::object([]);
        if let Some(next) = &self.next {
            metadata.set("continue", Json::text(next));
        }
        let mut status = Json::object([
            ("kind", Json::text("Status")),
            ("apiVersion", Json::text("v1")),
            ("metadata", metadata),
            ("status", Json::text("Failure")),
            ("message", Json::text(&self.message)),
        ]);
        if !self.reason.is_empty() {
            status.set("reason", Json::text(self.reason));
        }
        let mut details = self.details.clone();
        if let Some(seconds) = self.retry_after {
            details.get_or_insert_with(|| Json::object([])).set("retryAfterSeconds", Json::Number(seconds.into()));
        }
        if let Some(details) = details {
            status.set("details", details);
        }
        status.set("code", Json::Number(self.code.into()));
        status
    }
}
