//! Versions as entity tags (RFC 9110, section 8.8.3): strong, for a version has one representation.

use lambda_http::http::HeaderValue;
use lambda_http::http::header::{HeaderMap, IF_MATCH, IF_NONE_MATCH};
use tickets_domain::Version;
use tickets_domain::id::Precondition;

/// The tag of a version: `"7"`.
pub fn of(version: Version) -> HeaderValue {
    // Digits in quotes are a header value.
    HeaderValue::from_str(&format!("\"{}\"", version.get())).unwrap_or(HeaderValue::from_static("\"\""))
}

/// `If-Match`: compared strongly, so that a weak tag never matches.
pub fn if_match(headers: &HeaderMap) -> Precondition {
    if !headers.contains_key(IF_MATCH) {
        return Precondition::None;
    }
    let tags: Vec<&str> = tags(headers, IF_MATCH.as_str()).collect();
    if tags.contains(&"*") {
        return Precondition::None;
    }
    Precondition::OneOf(tags.into_iter().filter_map(version).collect())
}

/// Whether `If-None-Match` names this version: compared weakly, as RFC 9110 asks for it.
pub fn none_match(headers: &HeaderMap, current: Version) -> bool {
    tags(headers, IF_NONE_MATCH.as_str())
        .any(|tag| tag == "*" || version(tag.strip_prefix("W/").unwrap_or(tag)) == Some(current))
}

fn tags<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    // Our tags hold no commas; one that does is not ours and matches nothing however it is cut.
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|tag| !tag.is_empty())
}

fn version(tag: &str) -> Option<Version> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let canonical = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| canonical).map(Version::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn if_match_admits_the_versions_it_names_and_no_others() {
        let admits = |value: &str| if_match(&headers("if-match", value)).admits(Version::new(7));
        for yes in ["\"7\"", "\"6\", \"7\"", "*"] {
            assert!(admits(yes), "{yes}");
        }
        for no in ["\"6\"", "W/\"7\"", "7", "\"07\"", "\"\"", "", "\"abc\""] {
            assert!(!admits(no), "{no}");
        }
        assert!(if_match(&HeaderMap::new()).admits(Version::new(7)));
    }

    #[test]
    fn if_none_match_also_knows_weak_tags() {
        let matches = |value: &str| none_match(&headers("if-none-match", value), Version::new(7));
        assert!(matches("\"7\"") && matches("W/\"7\"") && matches("*") && matches("\"1\",\"7\""));
        assert!(!matches("\"8\"") && !matches("7"));
    }
}
