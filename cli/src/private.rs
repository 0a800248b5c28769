//! Files that only this user can read: a developer's machine keeps tickets, and keys to them. Links and other
//! users' files and directories are refused, because somebody may have planted them.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

/// A directory that only this user can enter. It is created if missing.
///
/// # Errors
/// If it is a link, or another user's.
pub fn directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => builder.create(path)?,
        Err(error) => return Err(error),
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(refused("it is no directory, or a link to one")),
    }
    is_own(&fs::symlink_metadata(path)?)?;
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

/// A file that only this user can open, for reading and writing. It is created if missing.
///
/// # Errors
/// If it is a link, or another user's.
pub fn open(path: &Path) -> io::Result<File> {
    let file = opened(path, options().create(true).truncate(false))?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

/// Reads a secret from a file; `None` if there is no file.
///
/// # Errors
/// If the file is a link or another user's, or if others can read or write it: the secret may be known, or
/// planted.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    let mut file = match unplanted(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::mode(&file.metadata()?) & 0o077 != 0 {
        return Err(refused("other users can read or write it: remove it, or take that away with chmod 600"));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Opens a file for reading.
///
/// # Errors
/// If it is a link, another user's, or missing.
pub fn unplanted(path: &Path) -> io::Result<File> {
    opened(path, options().write(false))
}

/// Opens a file as [`open`] does, for this process alone until it is closed.
///
/// # Errors
/// [`TryLockError::WouldBlock`] if another process has it.
pub fn locked(path: &Path) -> Result<File, TryLockError> {
    loop {
        let file = open(path).map_err(TryLockError::Error)?;
        file.try_lock()?;
        // The process that had it may have renamed it after it was opened here.
        if is_at(&file, path).map_err(TryLockError::Error)? {
            return Ok(file);
        }
    }
}

/// Whether an open file still has this path.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let file = file.metadata()?;
        match fs::symlink_metadata(path) {
            Ok(found) => Ok((found.dev(), found.ino()) == (file.dev(), file.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
    // Elsewhere an open file is not renamed.
    #[cfg(not(unix))]
    {
        let _ = (file, path);
        Ok(true)
    }
}

fn opened(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let file = options.open(path).map_err(explained)?;
    is_own(&file.metadata()?)?;
    Ok(file)
}

/// Writes a new file with this text. An existing file or link of that name is replaced.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    options().create_new(true).open(path)?.write_all(text.as_bytes())
}

/// Makes every file that this process creates from now on readable by this user only: SQLite and the store of
/// exports do not set permissions.
pub fn by_default() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Open options that follow no links, and create files for this user only.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    options
}

fn is_own(metadata: &fs::Metadata) -> io::Result<()> {
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::uid(metadata) != rustix::process::geteuid().as_raw() {
        return Err(refused("it is another user's"));
    }
    if metadata.is_dir() || metadata.is_file() { Ok(()) } else { Err(refused("it is no ordinary file")) }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

fn explained(error: io::Error) -> io::Error {
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return refused("it is a link");
    }
    error
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode() & 0o777)
    }

    #[test]
    fn what_is_made_is_this_user_s_alone_and_what_is_there_becomes_so() {
        let work = tempfile::tempdir().unwrap();
        let (made, there) = (work.path().join("a/made"), work.path().join("there"));
        fs::create_dir(&there).unwrap();
        fs::set_permissions(&there, PermissionsExt::from_mode(0o755)).unwrap();
        for path in [&made, &there] {
            directory(path).unwrap();
            assert_eq!(mode(path), 0o700, "{path:?}");
        }
        fs::write(there.join("old"), "text").unwrap();
        for name in ["new", "old"] {
            open(&there.join(name)).unwrap();
            assert_eq!(mode(&there.join(name)), 0o600, "{name}");
        }
        write(&there.join("old"), "secret").unwrap();
        assert_eq!(
            (mode(&there.join("old")), read(&there.join("old")).unwrap().unwrap()),
            (0o600, "secret".into())
        );
    }

    #[test]
    fn a_locked_file_is_one_process_s_until_it_is_closed_or_has_another_name() {
        let work = tempfile::tempdir().unwrap();
        let (path, renamed) = (work.path().join("partial"), work.path().join("whole"));
        let first = locked(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(matches!(locked(&path), Err(TryLockError::WouldBlock)));
        assert!(is_at(&first, &path).unwrap());
        fs::rename(&path, &renamed).unwrap();
        assert!(!is_at(&first, &path).unwrap(), "nothing is there");
        let second = locked(&path).unwrap();
        assert!(!is_at(&first, &path).unwrap() && is_at(&second, &path).unwrap());
        drop(second);
        assert!(locked(&path).is_ok());
    }

    #[test]
    fn what_others_planted_is_refused() {
        let work = tempfile::tempdir().unwrap();
        let at = |name: &str| work.path().join(name);
        assert!(read(&at("nothing")).unwrap().is_none());
        write(&at("key"), "tk").unwrap();
        symlink(at("key"), at("link")).unwrap();
        for refused in [read(&at("link")).map(drop), open(&at("link")).map(drop)] {
            assert_eq!(refused.unwrap_err().to_string(), "it is a link");
        }
        fs::set_permissions(at("key"), PermissionsExt::from_mode(0o644)).unwrap();
        assert!(read(&at("key")).unwrap_err().to_string().starts_with("other users can read"));
        fs::create_dir(at("directory")).unwrap();
        symlink(at("directory"), at("linked")).unwrap();
        assert_eq!(directory(&at("linked")).unwrap_err().to_string(), "it is no directory, or a link to one");
        // Writing replaces a link and leaves its target unchanged.
        write(&at("link"), "new").unwrap();
        assert_eq!(fs::read_to_string(at("key")).unwrap(), "tk");
        // Only root can give a file to another user.
        if rustix::process::geteuid().is_root() {
            fs::set_permissions(at("key"), PermissionsExt::from_mode(0o600)).unwrap();
            chown(at("key"), Some(12345), None).unwrap();
            assert_eq!(read(&at("key")).unwrap_err().to_string(), "it is another user's");
        }
    }
}
