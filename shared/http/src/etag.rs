//! Versions as entity tags (RFC 9110, section 8.8.3), strong because a version has one representation. What the
//! tags of a request require is decided in [`tickets_domain::precondition`].

use lambda_http::http::HeaderValue;
use lambda_http::http::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use tickets_domain::Version;
use tickets_domain::precondition::{CachedVersions, Precondition};

use crate::Problem;

/// The tag of a version: `"7"`.
pub fn of(version: Version) -> HeaderValue {
    // Digits in quotes are always a valid header value.
    HeaderValue::from_str(&format!("\"{}\"", version.get())).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The precondition in `If-Match`. Tags are compared strongly, so that a weak tag never matches.
///
/// # Errors
/// 400 if it is not a list of entity tags. A 412 would not tell the caller what is wrong with it.
pub fn if_match(headers: &HeaderMap) -> Result<Precondition, Problem> {
    Ok(match Tags::of(headers, IF_MATCH, "If-Match")? {
        Tags::None | Tags::Any => Precondition::None,
        Tags::Listed(tags) => {
            let strong = tags.iter().filter(|tag| !tag.weak);
            Precondition::OneOf(strong.filter_map(|tag| version(&tag.opaque)).collect())
        }
    })
}

/// The versions in `If-None-Match`. Tags are compared weakly, as RFC 9110 requires.
///
/// # Errors
/// 400 if it is not a list of entity tags.
pub fn if_none_match(headers: &HeaderMap) -> Result<CachedVersions, Problem> {
    Ok(match Tags::of(headers, IF_NONE_MATCH, "If-None-Match")? {
        Tags::None => CachedVersions::None,
        Tags::Any => CachedVersions::Any,
        Tags::Listed(tags) => {
            CachedVersions::OneOf(tags.iter().filter_map(|tag| version(&tag.opaque)).collect())
        }
    })
}

/// The content of a header with entity tags.
enum Tags {
    /// The header is absent.
    None,
    /// `*`
    Any,
    /// These, at least one.
    Listed(Vec<Tag>),
}

struct Tag {
    weak: bool,
    /// The text between the quotes.
    opaque: String,
}

impl Tags {
    fn of(headers: &HeaderMap, name: HeaderName, shown: &'static str) -> Result<Self, Problem> {
        if !headers.contains_key(&name) {
            return Ok(Self::None);
        }
        // Several headers of one name are one list (RFC 9110, section 5.3).
        let values = headers.get_all(name).into_iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let list = values.collect::<Vec<_>>().join(",");
        if list.trim() == "*" {
            return Ok(Self::Any);
        }
        let detail =
            r#"must be what `ETag` says, quotes included, like "7"; or several, separated by commas; or *"#;
        tags(&list).map(Self::Listed).ok_or_else(|| Problem::invalid_header(shown, detail))
    }
}

/// The tags of a list; `None` if the text is not a list of tags.
fn tags(list: &str) -> Option<Vec<Tag>> {
    const SPACES: [char; 2] = [' ', '\t'];
    let (mut tags, mut rest) = (Vec::new(), list);
    loop {
        // Empty elements are ignored (RFC 9110, section 5.6.1.2).
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return (!tags.is_empty()).then_some(tags);
        }
        let strong = rest.strip_prefix("W/");
        let (opaque, after) = strong.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        if opaque.contains(|character: char| character.is_ascii_control() || character == ' ') {
            return None;
        }
        tags.push(Tag { weak: strong.is_some(), opaque: opaque.to_owned() });
        rest = after.trim_start_matches(SPACES);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

/// The version that a tag names, if this API could have sent such a tag.
fn version(digits: &str) -> Option<Version> {
    let canonical = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| canonical).map(Version::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    fn admits(headers: &HeaderMap) -> bool {
        if_match(headers).unwrap().check(Version::new(7)).is_ok()
    }

    /// Tags that this API never sends; and texts that are not lists of tags.
    const FOREIGN: [&str; 5] = ["\"07\"", "\"\"", "\"abc\"", "\"a,b\"", "\"99999999999999999999\""];
    const MALFORMED: [&str; 11] =
        ["7", "", " ", ",", "\"7", "7\"", "'7'", "w/\"7\"", "\"6\" \"7\"", "*, \"7\"", "\"6 7\""];

    #[test]
    fn if_match_admits_the_versions_it_names_and_no_others() {
        let admits = |value: &str| self::admits(&headers("if-match", value));
        for yes in ["\"7\"", "\"6\", \"7\"", "\"6\",,\"7\" ,", "\"a,b\", \"7\"", "W/\"7\", \"7\"", "*", " * "]
        {
            assert!(admits(yes), "{yes}");
        }
        for no in ["\"6\"", "W/\"7\""].iter().chain(&FOREIGN) {
            assert!(!admits(no), "{no}");
        }
        assert!(self::admits(&HeaderMap::new()));
    }

    #[test]
    fn if_none_match_also_knows_weak_tags() {
        let matches =
            |value: &str| if_none_match(&headers("if-none-match", value)).unwrap().include(Version::new(7));
        assert!(matches("\"7\"") && matches("W/\"7\"") && matches("*") && matches("\"1\",\"7\""));
        for no in ["\"8\"", "W/\"8\""].iter().chain(&FOREIGN) {
            assert!(!matches(no), "{no}");
        }
    }

    #[test]
    fn a_malformed_list_of_tags_is_refused() {
        for value in MALFORMED {
            assert!(if_match(&headers("if-match", value)).is_err(), "{value:?}");
            assert!(if_none_match(&headers("if-none-match", value)).is_err(), "{value:?}");
        }
    }

    #[test]
    fn two_headers_are_one_list() {
        let mut headers = headers("if-match", "\"6\"");
        headers.append(IF_MATCH, "\"7\"".parse().unwrap());
        assert!(admits(&headers));
        headers.append(IF_MATCH, "*".parse().unwrap());
        assert!(if_match(&headers).is_err());
    }
}
