//! Takes the two files that the page needs, a third of Swagger UI's archive, as gzip files. The archive holds them
//! deflated, as gzip does (RFC 1952), so nothing is compressed again.

use std::error::Error;
use std::fs::File;
use std::io::{self, Cursor, Write};
use std::path::PathBuf;

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::{CompressionMethod, ZipArchive};

/// Magic number, deflate, no flags, no time, no hint, no operating system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for name in ["swagger-ui-bundle.js", "swagger-ui.css"] {
        // The path is `swagger-ui-5.32.6/dist/NAME`, with any version.
        let is_it = |index: &usize| {
            let path = archive.name_for_index(*index).and_then(Result::ok);
            path.is_some_and(|path| path.ends_with(&format!("/dist/{name}")))
        };
        let index = (0..archive.len()).find(is_it).ok_or_else(|| format!("Swagger UI has no {name}"))?;
        let mut file = archive.by_index_raw(index)?;
        if file.compression() != CompressionMethod::DEFLATE {
            return Err(format!("{name} is {}, not deflated", file.compression()).into());
        }
        let mut gzip = File::create(out.join(format!("{name}.gz")))?;
        gzip.write_all(&GZIP_HEADER)?;
        io::copy(&mut file, &mut gzip)?;
        gzip.write_all(&file.crc32().to_le_bytes())?;
        gzip.write_all(&u32::try_from(file.size())?.to_le_bytes())?;
    }
    Ok(())
}
