//! Import files: gzipped or not, in UTF-8 or UTF-16, from a path or standard input. An opened [`Input`] is
//! UTF-8 and can be read again from its beginning.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use encoding_rs::{DecoderResult, Encoding, UTF_16BE, UTF_16LE};
use flate2::read::MultiGzDecoder;

use crate::error::CommandError;

/// The path that means standard input.
const STANDARD_INPUT: &str = "-";
/// The first bytes of files that cannot be read, and what to do about them.
const FOREIGN: [(&[u8], &str); 7] = [
    (b"PK\x03\x04", "it is a spreadsheet or a zip archive; save it as CSV, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "it is a spreadsheet; save it as CSV"),
    (b"BZh", "it is compressed with bzip2; only gzip is read"),
    (b"\xfd7zXZ", "it is compressed with xz; only gzip is read"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with zstd; only gzip is read"),
    (b"\xff\xfe\0\0", "it is UTF-32; save it as UTF-8"),
    (b"\0\0\xfe\xff", "it is UTF-32; save it as UTF-8"),
];
/// How many bytes are enough to recognize a file.
const HEAD: u64 = 512;

/// The formats of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One JSON object on each line
    Ndjson,
    /// Values separated by commas, semicolons or tabs, with a header
    Csv,
    /// One JSON array of objects
    Json,
}

/// An open file, in UTF-8.
pub(super) struct Input {
    file: File,
    /// Where the text begins: after a byte order mark.
    start: u64,
    pub(super) format: Format,
}

impl Input {
    /// Opens a file, or standard input.
    pub(super) fn open(path: &Path, said: Option<Format>) -> Result<Self, CommandError> {
        let unreadable = |source| CommandError::File { path: path.to_owned(), source };
        let refused = |reason: &str| unreadable(io::Error::other(reason.to_owned()));
        let is_stdin = path == Path::new(STANDARD_INPUT);
        let (raw, can_rewind): (Box<dyn Read>, bool) = if is_stdin {
            (Box::new(io::stdin()), false)
        } else {
            let file = File::open(path).map_err(unreadable)?;
            let is_file = file.metadata().map_err(unreadable)?.is_file();
            (Box::new(file), is_file)
        };
        let (mut head, mut reader) = peeked(raw).map_err(unreadable)?;
        let is_compressed = head.starts_with(b"\x1f\x8b");
        if is_compressed {
            (head, reader) = peeked(MultiGzDecoder::new(BufReader::new(reader))).map_err(unreadable)?;
        }
        if let Some((_, reason)) = FOREIGN.iter().find(|(begins, _)| head.starts_with(begins)) {
            return Err(refused(reason));
        }
        let (encoding, mark) = match Encoding::for_bom(&head) {
            Some((encoding, length)) => (encoding, length as u64),
            // Text has no NUL at its very beginning; UTF-16 has one in every ASCII character.
            None if head.iter().take(2).any(|byte| *byte == 0) => {
                return Err(refused("it is no text, or UTF-16 without a byte order mark; save it as UTF-8"));
            }
            None => (encoding_rs::UTF_8, 0),
        };
        let is_wide = encoding == UTF_16LE || encoding == UTF_16BE;
        let (file, start) = if can_rewind && !is_compressed && !is_wide {
            (File::open(path).map_err(unreadable)?, mark)
        } else {
            let mut copy = tempfile::tempfile()?;
            io::copy(&mut reader.by_ref().take(mark), &mut io::sink()).map_err(unreadable)?;
            if is_wide {
                to_utf8(reader, encoding, &mut copy).map_err(unreadable)?;
            } else {
                io::copy(&mut reader, &mut copy).map_err(unreadable)?;
            }
            (copy, 0)
        };
        let mut input = Self { file, start, format: Format::Ndjson };
        input.format = match said {
            Some(format) => format,
            None => input.guess(path)?,
        };
        Ok(input)
    }

    /// The text, from its beginning. Only one reader at a time: they share a file position.
    pub(super) fn read(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(self.start))?;
        Ok(file)
    }

    /// The format by the file's name, or else by its first bytes.
    fn guess(&self, path: &Path) -> io::Result<Format> {
        let is_gz = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
        let name = if is_gz { path.file_stem().map(PathBuf::from) } else { Some(path.to_owned()) };
        let ending = name.and_then(|name| Some(name.extension()?.to_str()?.to_ascii_lowercase()));
        if matches!(ending.as_deref(), Some("csv" | "tsv" | "tab")) {
            return Ok(Format::Csv);
        }
        let mut head = Vec::new();
        self.read()?.take(HEAD).read_to_end(&mut head)?;
        Ok(match (head.trim_ascii_start().first(), ending.as_deref()) {
            (Some(b'['), _) => Format::Json,
            (Some(b'{') | None, _) | (_, Some("ndjson" | "jsonl" | "json")) => Format::Ndjson,
            (Some(_), _) => Format::Csv,
        })
    }
}

