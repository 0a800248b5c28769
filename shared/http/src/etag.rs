//! Tags of versions as entity tags (RFC 9110, section 8.8.3), strong because a version has one representation. What
//! the entity tags of a request require is decided in [`tickets_domain::precondition`].

use lambda_http::http::HeaderValue;
use lambda_http::http::header::{ETAG, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use tickets_domain::Tag;
use tickets_domain::precondition::{IfMatch, IfNoneMatch, Preconditions, UnusableTag};

use crate::Problem;

/// The entity tag of a version, like `"7-0c5fe1a2"`.
pub fn text(tag: Tag) -> String {
    format!("\"{tag}\"")
}

/// The entity tag of a version, as the value of a header.
pub fn of(tag: Tag) -> HeaderValue {
    // Digits, letters and quotes are always a valid header value.
    HeaderValue::from_str(&text(tag)).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The tag in the `ETag` of a response of this API, also if a proxy has made it weak or added something.
pub fn read(headers: &HeaderMap) -> Option<Tag> {
    let [tag] = &tags(headers.get(ETAG)?.to_str().ok()?)?[..] else { return None };
    tag.meant()
}

/// What `If-Match` and `If-None-Match` require. In `If-Match` tags are compared strongly, in `If-None-Match` weakly, as
/// RFC 9110 wants it.
///
/// # Errors
/// 400 if one is not a list of entity tags. A 412 would not tell the caller what is wrong with it.
pub fn preconditions(headers: &HeaderMap) -> Result<Preconditions, Problem> {
    let if_match = required(Tags::of(headers, IF_MATCH, "If-Match")?);
    let if_none_match = match Tags::of(headers, IF_NONE_MATCH, "If-None-Match")? {
        Tags::None => IfNoneMatch::Nothing,
        Tags::Any => IfNoneMatch::Any,
        Tags::Listed(tags) => {
            IfNoneMatch::OneOf(tags.iter().filter_map(|tag| tag.opaque.parse().ok()).collect())
        }
    };
    Ok(Preconditions { if_match, if_none_match })
}

/// Which versions a row of a batch means by its `ifMatch`, which is written as the header is.
pub fn if_match(text: &str) -> Result<IfMatch, &'static str> {
    Tags::parse(text).map(required)
}

fn required(tags: Tags) -> IfMatch {
    match tags {
        Tags::None | Tags::Any => IfMatch::Any,
        Tags::Listed(listed) => {
            let (mut tags, mut unusable) = (Vec::new(), Vec::new());
            for tag in listed {
                match tag.opaque.parse() {
                    Ok(strong) if !tag.weak => tags.push(strong),
                    Ok(_) | Err(_) => unusable.push(tag.into_unusable()),
                }
            }
            IfMatch::OneOf { tags, unusable }
        }
    }
}

/// The content of a header with entity tags.
enum Tags {
    /// The header is absent.
    None,
    /// `*`
    Any,
    /// These, at least one.
    Listed(Vec<EntityTag>),
}

struct EntityTag {
    weak: bool,
    /// The text between the quotes.
    opaque: String,
}

impl EntityTag {
    /// The tag that this API had sent.
    fn meant(&self) -> Option<Tag> {
        Tag::at_start_of(&self.opaque).map(|(tag, _)| tag)
    }

    fn into_unusable(self) -> UnusableTag {
        let text = format!("{}\"{}\"", if self.weak { "W/" } else { "" }, self.opaque);
        UnusableTag { text, is_weak: self.weak, meant: self.meant() }
    }
}

impl Tags {
    fn of(headers: &HeaderMap, name: HeaderName, shown: &'static str) -> Result<Self, Problem> {
        if !headers.contains_key(&name) {
            return Ok(Self::None);
        }
        // Several headers of one name are one list (RFC 9110, section 5.3).
        let values = headers.get_all(name).into_iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let list = values.collect::<Vec<_>>().join(",");
        Self::parse(&list).map_err(|detail| Problem::invalid_header(shown, detail))
    }

    fn parse(list: &str) -> Result<Self, &'static str> {
        if list.trim() == "*" {
            return Ok(Self::Any);
        }
        tags(list).map(Self::Listed).ok_or(
            r#"must be what `ETag` says, quotes included, like "7-0c5fe1a2"; or several, separated by commas; or *"#,
        )
    }
}

