//! Import files: gzipped or not, in UTF-8 or UTF-16, from a path or standard input. An [`Input`] can be read any
//! number of times, as UTF-8. It is decompressed while it is read, so a small file that unpacks to a huge one
//! fills neither the memory nor the disk.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};
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
/// How many bytes of UTF-16 are decoded at a time.
const DECODED: usize = 16 * 1024;

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

/// An open file.
pub(super) struct Input {
    path: PathBuf,
    /// The file as it is; a copy of standard input, which cannot be read twice.
    file: File,
    is_gzipped: bool,
    encoding: &'static Encoding,
    /// The length of its byte order mark.
    mark: u64,
    pub(super) format: Format,
}

impl Input {
    /// Opens a file, or standard input.
    pub(super) fn open(path: &Path, said: Option<Format>) -> Result<Self, CommandError> {
        let unreadable = |source| CommandError::File { path: path.to_owned(), source };
        let refused = |reason: &str| unreadable(io::Error::other(reason.to_owned()));
        let file = if path == Path::new(STANDARD_INPUT) {
            copied(io::stdin()).map_err(unreadable)?
        } else {
            let file = File::open(path).map_err(unreadable)?;
            let can_rewind = file.metadata().map_err(unreadable)?.is_file();
            if can_rewind { file } else { copied(file).map_err(unreadable)? }
        };
        // The format is found when the text can be read.
        let format = said.unwrap_or(Format::Ndjson);
        let mut input =
            Self { path: path.to_owned(), file, is_gzipped: false, encoding: UTF_8, mark: 0, format };
        let mut head = input.head()?;
        if head.starts_with(b"\x1f\x8b") {
            input.is_gzipped = true;
            head = input.head()?;
        }
        if let Some((_, reason)) = FOREIGN.iter().find(|(begins, _)| head.starts_with(begins)) {
            return Err(refused(reason));
        }
        match Encoding::for_bom(&head) {
            Some((encoding, length)) => (input.encoding, input.mark) = (encoding, length as u64),
            // Text has no NUL at its very beginning; UTF-16 has one in every ASCII character.
            None if head.iter().take(2).any(|byte| *byte == 0) => {
                return Err(refused("it is no text, or UTF-16 without a byte order mark; save it as UTF-8"));
            }
            None => {}
        }
        if said.is_none() {
            input.format = input.guess()?;
        }
        Ok(input)
    }

    /// The text, from its beginning. Only one reader at a time: they share a file position.
    pub(super) fn read(&self) -> Result<Box<dyn Read>, CommandError> {
        self.decoded().map_err(self.unreadable())
    }

    /// Makes the error for a text that cannot be read, or is not what it should be.
    pub(super) fn unreadable(&self) -> impl Fn(io::Error) -> CommandError + use<> {
        let path = self.path.clone();
        move |source| CommandError::File { path: path.clone(), source }
    }

    fn decoded(&self) -> io::Result<Box<dyn Read>> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        let mut bytes: Box<dyn Read> = match self.is_gzipped {
            true => Box::new(MultiGzDecoder::new(BufReader::new(file))),
            false => Box::new(file),
        };
        io::copy(&mut bytes.by_ref().take(self.mark), &mut io::sink())?;
        Ok(if self.encoding == UTF_8 { bytes } else { Box::new(Transcoder::new(bytes, self.encoding)) })
    }

    /// The first bytes.
    fn head(&self) -> Result<Vec<u8>, CommandError> {
        let mut head = Vec::new();
        self.read()?.take(HEAD).read_to_end(&mut head).map_err(self.unreadable())?;
        Ok(head)
    }

    /// The format by the file's name, or else by its first bytes.
    fn guess(&self) -> Result<Format, CommandError> {
        let path = &self.path;
        let is_gz = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
        let name = if is_gz { path.file_stem().map(PathBuf::from) } else { Some(path.to_owned()) };
        let ending = name.and_then(|name| Some(name.extension()?.to_str()?.to_ascii_lowercase()));
        if matches!(ending.as_deref(), Some("csv" | "tsv" | "tab")) {
            return Ok(Format::Csv);
        }
        Ok(match (self.head()?.trim_ascii_start().first(), ending.as_deref()) {
            (Some(b'['), _) => Format::Json,
            (Some(b'{') | None, _) | (_, Some("ndjson" | "jsonl" | "json")) => Format::Ndjson,
            (Some(_), _) => Format::Csv,
        })
    }
}

/// A copy that can be read twice, removed when it is closed.
fn copied(mut from: impl Read) -> io::Result<File> {
    let mut copy = tempfile::tempfile()?;
    io::copy(&mut from, &mut copy)?;
    Ok(copy)
}

/// Reads UTF-16 as UTF-8.
struct Transcoder {
    from: Box<dyn Read>,
    encoding: &'static Encoding,
    decoder: Decoder,
    decoded: Cursor<String>,
    is_at_end: bool,
}

impl Transcoder {
    fn new(from: Box<dyn Read>, encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_without_bom_handling();
        Self { from, encoding, decoder, decoded: Cursor::default(), is_at_end: false }
    }
}

impl Read for Transcoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.decoded.read(buffer)?;
            if count > 0 || self.is_at_end || buffer.is_empty() {
                return Ok(count);
            }
            let mut bytes = [0; DECODED];
            let count = self.from.read(&mut bytes)?;
            self.is_at_end = count == 0;
            // Three bytes of UTF-8 for each unit, and one that was left over from before.
            let mut text = String::with_capacity(2 * DECODED + 16);
            let (result, _) =
                self.decoder.decode_to_string_without_replacement(&bytes[..count], &mut text, self.is_at_end);
            if result != DecoderResult::InputEmpty {
                return Err(io::Error::other(format!("it is not valid {}", self.encoding.name())));
            }
            self.decoded = Cursor::new(text);
        }
    }
}

/// The bytes of a text one by one, and the line on which the last one is.
pub(super) struct Bytes<R> {
    bytes: io::Bytes<BufReader<R>>,
    last: Option<u8>,
    line: u64,
}

impl<R: Read> Bytes<R> {
    pub(super) fn new(from: R) -> Self {
        Self { bytes: BufReader::new(from).bytes(), last: None, line: 1 }
    }

    /// The next byte; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<u8>> {
        let next = self.bytes.next().transpose()?;
        // What ends a line is on that line itself.
        match (self.last, next) {
            (Some(b'\r'), Some(b'\n')) => {}
            (Some(b'\n' | b'\r'), _) => self.line += 1,
            _ => {}
        }
        self.last = next;
        Ok(next)
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn text(bytes: &[u8], name: &str) -> Result<(String, Format), String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let input = Input::open(&path, None).map_err(|error| error.to_string())?;
        let mut text = String::new();
        for _ in 0..2 {
            text.clear();
            input.read().unwrap().read_to_string(&mut text).map_err(|error| error.to_string())?;
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
    fn a_text_of_many_buffers_is_decoded_as_one() {
        let plain = "aü🎉\n".repeat(DECODED);
        for shift in ["", "x"] {
            let text_of = format!("{shift}{plain}");
            let wide =
                format!("\u{feff}{text_of}").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
            assert!(text(&wide, "some.csv").unwrap().0 == text_of);
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