/// The first bytes, and a reader of the whole file.
fn peeked(mut reader: impl Read + 'static) -> io::Result<(Vec<u8>, Box<dyn Read>)> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD).read_to_end(&mut head)?;
    Ok((head.clone(), Box::new(io::Cursor::new(head).chain(reader))))
}

fn to_utf8(mut from: impl Read, encoding: &'static Encoding, to: impl Write) -> io::Result<()> {
    let mut to = io::BufWriter::new(to);
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let (mut read, mut decoded) = ([0; 16 * 1024], [0; 64 * 1024]);
    loop {
        let count = from.read(&mut read)?;
        let mut left = &read[..count];
        loop {
            let (result, used, written) =
                decoder.decode_to_utf8_without_replacement(left, &mut decoded, count == 0);
            to.write_all(&decoded[..written])?;
            left = &left[used..];
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    return Err(io::Error::other(format!("it is not valid {}", encoding.name())));
                }
            }
        }
        if count == 0 {
            return to.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], name: &str) -> Result<(String, Format), String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let input = Input::open(&path, None).map_err(|error| error.to_string())?;
        let mut text = String::new();
        for _ in 0..2 {
            text.clear();
            input.read().unwrap().read_to_string(&mut text).unwrap();
        }
        Ok((text, input.format))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn every_encoding_is_the_same_text() {
        let plain = "id,subject\n1,Grüße 🎉\n";
        let wide = |unit: fn(u16) -> [u8; 2]| plain.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
        let little = [b"\xff\xfe".as_slice(), &wide(u16::to_le_bytes)].concat();
        let big = [b"\xfe\xff".as_slice(), &wide(u16::to_be_bytes)].concat();
        let marked = [b"\xef\xbb\xbf".as_slice(), plain.as_bytes()].concat();
        // Two gzip members, as when two objects of the export are concatenated.
        let halves = [gzip(&plain.as_bytes()[..9]), gzip(&plain.as_bytes()[9..])].concat();
        for bytes in
            [plain.as_bytes(), &little, &big, &marked, &gzip(plain.as_bytes()), &gzip(&little), &halves]
        {
            assert_eq!(text(bytes, "some.csv").unwrap(), (plain.to_owned(), Format::Csv));
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_reason() {
        for (bytes, says) in [
            (b"PK\x03\x04rest".as_slice(), "spreadsheet"),
            (b"i\0d\0,\0", "UTF-16 without a byte order mark"),
            (b"\xff\xfe\0\0i\0\0\0", "UTF-32"),
            (b"\xff\xfe\x00\xd8a\0", "not valid UTF-16LE"),
            (b"\x28\xb5\x2f\xfd", "zstd"),
            (b"\x1f\x8b\x08cut off", "cannot read"),
        ] {
            let error = text(bytes, "some.csv").unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_format_is_known_by_the_name_or_by_the_beginning() {
        for (name, content, format) in [
            ("a.csv", "{", Format::Csv),
            ("a.tsv", "id", Format::Csv),
            ("a.json", " \n[{}]", Format::Json),
            ("a.json", "{}", Format::Ndjson),
            ("a.ndjson", "nonsense", Format::Ndjson),
            ("a", "[]", Format::Json),
            ("a.txt", "id,subject", Format::Csv),
            ("a", "", Format::Ndjson),
        ] {
            assert_eq!(text(content.as_bytes(), name).unwrap().1, format, "{name} {content}");
        }
        assert_eq!(text(&gzip(b"{}"), "a.ndjson.gz").unwrap().1, Format::Ndjson);
        assert_eq!(text(&gzip(b"id"), "a.csv.gz").unwrap().1, Format::Csv);
    }
}
