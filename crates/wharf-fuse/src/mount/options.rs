//! What a mount is asked to be, typed, and checked before anything is touched.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::Error;

/// The kernel's `fsconfig` takes strings of at most 255 bytes.
const NAME_BYTES_MAX: usize = 255;

/// Who besides the owner of the mount may use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allow {
    /// The user who mounts; not even root.
    #[default]
    Owner,
    /// The user who mounts, and root. The kernel knows only all or nothing and lets everybody through:
    /// whoever serves the connection must refuse the others, so it asks [`Connection::allow`](super::Connection::allow).
    Root,
    /// Everybody. For users only where `/etc/fuse.conf` says `user_allow_other`.
    Everyone,
}

/// What the mount may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Reading: the kernel refuses every change before it is asked.
    Read,
    /// Reading and writing.
    #[default]
    ReadWrite,
}

/// What the mount says about access times.
///
/// The kernel never changes an access time on FUSE by itself; programs such as backups look at the flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Atime {
    /// `relatime`, as everywhere on Linux.
    #[default]
    Relative,
    /// `noatime`.
    Never,
}

/// How to mount. The names are checked once, by [`Options::new`]; the rest cannot be wrong.
#[derive(Clone, Debug)]
pub struct Options {
    driver: String,
    source: OsString,
    /// Who may use the mount.
    pub allow: Allow,
    /// Lets the kernel check modes and owners itself, as it does for a local disc.
    pub default_permissions: bool,
    /// Reading only, or writing too.
    pub access: Access,
    /// Programs on the mount may be run.
    pub exec: bool,
    /// The set-uid and set-gid bits count. Only root may ask for this.
    pub suid: bool,
    /// Device nodes work. Only root may ask for this.
    pub dev: bool,
    /// Access times.
    pub atime: Atime,
    /// The longest read the kernel may ask for; at least 4096, if given.
    pub max_read_bytes: Option<u32>,
    /// The mount point is freed when this process ends without unmounting, even by SIGKILL.
    pub auto_unmount: bool,
    /// Asks for a synchronous INIT where the kernel offers it; see [`Prepared`](super::Prepared).
    pub sync_init: bool,
}

impl Options {
    /// The usual mount: for its owner, read and write, without set-uid and devices.
    ///
    /// `driver` is what serves it (`mirror`), `source` what it shows, in the user's words
    /// (`mirror:/srv/data`). Both are seen in `/proc/mounts`, as `mirror:/srv/data /mnt fuse.wharf-mirror …`;
    /// a source over 255 bytes is cut there, as the kernel takes no more.
    pub fn new(driver: &str, source: impl AsRef<OsStr>) -> Result<Options, Error> {
        let bad_driver = |byte: char| !(byte.is_ascii_alphanumeric() || "-_.".contains(byte));
        if driver.is_empty() || driver.len() > 64 || driver.contains(bad_driver) {
            return Err(Error::BadDriver { driver: driver.to_owned() });
        }
        let source = source.as_ref();
        if source.is_empty() || source.as_bytes().iter().any(u8::is_ascii_control) {
            return Err(Error::BadSource { source: source.to_owned() });
        }
        Ok(Options {
            driver: driver.to_owned(),
            source: shortened(source),
            allow: Allow::default(),
            default_permissions: false,
            access: Access::default(),
            exec: true,
            suid: false,
            dev: false,
            atime: Atime::default(),
            max_read_bytes: None,
            auto_unmount: false,
            sync_init: true,
        })
    }

    /// What serves the mount.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// What the mount shows, as `/proc/mounts` will say it.
    pub fn source(&self) -> &OsStr {
        &self.source
    }

    /// The part of the mount's type behind `fuse.`
    pub(super) fn subtype(&self) -> String {
        format!("{}{}", super::table::SUBTYPE_PREFIX, self.driver)
    }

    pub(super) fn allow_other(&self) -> bool {
        match self.allow {
            Allow::Owner => false,
            Allow::Root | Allow::Everyone => true,
        }
    }

    /// What `fusermount3 -o` takes: commas separate, a backslash takes the meaning from what follows it.
    pub(super) fn for_helper(&self) -> OsString {
        let mut text = Vec::from(b"fsname=");
        for &byte in self.source.as_bytes() {
            if matches!(byte, b',' | b'\\') {
                text.push(b'\\');
            }
            text.push(byte);
        }
        let mut add = |word: &str| {
            text.push(b',');
            text.extend_from_slice(word.as_bytes());
        };
        add(&format!("subtype={}", self.subtype()));
        add(match self.access {
            Access::Read => "ro",
            Access::ReadWrite => "rw",
        });
        add(if self.exec { "exec" } else { "noexec" });
        add(if self.suid { "suid" } else { "nosuid" });
        add(if self.dev { "dev" } else { "nodev" });
        match self.atime {
            Atime::Relative => {}
            Atime::Never => add("noatime"),
        }
        if self.allow_other() {
            add("allow_other");
        }
        if self.default_permissions {
            add("default_permissions");
        }
        if let Some(bytes) = self.max_read_bytes {
            add(&format!("max_read={bytes}"));
        }
        OsString::from_vec(text)
    }
}

/// Cuts on a character's border where the text is UTF-8, so that the table stays readable.
fn shortened(name: &OsStr) -> OsString {
    const MARK: &[u8] = "…".as_bytes();
    let bytes = name.as_bytes();
    if bytes.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let mut end = NAME_BYTES_MAX - MARK.len();
    while end > 0 && bytes[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    OsString::from_vec([&bytes[..end], MARK].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_mount_has_no_devices_no_setuid_and_one_user() {
        let options = Options::new("mirror", "mirror:/srv/data").expect("good names");
        let text = options.for_helper();
        assert_eq!(text, "fsname=mirror:/srv/data,subtype=wharf-mirror,rw,exec,nosuid,nodev");
    }

    #[test]
    fn a_comma_in_a_source_cannot_smuggle_an_option() {
        let options = Options::new("mirror", r"mirror:/a,allow_other\").expect("good names");
        let text = options.for_helper().into_string().expect("UTF-8");
        assert!(text.starts_with(r"fsname=mirror:/a\,allow_other\\,subtype="), "{text}");
    }

    #[test]
    fn every_choice_has_its_word() {
        let mut options = Options::new("zip", "zip:a").expect("good names");
        options.allow = Allow::Root;
        options.default_permissions = true;
        options.access = Access::Read;
        options.exec = false;
        options.suid = true;
        options.dev = true;
        options.atime = Atime::Never;
        options.max_read_bytes = Some(65536);
        assert_eq!(
            options.for_helper(),
            "fsname=zip:a,subtype=wharf-zip,ro,noexec,suid,dev,noatime,allow_other,default_permissions,max_read=65536"
        );
    }

    #[test]
    fn names_that_would_spoil_the_mount_table_are_refused() {
        for driver in ["", "a,b", "a b", "a/b", "a\0", &"a".repeat(65)] {
            assert!(matches!(Options::new(driver, "x"), Err(Error::BadDriver { .. })), "{driver:?}");
        }
        for source in ["", "a\0b", "a\nb", "a\x7f"] {
            assert!(matches!(Options::new("mirror", source), Err(Error::BadSource { .. })), "{source:?}");
        }
    }

    #[test]
    fn a_long_source_is_cut_between_characters() {
        let options = Options::new("mirror", "ä".repeat(200)).expect("good names");
        let text = options.source().to_str().expect("still UTF-8");
        assert!(text.len() <= NAME_BYTES_MAX && text.ends_with('…'), "{text}");
    }
}
