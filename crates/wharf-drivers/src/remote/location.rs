//! Where the files are, as it is typed: `https://host/data`.
//!
//! Nothing here is secret, because a command line and the table of mounts are public: a password in a URL is
//! refused, with the way out.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use super::options::Options;

/// Where the files are, and how they are to be got at.
#[derive(Clone, Debug)]
pub struct Location {
    pub(super) service: Service,
    /// Without user, query and fragment; its path ends in a slash.
    pub(super) url: Url,
    pub(super) user: Option<String>,
    /// Limits, times and places.
    pub options: Options,
}

/// Which service keeps the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// A local directory, used as if it were far away.
    Files,
    Http,
    WebDav,
    Ftp,
    /// Through `ssh`.
    Sftp,
    S3,
}

/// The schemes, for help and errors.
pub const SCHEMES: &str = "https, http, webdavs, webdav, s3, sftp, ftps, ftp or file";

impl Location {
    /// Reads a URL.
    ///
    /// # Errors
    /// A sentence with the way out.
    pub fn parse(typed: &str) -> Result<Location, String> {
        let mut url = Url::parse(typed).map_err(|error| {
            format!("remote: needs a URL ({error}), as in remote:https://example.org/data; it may begin with {SCHEMES}")
        })?;
        let service = match url.scheme() {
            "file" => Service::Files,
            "http" | "https" => Service::Http,
            "webdav" | "webdavs" => Service::WebDav,
            "ftp" | "ftps" => Service::Ftp,
            "sftp" => Service::Sftp,
            "s3" => Service::S3,
            other => return Err(format!("remote: knows no `{other}:`; use {SCHEMES}")),
        };
        if url.password().is_some() {
            let instead = match service {
                Service::Sftp => "use a key, from ssh-agent or named by --option identity=FILE",
                _ => "put it into WHARF_REMOTE_PASSWORD, or into a file named by --option credentials=FILE",
            };
            return Err(format!("remote: takes no password in the URL, where everybody sees it; {instead}"));
        }
        if service != Service::Files && url.host_str().is_none_or(str::is_empty) {
            return Err(format!(
                "remote: needs a {} in {url}",
                if service == Service::S3 { "bucket" } else { "host" }
            ));
        }
        let user = (!url.username().is_empty()).then(|| decoded(url.username())).transpose()?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!(
                "remote: takes no ? and no # in {}; write %3F and %23 where a name has them, and \
                                options as --option NAME=VALUE",
                service_and_host(&url)
            ));
        }
        // Does not fail: a URL with a user has room for one.
        let _ = url.set_username("");
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Location { service, url, user, options: Options::default() })
    }

    /// The directory of the service that is the root, without percent signs; begins and ends with a slash.
    pub(super) fn root(&self) -> Result<String, String> {
        let root = decoded(self.url.path())?;
        let odd = |part: &str| part == ".." || part != part.trim();
        if root.split('/').any(odd) {
            return Err(format!(
                "remote: cannot use {root}; a directory there may not begin or end with a space"
            ));
        }
        Ok(root)
    }

    /// The service's address by HTTP, for those that have one: scheme, host and port.
    pub(super) fn origin(&self) -> String {
        let scheme = match self.url.scheme() {
            "webdav" => "http",
            "webdavs" => "https",
            other => other,
        };
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port() {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }

    /// The local directory of a `file:` URL.
    pub(super) fn directory(&self) -> Result<PathBuf, String> {
        self.url
            .to_file_path()
            .map_err(|()| format!("remote: cannot use {}; write file:///srv/data", self.url))
    }
}

impl Location {
    /// The same for the same place and user, from one mount to the next (FNV-1a).
    pub(super) fn hash(&self, user: Option<&str>) -> u64 {
        let words = [
            self.url.as_str(),
            user.unwrap_or_default(),
            self.options.endpoint.as_deref().unwrap_or_default(),
        ];
        let bytes = words.iter().flat_map(|word| word.bytes().chain([0]));
        bytes
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// What may be seen by everybody: no user.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

/// What may be shown of a URL that is refused.
fn service_and_host(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default())
}

fn decoded(text: &str) -> Result<String, String> {
    let bytes = percent_encoding::percent_decode_str(text);
    let text = bytes.decode_utf8().map_err(|_| format!("remote: cannot use {text}, which is no UTF-8"))?;
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_shows_no_user() {
        let location = Location::parse("https://me@example.org:8443/a%20b/c").unwrap();
        assert_eq!(location.to_string(), "https://example.org:8443/a%20b/c/");
        assert_eq!(location.root().unwrap(), "/a b/c/");
        assert_eq!(location.origin(), "https://example.org:8443");
        assert_eq!(location.user.as_deref(), Some("me"));
    }

    #[test]
    fn who_else_uses_a_place_is_told_from_us_and_so_is_another_place() {
        let hash = |url: &str, user| Location::parse(url).unwrap().hash(user);
        let ours = hash("ftp://h/", Some("me"));
        assert_eq!(ours, hash("ftp://me@h/", Some("me")), "however the user is told");
        for (url, user) in [("ftp://h/", Some("you")), ("ftp://h/", None), ("ftp://h/x", Some("me"))] {
            assert_ne!(ours, hash(url, user), "{url} {user:?}");
        }
    }

    #[test]
    fn each_scheme_has_its_service() {
        for (typed, service) in [
            ("file:///srv/data", Service::Files),
            ("http://h/", Service::Http),
            ("webdavs://h/dav", Service::WebDav),
            ("ftp://h", Service::Ftp),
            ("sftp://me@h:2222/~/data", Service::Sftp),
            ("s3://bucket/prefix", Service::S3),
        ] {
            assert_eq!(Location::parse(typed).unwrap().service, service, "{typed}");
        }
        assert_eq!(Location::parse("webdavs://h/dav").unwrap().origin(), "https://h");
    }

    #[test]
    fn every_refusal_says_what_to_write_instead() {
        for (typed, way_out) in [
            ("", "remote:https://example.org/data"),
            ("/srv/data", "remote:https://example.org/data"),
            ("gopher://h/", "use https, http"),
            ("ftp://me:secret@h/", "WHARF_REMOTE_PASSWORD"),
            ("sftp://me:secret@h/", "identity=FILE"),
            ("https://h/?token=secret", "--option NAME=VALUE"),
        ] {
            let error = Location::parse(typed).expect_err(typed);
            assert!(error.contains(way_out), "{typed}: {error}");
            assert!(!error.contains("secret"), "{error}");
            assert!(!error.contains('\n') && !error.ends_with('.'), "one sentence: {error}");
        }
    }
}
