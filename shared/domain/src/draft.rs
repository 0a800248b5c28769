//! Parses a JSON object into the fields of a new ticket.

use crate::error::{Error, Result};
use crate::form::{Form, Given};
use crate::id::CustomerId;
use crate::preset::Presets;
use crate::ticket::TicketFields;

/// The fields that the service assigns. A change may have them, because people send back what they fetched.
pub const ASSIGNED: [&str; 3] = ["id", "createdDate", "updatedDate"];

impl TicketFields {
    /// The fields of a new ticket, with the presets' defaults for status and priority.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] with every violation at once.
    pub fn draft(mut form: Form, presets: &Presets) -> Result<Self> {
        let fields = Self::taken(&mut form, presets);
        for field in ASSIGNED {
            if let Given::Value(_) = form.raw_text(field) {
                form.refuse(field, "is assigned by the service; leave it out of a new ticket");
            }
        }
        let violations = form.finish();
        match fields {
            Some(fields) if violations.is_empty() => Ok(Self {
                status: fields.status.or_else(|| presets.new_status()),
                priority: fields.priority.or_else(|| presets.new_priority()),
                ..fields
            }),
            // `None` means that a required field was noted as missing or wrong, so there is a violation.
            _ => Err(Error::InvalidFields(violations)),
        }
    }

    /// Takes the fields of a ticket as given, without defaults. `None` if a required field is missing or
    /// wrong; the form has then noted a violation.
    pub(crate) fn taken(form: &mut Form, presets: &Presets) -> Option<Self> {
        let customer = required(form, "customerID", |form| form.number("customerID", CustomerId::try_from));
        let ticket_type = form.text("ticketType", |text| presets.ticket_type.choose(text)).value();
        let status = form.text("status", |text| presets.status.choose(text)).value();
        let priority = form.text("ticketPriority", |text| presets.priority.choose(text)).value();
        let email = form.text("customerEmail", str::parse).value();
        let subject = required(form, "subject", |form| form.text("subject", str::parse));
        let content = form.text("ticketContent", str::parse).value();
        let owner = form.text("owner", |text| presets.owner.choose(text)).value();
        let users = form.text("users", str::parse).value();
        let departments = form.text("departments", str::parse).value();
        let suppliers = form.text("ticketSuppliers", str::parse).value();
        let followup = form.text("ticketFollowupDate", str::parse).value();
        let action_required = form.text("ticketActionRequired", str::parse).value();
        Some(Self {
            customer: customer?,
            ticket_type,
            status,
            priority,
            email,
            subject: subject?,
            content,
            owner,
            users,
            departments,
            suppliers,
            followup,
            action_required,
        })
    }
}

/// Takes a required field. Its absence is a violation; `take` itself notes a wrong value.
pub(crate) fn required<T>(
    form: &mut Form,
    field: &'static str,
    take: impl FnOnce(&mut Form) -> Given<T>,
) -> Option<T> {
    let there = form.has(field);
    let value = take(form).value();
    if value.is_none() && !there {
        form.refuse(field, "is required");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset::PresetLists;

    fn draft(body: &str) -> Result<TicketFields, Vec<(String, String)>> {
        let presets = Presets::parse(&PresetLists::default()).unwrap();
        TicketFields::draft(Form::parse(body.as_bytes()).unwrap(), &presets).map_err(|error| match error {
            Error::InvalidFields(violations) => violations.into_iter().map(|v| (v.field, v.detail)).collect(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn customer_and_subject_are_enough_and_the_rest_is_preset_or_absent() {
        let fields = draft(r#"{"customerID": 7, "subject": "Help"}"#).unwrap();
        assert_eq!(
            serde_json::to_value(&fields).unwrap(),
            serde_json::json!({"customerID": 7, "subject": "Help", "status": "open", "ticketPriority": "normal"})
        );
    }

    #[test]
    fn every_violation_is_reported_at_once() {
        let body = r#"{"customerID": 0, "subject": "", "status": "done", "customerEmail": "ada", "users": 5,
                       "ticketFollowupDate": "soon", "id": "1", "colour": "red"}"#;
        let mut fields: Vec<_> = draft(body).unwrap_err().into_iter().map(|(field, _)| field).collect();
        fields.sort();
        assert_eq!(
            fields,
            [
                "colour",
                "customerEmail",
                "customerID",
                "id",
                "status",
                "subject",
                "ticketFollowupDate",
                "users"
            ]
        );
    }

    #[test]
    fn required_fields_are_named_when_absent_or_null() {
        let expected = |field: &str| (field.to_owned(), "is required".to_owned());
        assert_eq!(draft("{}").unwrap_err(), [expected("customerID"), expected("subject")]);
        assert_eq!(draft(r#"{"customerID": null, "subject": "a"}"#).unwrap_err(), [expected("customerID")]);
    }

    #[test]
    fn a_customer_is_a_positive_whole_number_that_every_json_reader_keeps() {
        for bad in ["0", "-1", "1.5", "9007199254740992", "1e99"] {
            assert!(draft(&format!(r#"{{"customerID": {bad}, "subject": "a"}}"#)).is_err(), "{bad}");
        }
        for good in ["1", "9007199254740991", "42.0", "1e3"] {
            assert!(draft(&format!(r#"{{"customerID": {good}, "subject": "a"}}"#)).is_ok(), "{good}");
        }
        assert_eq!(
            draft(r#"{"customerID": "7", "subject": "a"}"#).unwrap_err()[0].1,
            "must be a number, not a string"
        );
    }

    #[test]
    fn one_invalid_field_that_could_be_left_out_is_enough_to_refuse_a_ticket() {
        for (member, field) in [
            (r#""status":"done""#, "status"),
            (r#""customerEmail":"ada""#, "customerEmail"),
            (r#""colour":"red""#, "colour"),
            (r#""id":"1""#, "id"),
        ] {
            let refused = draft(&format!(r#"{{"customerID":7,"subject":"a",{member}}}"#)).unwrap_err();
            assert_eq!(refused.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), [field]);
        }
    }
}
