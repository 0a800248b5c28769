//! "Did you mean": names the nearest known name for an unknown one.

use crate::error::{Violation, shortened};

impl Violation {
    /// An unknown `name`: the detail suggests the nearest known name, or lists all if none is near.
    pub fn unknown(what: &str, name: &str, known: &[&str]) -> Self {
        let detail = match nearest(name, known) {
            Some(nearest) => format!("unknown {what}; did you mean {nearest}?"),
            None => format!("unknown {what}; known are {}", known.join(", ")),
        };
        Self::new(shortened(name), detail)
    }
}

/// The known name that is nearest to `name`, if one is near. Case is ignored.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    // A much longer name is near none of them, so skip the costly comparison.
    if known.iter().any(|known| name.len() > 2 * known.len().max(20)) {
        return None;
    }
    let distance = |known: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase());
    let nearest = known.iter().map(|known| (distance(known), *known)).min();
    // If more than a third of the name differs, a suggestion would only be a guess.
    nearest.filter(|(distance, known)| *distance <= known.len().div_ceil(3)).map(|(_, nearest)| nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_known_one() {
        let known = ["idAfter", "createdSince", "updatedSince"];
        assert_eq!(
            Violation::unknown("parameter", "updateSince", &known).detail,
            "unknown parameter; did you mean updatedSince?"
        );
        assert_eq!(
            Violation::unknown("parameter", "colour", &known).detail,
            "unknown parameter; known are idAfter, createdSince, updatedSince"
        );
    }

    #[test]
    fn a_very_long_unknown_name_is_cut_and_gets_no_suggestion() {
        let violation = Violation::unknown("field", &"é".repeat(1000), &["subject"]);
        assert_eq!(violation.field, format!("{}…", "é".repeat(100)));
        assert_eq!(violation.detail, "unknown field; known are subject");
    }

    #[test]
    fn a_suggested_name_differs_in_at_most_a_third() {
        let known = ["x".repeat(30)];
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let detail = |length: usize| Violation::unknown("field", &"x".repeat(length), &known).detail;
        assert!(detail(40).contains("did you mean"), "{}", detail(40));
        assert!(!detail(41).contains("did you mean"), "{}", detail(41));
    }
}
