//! Files with secrets, and with certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The longest file that is read.
const LONGEST: u64 = 1 << 20;

/// Reads a file with a secret. Each connection reads it anew, so that a renewed
/// one counts.
///
/// # Errors
/// The file cannot be read, or users besides its owner and group can read it.
pub fn secret(path: &Path) -> Result<Vec<u8>, String> {
    let text = public(path)?;
    let mode = fs::metadata(path)
        .map_err(|error| format!("{}: {error}", path.display()))?
        .permissions()
        .mode();
    if mode & 0o007 != 0 {
        return Err(format!(
            "{path}: every user of this machine can read or change it (mode {:04o}); \
             run: chmod o= {path}",
            mode & 0o7777,
            path = path.display()
        ));
    }
    Ok(text)
}

/// Reads a file with a certificate.
///
/// # Errors
/// The file cannot be read, or is too long for what it should be.
pub fn public(path: &Path) -> Result<Vec<u8>, String> {
    let explained = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                "; the service has a user of its own: pass the file with LoadCredential= \
                 (docs/mqtt.md)"
            }
            _ => "",
        };
        format!("{}: {error}{hint}", path.display())
    };
    let length = fs::metadata(path).map_err(explained)?.len();
    if length > LONGEST {
        return Err(format!("{}: {length} bytes are too long", path.display()));
    }
    fs::read(path).map_err(explained)
}

/// Reads a password: the first line of its file.
///
/// # Errors
/// As [`secret`].
pub fn password(path: &Path) -> Result<Vec<u8>, String> {
    let mut text = secret(path)?;
    if let Some(end) = text.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        text.truncate(end);
    }
    if text.is_empty() {
        return Err(format!("{}: its first line is empty", path.display()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "geheim\n").unwrap();
        for (mode, is_fine) in [
            (0o600, true),
            (0o640, true),
            (0o644, false),
            (0o604, false),
            (0o602, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let read = password(&path);
            assert_eq!(read.is_ok(), is_fine, "{mode:o}: {read:?}");
            match read {
                Ok(text) => assert_eq!(text, b"geheim"),
                Err(error) => assert!(error.contains("chmod o="), "{error}"),
            }
        }
    }

    #[test]
    fn a_missing_or_empty_password_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        assert!(password(&path).unwrap_err().contains("No such file"));
        fs::write(&path, "\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(password(&path).unwrap_err().contains("empty"));
    }
}
