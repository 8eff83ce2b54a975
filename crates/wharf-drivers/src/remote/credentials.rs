//! Who we are to the service: from the environment or from a file, never from a command line.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Words that are not for everybody. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    /// The words, for the service alone.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Who we are to the service. What is not given is not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    /// A bearer token, instead of user and password.
    pub(super) token: Option<Secret>,
    /// Of S3. Without them the chain of AWS is followed: its variables, its files, its machines.
    pub(super) access_key_id: Option<String>,
    pub(super) secret_access_key: Option<Secret>,
}

impl Credentials {
    /// Those of the file, if there is one, else those of the environment.
    pub(super) fn find(
        file: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Credentials, String> {
        if let Some(file) = file {
            return Credentials::read(file);
        }
        Ok(Credentials {
            user: variable("WHARF_REMOTE_USER"),
            password: variable("WHARF_REMOTE_PASSWORD").map(Secret),
            token: variable("WHARF_REMOTE_TOKEN").map(Secret),
            ..Credentials::default()
        })
    }

    fn read(file: &Path) -> Result<Credentials, String> {
        let shown = file.display();
        let failed =
            |error| format!("the credentials in {shown} cannot be read ({error}); see: ls -l {shown}");
        let mode = fs::metadata(file).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(format!(
                "the credentials in {shown} are open to others; close them with: chmod 600 {shown}"
            ));
        }
        Credentials::parse(&fs::read_to_string(file).map_err(failed)?).map_err(|name| {
            format!(
                "{shown} has a line `{name}`; it takes user, password, token, access-key-id and \
                                     secret-access-key, each as name=value"
            )
        })
    }

    /// Reads lines of `name=value`. The error is the name of one that means nothing.
    fn parse(text: &str) -> Result<Credentials, String> {
        let mut found = Credentials::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            // A line without a name may be a secret: it is not shown.
            let (name, value) = line.split_once('=').ok_or("…")?;
            let value = value.trim_start().to_owned();
            match name.trim_end() {
                "user" => found.user = Some(value),
                "password" => found.password = Some(Secret(value)),
                "token" => found.token = Some(Secret(value)),
                "access-key-id" => found.access_key_id = Some(value),
                "secret-access-key" => found.secret_access_key = Some(Secret(value)),
                other => return Err(other.to_owned()),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_open_to_others_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("keys");
        fs::write(&file, "# mine\nuser=me\n password = a=b\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Credentials::find(Some(&file), |_| None).unwrap_err().contains("chmod 600"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let found = Credentials::find(Some(&file), |_| panic!("the file is enough")).unwrap();
        assert_eq!(found.user.as_deref(), Some("me"));
        assert_eq!(found.password.as_ref().map(Secret::reveal), Some("a=b"));
    }

    #[test]
    fn no_secret_is_ever_shown() {
        let found = Credentials::find(None, |name| Some(format!("{name} hidden"))).unwrap();
        let shown = format!("{found:?}");
        assert!(
            shown.contains("USER hidden") && !shown.contains("PASSWORD") && !shown.contains("TOKEN"),
            "{shown}"
        );
        assert_eq!(Credentials::parse("hunter2"), Err("…".into()));
    }
}
