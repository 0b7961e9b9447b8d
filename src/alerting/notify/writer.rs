//! Executing a receiver's templates: one that fails never loses the notification. Our own text stands in, and a note is kept.

use super::Notifier;
use super::template_data;
use super::template_functions::NotificationFunctions;
use crate::alerting::machine::Delivery;
use crate::config::receivers::AnyValue;
use serde_json::Value;

/// Executes the templates of one notification, noting what fails.
pub(super) struct Writer<'a> {
    notifier: &'a Notifier,
    pub(super) functions: NotificationFunctions,
    /// What failed, for people.
    pub(super) notes: Vec<String>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(notifier: &'a Notifier, delivery: &Delivery) -> Self {
        let data = template_data::data(delivery, &notifier.external_url);
        let functions = NotificationFunctions::new(delivery.at_ms, delivery.route_labels.clone(), data);
        Self { notifier, functions, notes: Vec::new() }
    }

    /// Executes a template; where it fails, `instead` stands in and a note is made.
    pub(super) fn text(&mut self, what: &str, template: &str, is_html: bool, instead: impl FnOnce() -> String) -> String {
        match self.strict(template, is_html) {
            Ok(text) => text,
            Err(error) => {
                self.notes.push(format!("the template of {what} failed: {error}"));
                instead()
            }
        }
    }

    /// Executes the texts of a value. A text that then is JSON becomes what it says, as in Alertmanager.
    pub(super) fn json(&mut self, what: &str, value: &AnyValue) -> Value {
        value.to_json(&mut |template| {
            let text = self.text(what, template, false, String::new);
            match serde_json::from_str(&text) {
                Ok(value @ (Value::Array(_) | Value::Object(_))) => value,
                _ => text.into(),
            }
        })
    }

    /// Executes a template for which nothing can stand in.
    pub(super) fn strict(&self, template: &str, is_html: bool) -> Result<String, String> {
        // Most fields of most receivers are plain.
        if !template.contains("{{") {
            return Ok(template.to_owned());
        }
        self.notifier.templates.execute(template, is_html, &self.functions).map_err(|error| error.to_string())
    }
}
