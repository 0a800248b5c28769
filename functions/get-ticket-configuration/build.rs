//! Takes the two files that the page needs, a third of Swagger UI's archive, and compresses them.

use std::error::Error;
use std::fs::File;
use std::io::{self, Cursor};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for name in ["swagger-ui-bundle.js", "swagger-ui.css"] {
        // The path is `swagger-ui-5.32.6/dist/NAME`, with any version.
        let found = archive.file_names().flatten().find(|path| path.ends_with(&format!("/dist/{name}")));
        let path = found.ok_or_else(|| format!("Swagger UI has no {name}"))?.into_owned();
        let mut compressed =
            GzEncoder::new(File::create(out.join(format!("{name}.gz")))?, Compression::best());
        io::copy(&mut archive.by_name(&path)?, &mut compressed)?;
        compressed.finish()?;
    }
    Ok(())
}