/// The tags of a list; `None` if the text is not a list of tags.
fn tags(list: &str) -> Option<Vec<EntityTag>> {
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
        tags.push(EntityTag { weak: strong.is_some(), opaque: opaque.to_owned() });
        rest = after.trim_start_matches(SPACES);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use tickets_domain::Error;
    use tickets_domain::precondition::Freshness;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    fn seven() -> Tag {
        "7-00000001".parse().unwrap()
    }

    fn check(headers: &HeaderMap) -> Result<(), Error> {
        preconditions(headers).unwrap().check_change(seven())
    }

    /// Entity tags that this API never sends; and texts that are not lists of entity tags.
    const FOREIGN: [&str; 6] =
        ["\"7\"", "\"\"", "\"abc\"", "\"a,b\"", "\"07-00000001\"", "\"99999999999999999999-00000001\""];
    const MALFORMED: [&str; 11] = [
        "7-00000001",
        "",
        " ",
        ",",
        "\"7-00000001",
        "7-00000001\"",
        "'7-00000001'",
        "w/\"7-00000001\"",
        "\"6-00000001\" \"7-00000001\"",
        "*, \"7-00000001\"",
        "\"6 7\"",
    ];

    #[test]
    fn if_match_admits_the_versions_it_names_and_no_others() {
        for yes in [
            "\"7-00000001\"",
            "\"6-00000001\", \"7-00000001\"",
            "\"6-00000001\",,\"7-00000001\" ,",
            "\"a,b\", \"7-00000001\"",
            "W/\"7-00000001\", \"7-00000001\"",
            "*",
            " * ",
        ] {
            assert!(check(&headers("if-match", yes)).is_ok(), "{yes}");
        }
        for no in ["\"6-00000001\"", "\"7-00000002\"", "\"abc\", \"6-00000001\""] {
            assert!(matches!(check(&headers("if-match", no)), Err(Error::VersionMismatch)), "{no}");
        }
        assert!(check(&HeaderMap::new()).is_ok());
    }

    #[test]
    fn if_match_tells_what_is_wrong_with_a_tag_that_matches_nothing() {
        let told = |value: &str| match check(&headers("if-match", value)) {
            Err(Error::UnusableTag(tag)) => tag.to_string(),
            other => panic!("{value}: {other:?}"),
        };
        for foreign in FOREIGN {
            assert!(told(foreign).contains(": no tag of this API; send what ETag says"), "{foreign}");
        }
        for added in ["-gzip", ";gzip", "--gzip", "-br"] {
            let detail = told(&format!("\"7-00000001{added}\""));
            assert!(detail.contains(": no tag of this API; send \"7-00000001\""), "{detail}");
        }
        for weak in ["W/\"7-00000001\"", "W/\"7-00000001-gzip\"", "\"6-00000001\", W/\"7-00000001\""] {
            let detail = told(weak);
            assert!(detail.contains("a weak tag, which never matches; send \"7-00000001\""), "{detail}");
        }
        assert!(told("W/\"7\"").contains("a weak tag, which never matches; send what ETag says"));
        let long = told(&format!("\"{}\"", "x".repeat(8000)));
        assert!(long.len() < 300, "{long}");
    }

    #[test]
    fn if_none_match_also_knows_weak_tags() {
        let known = |value: &str| {
            let preconditions = preconditions(&headers("if-none-match", value)).unwrap();
            preconditions.check_read(seven()).unwrap() == Freshness::NotModified
        };
        for yes in ["\"7-00000001\"", "W/\"7-00000001\"", "*", "\"1-00000001\",\"7-00000001\""] {
            assert!(known(yes), "{yes}");
        }
        for no in ["\"8-00000001\"", "W/\"7-00000002\""].iter().chain(&FOREIGN) {
            assert!(!known(no), "{no}");
        }
    }

    #[test]
    fn a_malformed_list_of_tags_is_refused() {
        for value in MALFORMED {
            assert!(preconditions(&headers("if-match", value)).is_err(), "{value:?}");
            assert!(preconditions(&headers("if-none-match", value)).is_err(), "{value:?}");
        }
    }

    #[test]
    fn two_headers_are_one_list() {
        let mut headers = headers("if-match", "\"6-00000001\"");
        headers.append(IF_MATCH, "\"7-00000001\"".parse().unwrap());
        assert!(check(&headers).is_ok());
        headers.append(IF_MATCH, "*".parse().unwrap());
        assert!(preconditions(&headers).is_err());
    }

    #[test]
    fn the_tag_of_a_response_is_read_also_behind_a_proxy_that_changed_it() {
        for text in [text(seven()), "W/\"7-00000001\"".into(), "\"7-00000001-gzip\"".into()] {
            assert_eq!(read(&headers("etag", &text)), Some(seven()), "{text}");
        }
        for text in ["\"7\"", "7-00000001", "\"7-00000001\", \"8-00000001\""] {
            assert_eq!(read(&headers("etag", text)), None, "{text}");
        }
        assert_eq!(read(&HeaderMap::new()), None);
    }
}
